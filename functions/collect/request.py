"""What a request carries: a batch of events in a body, or one event in the pixel's query string."""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from functions.errors import Reason, RequestRefused

BODY_MAX_BYTES = 1_048_576
EVENTS_MAX = 500
# A batch of the contract has four levels; a definite limit, where the parser's own depends on who calls it.
DEPTH_MAX = 32
# json.loads makes these and nothing derived from them.
CONTAINERS = frozenset((dict, list))
PIXEL_NUMBERS: dict[str, type] = {"client_time_ms": int, "schema_version": int, "value": float}
PIXEL_ITEM_NUMBERS: dict[str, type] = {"price": float, "quantity": int}
PIXEL_ITEM_FIELDS = ("item_id", "item_name", "item_category", "item_brand", "price", "quantity")


class Batch(NamedTuple):
    """The events of a request, not yet validated."""

    events: list[Any]
    sent_at_ms: int | None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_batch(body: bytes) -> Batch:
    """The events of `{"events": [...], "sent_at_ms": ...}`, of a bare array, or of a single event.

    Raises:
        RequestRefused: nothing of the body can be taken.
    """
    if not body:
        raise RequestRefused(Reason.BODY_EMPTY, "the body is empty; send {'events': [...]}")
    if len(body) > BODY_MAX_BYTES:
        raise RequestRefused(
            Reason.BODY_TOO_LARGE,
            f"{len(body)} bytes, at most {BODY_MAX_BYTES} are taken; send smaller batches",
        )
    try:
        parsed = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(Reason.BODY_NOT_JSON, f"the body is not JSON: {str(error)[:200]}") from None
    if _is_deeper_than(DEPTH_MAX, parsed):
        raise RequestRefused(Reason.BODY_NOT_JSON, f"the body is nested deeper than {DEPTH_MAX} levels")
    sent_at_ms: Any = None
    if isinstance(parsed, dict) and "events" in parsed:
        events, sent_at_ms = parsed["events"], parsed.get("sent_at_ms")
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
    if sent_at_ms is not None and (type(sent_at_ms) is not int or not 0 < sent_at_ms < 4_102_444_800_000):
        raise RequestRefused(
            Reason.BODY_NOT_A_BATCH, "sent_at_ms is not a time in milliseconds since 1970-01-01 UTC"
        )
    return Batch(events, sent_at_ms)


def _is_deeper_than(levels: int, value: Any) -> bool:
    """Whether objects and arrays lie in each other more than `levels` deep."""
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


def _number(text: str, kind: type) -> Any:
    """`text` as a number; as it is when it is none, so that the contract names the field in its refusal."""
    try:
        number = kind(text)
    except ValueError:
        return text
    # Python reads "nan" and "inf" as floats, JSON has no such numbers.
    return text if isinstance(number, float) and not math.isfinite(number) else number


def parse_pixel(query: Mapping[str, str], request_id: str, received_at_ms: int) -> dict[str, Any]:
    """The one event of a pixel's query string: the contract's names, with the item's fields beside the event's.

    A mail or a page without scripts cannot make ids or read a clock, so what is missing of these is filled in: the
    request's id as event_id, the time of receipt, the client as its own session.
    """
    event: dict[str, Any] = {
        name: _number(value, PIXEL_NUMBERS[name]) if name in PIXEL_NUMBERS else value
        for name, value in query.items()
        if name not in PIXEL_ITEM_FIELDS
    }
    item = {
        name: _number(query[name], PIXEL_ITEM_NUMBERS[name]) if name in PIXEL_ITEM_NUMBERS else query[name]
        for name in PIXEL_ITEM_FIELDS
        if name in query
    }
    if item:
        event["items"] = [item]
    event.setdefault("schema_version", 1)
    event.setdefault("event_id", request_id)
    event.setdefault("client_time_ms", received_at_ms)
    if "client_id" in event:
        event.setdefault("session_id", event["client_id"])
    return event
