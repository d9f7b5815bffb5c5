"""One event against the contract: what is refused, and what is kept of what is accepted."""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from functions.collect.validator import validate
from functions.collect.violation import SchemaViolation
from functions.errors import Reason, RequestRefused

EVENT_MAX_BYTES = 16_384
# Clocks run ahead by minutes, not by hours; without a sent-at time there is nothing to correct them with.
CLOCK_AHEAD_MAX_MS = 3_600_000
ADDRESS_FIELDS = ("page_location", "page_referrer")


class Timing(NamedTuple):
    """When a batch arrived, and when its client says that it sent it (None: its times are authoritative)."""

    received_at_ms: int
    sent_at_ms: int | None = None

    def event_time_ms(self, client_time_ms: int) -> int:
        """`client_time_ms` on the server's clock: shifted by what the client's clock was off when it sent."""
        if self.sent_at_ms is None:
            return client_time_ms
        return client_time_ms + self.received_at_ms - self.sent_at_ms


@lru_cache(maxsize=1)
def _kept_fields() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Names of the event's fields, of its items' fields, and of the required ones, from the schema."""
    schema = json.loads((Path(__file__).parent / "event.schema.json").read_text())
    properties = schema["properties"]
    return (
        frozenset(properties),
        frozenset(properties["items"]["items"]["properties"]),
        frozenset(schema["required"]),
    )


def _only(fields: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    if fields.keys() <= known:
        return fields.copy()
    return {name: value for name, value in fields.items() if name in known}


def accept(event: Any, shops: frozenset[str], timing: Timing) -> dict[str, Any]:
    """The event as it is stored: fields of the contract only, addresses without query, times on the server's clock.

    Args:
        shops: those that the sender may speak for.

    Raises:
        RequestRefused: with the reason and a sentence that names the field.
    """
    if not isinstance(event, dict):
        raise RequestRefused(
            Reason.EVENT_NOT_AN_OBJECT, f"an event is a JSON object, this is {type(event).__name__}"
        )
    event_fields, item_fields, required = _kept_fields()
    try:
        validate(event)  # type: ignore[no-untyped-call]
    except SchemaViolation as violation:
        missing = sorted(required - event.keys())
        if missing:
            raise RequestRefused(Reason.FIELD_MISSING, f"missing: {', '.join(missing)}") from None
        raise RequestRefused(violation.reason, str(violation)[:300]) from None
    if event["shop_id"] not in shops:
        raise RequestRefused(
            Reason.UNKNOWN_SHOP, f"shop_id {event['shop_id']!r} is not the shop that the key belongs to"
        )
    client_time_ms = int(event["client_time_ms"])
    event_time_ms = timing.event_time_ms(client_time_ms)
    if event_time_ms > timing.received_at_ms + CLOCK_AHEAD_MAX_MS:
        raise RequestRefused(
            Reason.CLIENT_TIME_IN_FUTURE,
            "client_time_ms lies in the future: send sent_at_ms with the batch, or fix the clock",
        )
    kept = _only(event, event_fields)
    kept["client_time_ms"] = client_time_ms
    for name in ADDRESS_FIELDS:
        if name in kept:
            kept[name] = kept[name].split("#", 1)[0].split("?", 1)[0]
    if "items" in kept:
        kept["items"] = [_only(item, item_fields) for item in kept["items"]]
    kept["event_time_ms"] = event_time_ms
    return kept


# What json.loads made holds no circles.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False)


def _without_nul(value: Any) -> Any:
    """`value` without the character NUL, which JSON allows and warehouses refuse."""
    if isinstance(value, str):
        return value.replace("\x00", "") if "\x00" in value else value
    if isinstance(value, dict):
        return {name: _without_nul(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_nul(inner) for inner in value]
    return value


class Server:
    """The field `server` of a request's events. What is the same for all of them is encoded once."""

    def __init__(self, received_at_ms: int, request: Mapping[str, Any]) -> None:
        self._before = encoded({"received_at_ms": received_at_ms})[:-1] + b',"event_time_ms":'
        self._after = b"," + encoded(request)[1:-1]

    def of(self, event_time_ms: int, receipts: list[dict[str, Any]] | None = None) -> bytes:
        """The field of one event, in JSON."""
        end = b"," + encoded({"receipts": receipts})[1:] if receipts else b"}"
        return b"%b%d%b%b" % (self._before, event_time_ms, self._after, end)


def line(event: dict[str, Any], server: bytes) -> bytes:
    """The event as one line of JSON in UTF-8, with what the server knows of it, in JSON, as its last field `server`.

    Raises:
        RequestRefused: the event is larger than `EVENT_MAX_BYTES`, or its text is no valid Unicode, or a number is none.
    """
    text = encoded(event)
    if len(text) > EVENT_MAX_BYTES:
        raise RequestRefused(
            Reason.EVENT_TOO_LARGE, f"{len(text)} bytes, at most {EVENT_MAX_BYTES} are taken"
        )
    # The stamps of the server are no fault of the sender's, however many.
    return b'%b,"server":%b}\n' % (text[:-1], server)


def encoded(value: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8, without the character NUL.

    Raises:
        RequestRefused: the text is no valid Unicode, or a number is none.
    """
    try:
        text = _ENCODER.encode(value)
        if "\\u0000" in text:  # NUL, or a backslash followed by u0000
            text = _ENCODER.encode(_without_nul(value))
    except ValueError:
        raise RequestRefused(Reason.FIELD_INVALID, "a number is NaN or infinite, which is no JSON") from None
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise RequestRefused(
            Reason.TEXT_INVALID, "text holds half a surrogate pair, which is no Unicode"
        ) from None
