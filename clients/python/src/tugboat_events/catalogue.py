"""Changes of the catalogue: batches that are sent until they are stored, each exactly once."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from tugboat_events.contract import CATALOGUE_BATCH_LINES_MAX, CATALOGUE_BATCH_MAX_BYTES
from tugboat_events.transport import Response, Transport, Unreachable

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
REQUEST_TIMEOUT_S = 35.0


class CatalogueError(Exception):
    """The changes are not stored, or not all of them. The message says why; the call may be repeated."""


class RefusedChange(NamedTuple):
    """A change that the catalogue does not take: its position in the call, from 0, and why."""

    position: int
    item_id: str | None
    reason: str
    message: str


class ChangedProducts(NamedTuple):
    """The number of changes that are stored, and those that are refused."""

    accepted: int
    refused: list[RefusedChange]


def change_products(
    changes: Iterable[Mapping[str, Any]],
    transport: Transport,
    secret_key: str,
    timeout_s: float,
) -> ChangedProducts:
    """Send changes in batches, one after the other.

    Raises:
        CatalogueError: a batch is not stored within the time limit, or is refused as a whole.
        TypeError, ValueError: a change cannot be written as JSON.
    """
    until = time.monotonic() + timeout_s
    accepted = sent = 0
    refused: list[RefusedChange] = []
    for lines in _batches(changes):
        # The same key in each attempt: a batch whose answer is lost counts once.
        headers = {"Authorization": f"Bearer {secret_key}", "Idempotency-Key": str(uuid.uuid4())}
        answer = _stored(transport, b"".join(lines), headers, until)
        accepted += answer["accepted"]
        refused += [
            RefusedChange(sent + one["line"] - 1, one["item_id"], one["reason"], one["message"])
            for one in answer["refused"]
        ]
        sent += len(lines)
    return ChangedProducts(accepted, refused)


def _batches(changes: Iterable[Mapping[str, Any]]) -> Iterator[list[bytes]]:
    lines: list[bytes] = []
    size = 0
    for change in changes:
        line = json.dumps(dict(change), ensure_ascii=False, allow_nan=False, default=_number).encode() + b"\n"
        if lines and (
            len(lines) == CATALOGUE_BATCH_LINES_MAX or size + len(line) > CATALOGUE_BATCH_MAX_BYTES
        ):
            yield lines
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if lines:
        yield lines


def _number(value: object) -> float:
    """Return an amount that a back end keeps as Decimal."""
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is no value of a product's field")


def _stored(transport: Transport, body: bytes, headers: Mapping[str, str], until: float) -> Mapping[str, Any]:
    pause_s = BACKOFF_FIRST_S
    while True:
        try:
            response = transport.put("/catalogue", body, REQUEST_TIMEOUT_S, headers)
            problem, wait_s = _problem(response), response.retry_after_s
        except Unreachable as unreachable:
            problem, wait_s = str(unreachable), 0.0
        else:
            if response.status == 200 and isinstance(response.json, dict):
                return response.json
            if response.status != 429 and response.status < 500:
                raise CatalogueError(f"the changes are refused: {problem}")
        wait_s = max(wait_s, pause_s)
        if time.monotonic() + wait_s > until:
            raise CatalogueError(f"the changes are not stored in time: {problem}")
        time.sleep(wait_s)
        pause_s = min(2 * pause_s, BACKOFF_MAX_S)


def _problem(response: Response) -> str:
    error = response.json.get("error") if isinstance(response.json, dict) else None
    if isinstance(error, dict):
        return f"HTTP {response.status}, {error.get('reason')}: {error.get('message')}"
    return f"HTTP {response.status}"
