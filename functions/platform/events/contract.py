"""One event against the contract: refuse it with a reason, or reduce it to the fields that are stored."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, get_type_hints

import msgspec
from msgspec import UNSET, ValidationError

from functions.platform.contract import (
    COLLECT_CLOCK_AHEAD_MAX_MS,
    COLLECT_EVENT_MAX_BYTES,
    COLLECT_PAGE_QUEUE_MAX_MS,
)
from functions.platform.errors import Reason, RequestRefused
from functions.platform.events.clock import clock_shift_ms
from functions.platform.events.event import Event, Item
from functions.platform.events.masking import (
    Pseudonym,
    mask,
    may_hold_personal_data,
    temporary_pseudonym,
    without_query,
)

EVENT_MAX_BYTES = COLLECT_EVENT_MAX_BYTES
REASONS = {
    "event_name": Reason.UNKNOWN_EVENT_NAME,
    "schema_version": Reason.UNKNOWN_SCHEMA_VERSION,
}
HINTS = {"event_name": "; docs/events.md lists the event types"}
MESSAGE_MAX_CHARACTERS = 300
DAY_MS = 86_400_000


class Timing(NamedTuple):
    """The time of receipt, and what the client's clock says. Without `sent_at_ms`, the client's times are authoritative.

    `clock_error_ms` is the client's clock minus the server's, as the client measured it.
    `set_back_ms` is how far the clock was set back between an event and the sending.
    """

    received_at_ms: int
    sent_at_ms: int | None = None
    clock_error_ms: int | None = None
    set_back_ms: int = 0

    def event_time_ms(self, client_time_ms: int) -> int:
        """Return `client_time_ms` on the server's clock."""
        shift_ms = clock_shift_ms(self.received_at_ms, self.sent_at_ms, self.clock_error_ms)
        return client_time_ms - self.set_back_ms + shift_ms


def accept(
    raw: Any, shops: frozenset[str], timing: Timing, age_max_ms: int | None = None
) -> tuple[Event, int]:
    """Check an event, and drop unknown fields and the query of page addresses.

    Args:
        raw: the parsed JSON; it stays unchanged.
        shops: the shops that the sender may speak for.
        timing: the times of the event's request.
        age_max_ms: an older event is refused; None accepts every age.

    Returns:
        The event, not masked yet, and its time on the server's clock in milliseconds.

    Raises:
        RequestRefused: with the reason, and a sentence that names the field.
    """
    if not isinstance(raw, dict):
        raise RequestRefused(
            Reason.EVENT_NOT_AN_OBJECT, f"an event is a JSON object, this is {type(raw).__name__}"
        )
    event = _converted(raw)
    if event.shop_id not in shops:
        raise RequestRefused(
            Reason.UNKNOWN_SHOP, f"shop_id {event.shop_id!r} is not the shop that the key belongs to"
        )
    event_time_ms = timing.event_time_ms(event.client_time_ms)
    # Clocks run ahead by minutes, not by hours. Without a sent-at time nothing can correct them.
    if event_time_ms > timing.received_at_ms + COLLECT_CLOCK_AHEAD_MAX_MS:
        raise RequestRefused(
            Reason.CLIENT_TIME_IN_FUTURE,
            "client_time_ms lies in the future: send sent_at_ms with the batch, or fix the clock",
        )
    age_ms = timing.received_at_ms - event_time_ms
    if age_max_ms is not None and age_ms > age_max_ms:
        raise RequestRefused(
            Reason.EVENT_TOO_OLD,
            f"the event is {age_ms // DAY_MS} days old, a page keeps events for {COLLECT_PAGE_QUEUE_MAX_MS // DAY_MS}: "
            "send it from a back end with the shop's secret key, or load history with make import",
        )
    if event.page_location is not UNSET:
        event.page_location = without_query(event.page_location)
    if event.page_referrer is not UNSET:
        event.page_referrer = without_query(event.page_referrer)
    return event, event_time_ms


def _converted(raw: dict[str, Any]) -> Event:
    try:
        return msgspec.convert(raw, Event)
    except (ValidationError, UnicodeEncodeError):
        raw = _normalized(raw)
    try:
        return msgspec.convert(raw, Event)
    except (ValidationError, UnicodeEncodeError) as error:
        raise _refusal(raw, str(error)) from None


