"""Events of the contract in JSON lines: the collector's own check, event by event."""

import json
import re
from typing import Any, NamedTuple

from functions.platform.errors import Reason, RequestRefused
from functions.platform.events.contract import REQUIRED_FIELDS, Timing, accept
from functions.platform.events.event import Event
from functions.platform.events.masking import Pseudonym, mask, masked_person_id
from imports.ids import row_id, short_id

# A refusal's message begins with the field's path.
_FIELD = re.compile(r"(\w+)(?:\[(\d+)\])?(?:\.(\w+))?: ")
_ATTEMPTS = 50


class Checked(NamedTuple):
    """An event, or a refusal with the contract's code and a sentence; and the fields that were left out."""

    event: Event | None
    lost: list[str]
    code: str = ""
    sentence: str = ""


def check(text: str, shop: str, keep_shop: bool, received_at_ms: int, pseudonym: Pseudonym) -> Checked:
    """Check one event: complete its ids, and leave out optional fields that the contract refuses.

    Args:
        text: the line, a JSON object.
        shop: the shop of events without one.
        keep_shop: accept events of other shops too.
        received_at_ms: the time against which a clock that runs ahead is noticed.
        pseudonym: returns what stands in for an id that contains a mail address.
    """
    record: dict[str, Any] = json.loads(text)
    event = {key: value for key, value in record.items() if key != "server" and value is not None}
    event["schema_version"] = 1
    event.setdefault("shop_id", shop)
    for name in ("client_id", "session_id", "user_id"):  # before the event's id, which is a digest of them
        if isinstance(event.get(name), str):
            event[name] = masked_person_id(event[name], pseudonym)
    if isinstance(event.get("client_id"), str) and event["client_id"].strip():
        event["client_id"] = short_id(event["client_id"])
        session = event.get("session_id") or event["client_id"]
        event["session_id"] = short_id(session) if isinstance(session, str) else session
    if not event.get("event_id"):
        event["event_id"] = row_id("jsonl", *(f"{key}={event[key]}" for key in sorted(event)))
    elif isinstance(event["event_id"], str):
        event["event_id"] = short_id(event["event_id"])
    shops = frozenset({event["shop_id"]} if keep_shop and isinstance(event["shop_id"], str) else {shop})
    lost: list[str] = []
    for _ in range(_ATTEMPTS):
        try:
            accepted, _time = accept(event, shops, Timing(received_at_ms))
            mask(accepted, pseudonym)
            return Checked(accepted, lost)
        except RequestRefused as refusal:
            field = _leave_out(event, refusal)
            if not field:
                return Checked(None, [], refusal.reason.value, refusal.message)
            lost.append(field)
    return Checked(None, [], Reason.FIELD_INVALID.value, f"more than {_ATTEMPTS} fields are unreadable")


def _leave_out(event: dict[str, Any], refusal: RequestRefused) -> str:
    """Remove the optional field that the refusal names, and return its name; without one, an empty text."""
    found = _FIELD.match(refusal.message)
    if refusal.reason is not Reason.FIELD_INVALID or not found or found[1] not in event:
        return ""
    name, index, inner = found.groups()
    if index and inner and inner != "item_id":
        # The caller's list is copied, so that a refused event is stored as it came.
        event[name] = [dict(item) if isinstance(item, dict) else item for item in event[name]]
        event[name][int(index)].pop(inner, None)
        return f"items.{inner}"
    if index or name in REQUIRED_FIELDS or name == "items":
        return ""
    del event[name]
    return name
