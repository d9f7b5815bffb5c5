"""The one event of the pixel's query string."""

import math
from collections.abc import Mapping
from typing import Any

from functions.platform.events.event import Item

NUMBERS: dict[str, type] = {"client_time_ms": int, "sequence": int, "schema_version": int, "value": float}
ITEM_NUMBERS: dict[str, type] = {"price": float, "quantity": int}
# In a query string, a receipt is the event's.
ITEM_FIELDS = tuple(name for name in Item.__struct_fields__ if name != "receipt")


def parse_pixel(query: Mapping[str, str], request_id: str, received_at_ms: int) -> dict[str, Any]:
    """Return the event of a query string. Fields of the item are beside those of the event.

    A mail or a page without scripts can neither make ids nor read a clock. Missing fields get a default: the
    request's id as event_id, the time of receipt as client_time_ms, the client_id as session_id.
    """
    event: dict[str, Any] = {
        name: _number(value, NUMBERS[name]) if name in NUMBERS else value
        for name, value in query.items()
        if name not in ITEM_FIELDS
    }
    item = {
        name: _number(query[name], ITEM_NUMBERS[name]) if name in ITEM_NUMBERS else query[name]
        for name in ITEM_FIELDS
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


def _number(text: str, kind: type) -> Any:
    """Return the text as a number, or unchanged if it is none: the contract's refusal then names the field."""
    try:
        number = kind(text)
    except ValueError:
        return text
    # Python reads "nan" and "inf" as floats, JSON has no such numbers.
    return text if isinstance(number, float) and not math.isfinite(number) else number