def _normalized(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the event with 1.0 as 1, and without unknown fields.

    JSON Schema's integers include 1.0, and msgspec's do not. An unknown name may be invalid Unicode.
    """
    normalized = _known(raw, Event)
    if isinstance(raw.get("items"), list):
        normalized["items"] = [
            _known(item, Item) if isinstance(item, dict) else item for item in raw["items"]
        ]
    return normalized


def _known(raw: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {name: _whole(raw[name]) for name in kind.__struct_fields__ if name in raw}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


@lru_cache(maxsize=2)
def _field_types(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _refusal(raw: dict[str, Any], message: str) -> RequestRefused:
    """Return the refusal of an invalid event: for its missing fields, else for its first invalid field.

    msgspec stops at the first problem in the sender's order. Here the order is the contract's, so that the same event
    is always refused for the same reason.
    """
    missing = sorted(REQUIRED_FIELDS - raw.keys())
    if missing:
        return RequestRefused(Reason.FIELD_MISSING, f"missing: {', '.join(missing)}")
    items = raw.get("items")
    found = _first_problem(raw, Event, "")
    if found and found[0] == "items" and isinstance(items, list):
        found = _first_item_problem(items) or found
    field, problem = found or ("", message)
    if problem.startswith("Object missing required field"):
        return RequestRefused(Reason.FIELD_MISSING, f"{field}: {problem}")
    sentence = f"{field}: {problem}{HINTS.get(field, '')}"
    return RequestRefused(REASONS.get(field, Reason.FIELD_INVALID), sentence[:MESSAGE_MAX_CHARACTERS])


def _first_item_problem(items: list[Any]) -> tuple[str, str] | None:
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            return f"items[{index}]", f"Expected `object`, got `{type(item).__name__}`"
        if "item_id" not in item:
            return f"items[{index}]", "Object missing required field `item_id`"
        if found := _first_problem(item, Item, f"items[{index}]."):
            return found
    return None


def _first_problem(raw: dict[str, Any], kind: type[msgspec.Struct], path: str) -> tuple[str, str] | None:
    """Return the path of the first invalid field, in the contract's order, and msgspec's words for it."""
    for name, field_type in _field_types(kind).items():
        if name not in raw:
            continue
        try:
            msgspec.convert(raw[name], field_type)
        except (ValidationError, UnicodeEncodeError) as error:
            return path + name, str(error).partition(" - at `$")[0]
    return None


REQUIRED_FIELDS = frozenset(
    field.name for field in msgspec.structs.fields(Event) if field.default is msgspec.NODEFAULT
)


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


def line(event: Event, server: bytes, pseudonym: Pseudonym = temporary_pseudonym) -> bytes:
    """Return the event as one line of JSON in UTF-8, masked, with the encoded field `server` as its last.

    Raises:
        RequestRefused: the event is larger than `EVENT_MAX_BYTES`, or cannot be encoded.
    """
    text = encode(event)
    if may_hold_personal_data(event, text):
        mask(event, pseudonym)
        text = encode(event)
    if len(text) > EVENT_MAX_BYTES:
        raise RequestRefused(
            Reason.EVENT_TOO_LARGE, f"{len(text)} bytes, at most {EVENT_MAX_BYTES} are taken"
        )
    # The limit leaves out `server`: the sender does not control the size of the stamps.
    return b'%b,"server":%b}\n' % (text[:-1], server)


_ENCODER = msgspec.json.Encoder()


def encode(value: Event | Mapping[str, Any]) -> bytes:
    """Return JSON in UTF-8. The character NUL is removed: JSON allows it and warehouses refuse it.

    Raises:
        RequestRefused: a text is invalid Unicode.
    """
    try:
        text = _ENCODER.encode(value)
        if b"\\u0000" in text:  # NUL, or a backslash followed by u0000
            text = _ENCODER.encode(_without_nul(msgspec.to_builtins(value)))
    except UnicodeEncodeError:
        raise RequestRefused(
            Reason.TEXT_INVALID, "text holds half a surrogate pair, which is no Unicode"
        ) from None
    return text


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "") if "\x00" in value else value
    if isinstance(value, dict):
        return {name: _without_nul(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_nul(inner) for inner in value]
    return value
