"""One event against the contract: refuse it with a reason, or reduce it to the fields that are stored."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from functions.platform.errors import Reason, RequestRefused
from functions.platform.events.validator import EVENT_FIELDS, ITEM_FIELDS, REQUIRED_FIELDS, validate
from functions.platform.events.violation import SchemaViolation

EVENT_MAX_BYTES = 16_384
# Clocks run ahead by minutes, not by hours. Without a sent-at time nothing can correct them.
CLOCK_AHEAD_MAX_MS = 3_600_000
ADDRESS_FIELDS = ("page_location", "page_referrer")


class Timing(NamedTuple):
    """The times of receipt and of sending. Without `sent_at_ms`, the client's times are authoritative."""

    received_at_ms: int
    sent_at_ms: int | None = None

    def event_time_ms(self, client_time_ms: int) -> int:
        """Return `client_time_ms` on the server's clock: shifted by the clock's error at sending."""
        if self.sent_at_ms is None:
            return client_time_ms
        return client_time_ms + self.received_at_ms - self.sent_at_ms


def accept(event: Any, shops: frozenset[str], timing: Timing) -> dict[str, Any]:
    """Return the event as it is stored: fields of the contract, addresses without query, `event_time_ms` added.

    Args:
        event: the parsed JSON; it stays unchanged.
        shops: the shops that the sender may speak for.
        timing: the times of the event's request.

    Raises:
        RequestRefused: with the reason, and a sentence that names the field.
    """
    if not isinstance(event, dict):
        raise RequestRefused(
            Reason.EVENT_NOT_AN_OBJECT, f"an event is a JSON object, this is {type(event).__name__}"
        )
    try:
        validate(event)  # type: ignore[no-untyped-call]
    except SchemaViolation as violation:
        missing = sorted(REQUIRED_FIELDS - event.keys())
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
    kept = _only(event, EVENT_FIELDS)
    kept["client_time_ms"] = client_time_ms
    for name in ADDRESS_FIELDS:
        if name in kept:
            kept[name] = kept[name].split("#", 1)[0].split("?", 1)[0]
    if "items" in kept:
        kept["items"] = [_only(item, ITEM_FIELDS) for item in kept["items"]]
    kept["event_time_ms"] = event_time_ms
    return kept


def _only(fields: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    if fields.keys() <= known:
        return fields.copy()
    return {name: value for name, value in fields.items() if name in known}


class ServerField:
    """The field `server` of a request's events. Its common part is encoded once per request."""

    def __init__(self, received_at_ms: int, request: Mapping[str, Any]) -> None:
        """Encode the time of receipt and the other facts about the request."""
        self._before = encode({"received_at_ms": received_at_ms})[:-1] + b',"event_time_ms":'
        self._after = b"," + encode(request)[1:-1]

    def encode(self, event_time_ms: int, receipts: list[dict[str, Any]] | None = None) -> bytes:
        """Return the field of one event as JSON."""
        end = b"," + encode({"receipts": receipts})[1:] if receipts else b"}"
        return b"%b%d%b%b" % (self._before, event_time_ms, self._after, end)


def line(event: dict[str, Any], server: bytes) -> bytes:
    """Return the event as one line of JSON in UTF-8, with the encoded field `server` as its last.

    Raises:
        RequestRefused: the event is larger than `EVENT_MAX_BYTES`, or cannot be encoded.
    """
    text = encode(event)
    if len(text) > EVENT_MAX_BYTES:
        raise RequestRefused(
            Reason.EVENT_TOO_LARGE, f"{len(text)} bytes, at most {EVENT_MAX_BYTES} are taken"
        )
    # The limit leaves out `server`: the sender does not control the size of the stamps.
    return b'%b,"server":%b}\n' % (text[:-1], server)


# Parsed JSON has no cycles, so the encoder does not look for them.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False)


def encode(value: Mapping[str, Any]) -> bytes:
    """Return JSON in UTF-8. The character NUL is removed: JSON allows it and warehouses refuse it.

    Raises:
        RequestRefused: a text is invalid Unicode, or a number is NaN or infinite.
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


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "") if "\x00" in value else value
    if isinstance(value, dict):
        return {name: _without_nul(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_nul(inner) for inner in value]
    return value
