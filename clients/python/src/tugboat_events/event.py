"""Build an event of the contract from a caller's fields: known fields only, each of its type."""

from __future__ import annotations

import hashlib
import json
import math
import time
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from tugboat_events.contract import (
    EVENT_FIELDS,
    EVENT_ITEMS_MAX,
    EVENT_MAX_BYTES,
    ITEM_FIELDS,
    MAX_CHARACTERS,
    SCHEMA_VERSION,
)

# An item of an event that is too large keeps these fields.
ESSENTIAL = ("item_id", "price", "quantity", "receipt")


class Encoded(NamedTuple):
    """An event as JSON."""

    event_id: str
    event_name: str
    json: bytes


def encoded(shop: str, event_name: str, fields: Mapping[str, Any]) -> tuple[Encoded, list[str]]:
    """Return an event and its changes against the caller's fields, each in words without the value.

    The collector judges what is left: values out of bounds, missing fields, and unknown event names.
    """
    changes: list[str] = []
    given = _clean(fields, EVENT_FIELDS, "", changes)
    event: dict[str, Any] = {
        "client_time_ms": time.time_ns() // 1_000_000,
        **given,
        "schema_version": SCHEMA_VERSION,
        "event_name": str(event_name),
        "shop_id": shop,
    }
    # After the change of an item, the digest is still that of the caller's order.
    event.setdefault("event_id", _digest(event) if "transaction_id" in event else str(uuid.uuid4()))
    if "items" in event and _stored_bytes(event) > EVENT_MAX_BYTES:
        event["items"] = [_only(item, ESSENTIAL) for item in event["items"]]
        changes.append("names of items dropped: the event is too large")
    return Encoded(event["event_id"], event["event_name"], _json(event)), changes


def _digest(event: Mapping[str, Any]) -> str:
    """Return an id that only the same order has: a task that runs again sends it again.

    The client's id is part of it, because an outsider who could compute the id could send it first.
    Items are part of it, because parts of an order that ship separately are events of their own.
    """
    passing = ("client_time_ms", "session_id", "page_location", "page_referrer")
    order = {name: value for name, value in event.items() if name not in passing}
    text = json.dumps(order, sort_keys=True)
    return str(uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(text.encode()).hexdigest()))


def _clean(
    fields: Mapping[str, Any], kinds: Mapping[str, str], path: str, changes: list[str]
) -> dict[str, Any]:
    """Return the contract's fields, converted to its types. Fields that do not convert are dropped."""
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None or value == "":
            continue
        kind = kinds.get(name)
        converted = _items(value, changes) if kind == "items" else _converted(value, kind)
        if converted is None:
            changes.append(f"{path}{name} dropped: not {'a field of the contract' if kind is None else kind}")
            continue
        limit = MAX_CHARACTERS.get(kind or "")
        if limit is not None and len(converted) > limit:
            converted = converted[:limit]
            changes.append(f"{path}{name} cut to {limit} characters")
        kept[name] = converted
    return kept


def _items(value: Any, changes: list[str]) -> list[dict[str, Any]] | None:
    if not isinstance(value, (list, tuple)):
        return None
    items = [
        _clean(item, ITEM_FIELDS, f"items[{number}].", changes)
        for number, item in enumerate(value)
        if isinstance(item, Mapping)
    ]
    kept = [item for item in items if "item_id" in item][:EVENT_ITEMS_MAX]
    if len(kept) < len(value):
        changes.append(
            f"{len(value) - len(kept)} items dropped: without item_id, or beyond {EVENT_ITEMS_MAX}"
        )
    return kept


def _converted(value: Any, kind: str | None) -> Any:
    """Return the value as the kind's JSON type, or None."""
    if isinstance(value, bool):
        return None
    if kind in ("amount", "integer"):
        return _number(value, whole=kind == "integer")
    if kind is None or not isinstance(value, (str, int, uuid.UUID)):
        return None
    if kind == "address":
        # The query can name a person, and the collector drops it anyway.
        return str(value).split("?")[0].split("#")[0]
    try:
        text = str(value)
    except ValueError:  # an integer of thousands of digits
        return None
    return text.upper() if kind == "currency" else text


def _number(value: Any, whole: bool) -> int | float | None:
    if not isinstance(value, (int, float, Decimal)):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):  # a huge integer, or Decimal("sNaN")
        return None
    if not math.isfinite(number):
        return None
    if isinstance(value, int):
        return value
    return round(number) if whole else number


def _only(item: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: item[name] for name in names if name in item}


def _stored_bytes(event: Mapping[str, Any]) -> int:
    """Return the size that the collector limits: without receipts, which it removes."""
    items = [{name: value for name, value in item.items() if name != "receipt"} for item in event["items"]]
    return len(_json({**{name: value for name, value in event.items() if name != "receipt"}, "items": items}))


def _json(value: Mapping[str, Any]) -> bytes:
    """Return JSON in UTF-8, because escapes would make the text of other scripts three times as long."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which the collector refuses by event
        return json.dumps(value, separators=(",", ":")).encode()
