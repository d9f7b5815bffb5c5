"""A batch of events from the body of a request."""

import json
from typing import Any, NamedTuple, NoReturn

from functions.platform.contract import (
    CLIENT_TIME_MAX_MS,
    COLLECT_BODY_MAX_BYTES,
    COLLECT_DEPTH_MAX,
    COLLECT_EVENTS_MAX,
)
from functions.platform.errors import Reason, RequestRefused

BODY_MAX_BYTES = COLLECT_BODY_MAX_BYTES
EVENTS_MAX = COLLECT_EVENTS_MAX
# A valid batch has four levels. The parser's own limit depends on the depth of its caller's stack.
DEPTH_MAX = COLLECT_DEPTH_MAX
# json.loads returns exactly these types, never subclasses.
CONTAINERS = frozenset((dict, list))


class Batch(NamedTuple):
    """The events of a request before validation."""

    events: list[Any]
    sent_at_ms: int | None
    clock_error_ms: int | None = None


def parse_batch(body: bytes) -> Batch:
    """Return the events of `{"events": [...]}`, of a bare array, or of a single event, and what the batch says of the clock.

    Raises:
        RequestRefused: the body as a whole is unreadable.
    """
    if not body:
        raise RequestRefused(Reason.BODY_EMPTY, "the body is empty; send {'events': [...]}")
    if len(body) > BODY_MAX_BYTES:
        raise RequestRefused(
            Reason.BODY_TOO_LARGE,
            f"{len(body)} bytes, at most {BODY_MAX_BYTES} are taken; send smaller batches",
        )
    try:
        parsed = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(Reason.BODY_NOT_JSON, f"the body is not JSON: {str(error)[:200]}") from None
    if _is_deeper_than(DEPTH_MAX, parsed):
        raise RequestRefused(Reason.BODY_NOT_JSON, f"the body is nested deeper than {DEPTH_MAX} levels")
    sent_at_ms: Any = None
    clock_error_ms: Any = None
    if isinstance(parsed, dict) and "events" in parsed:
        events, sent_at_ms = parsed["events"], parsed.get("sent_at_ms")
        clock_error_ms = parsed.get("clock_error_ms")
    elif isinstance(parsed, dict):
        events = [parsed]
    else:
        events = parsed
    if not isinstance(events, list) or not events:
        raise RequestRefused(
            Reason.BODY_NOT_A_BATCH,
            "the body is neither {'events': [...]}, nor an array of events, nor an event",
        )
    if len(events) > EVENTS_MAX:
        raise RequestRefused(
            Reason.TOO_MANY_EVENTS, f"{len(events)} events, at most {EVENTS_MAX} a request; send several"
        )
    if sent_at_ms is not None and (type(sent_at_ms) is not int or not 0 < sent_at_ms < CLIENT_TIME_MAX_MS):
        raise RequestRefused(
            Reason.BODY_NOT_A_BATCH, "sent_at_ms is not a time in milliseconds since 1970-01-01 UTC"
        )
    if clock_error_ms is not None and (
        type(clock_error_ms) is not int or abs(clock_error_ms) > CLIENT_TIME_MAX_MS
    ):
        raise RequestRefused(
            Reason.BODY_NOT_A_BATCH, "clock_error_ms is not a difference of clocks in whole milliseconds"
        )
    return Batch(events, sent_at_ms, clock_error_ms)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _is_deeper_than(levels: int, value: Any) -> bool:
    """Return True if objects and arrays are nested more than `levels` deep."""
    containers = [value] if type(value) in CONTAINERS else []
    for _ in range(levels):
        containers = [
            inner
            for container in containers
            for inner in (container.values() if type(container) is dict else container)
            if type(inner) in CONTAINERS
        ]
        if not containers:
            return False
    return True
