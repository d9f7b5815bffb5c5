"""Convert one row of a file of events to one contract event."""

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import contracts

Event = dict[str, Any]

_SCHEMA = contracts.read("event.schema")
_TIME = _SCHEMA["properties"]["client_time_ms"]
EARLIEST_MS, LATEST_MS = int(_TIME["minimum"]), int(_TIME["maximum"])
ID_MAX_CHARACTERS = contracts.id_max_characters()
TEXT_MAX_CHARACTERS = int(_SCHEMA["definitions"]["text"]["maxLength"])
AMOUNT_MAX = int(_SCHEMA["definitions"]["amount"]["maximum"])
QUANTITY_MAX = int(_SCHEMA["properties"]["items"]["items"]["properties"]["quantity"]["maximum"])
EVENT_NAMES = frozenset(contracts.event_kinds())
EVENTS_WITH_ITEMS = frozenset(contracts.event_kinds("requires_items"))
ALIASES = {"view": "view_item", "click": "view_item", "cart": "add_to_cart", "transaction": "purchase"}
OWN_COLUMNS = ("event_time", "event_name", "item_id", "client_id")
OPTIONAL_COLUMNS = (
    "session_id",
    "event_id",
    "price",
    "quantity",
    "category",
    "brand",
    "item_name",
    "user_id",
    "transaction_id",
)


class BadRow(Exception):
    """A row is not an event; the message contains the reason."""


def short_id(text: str) -> str:
    """Return the id if the contract allows its length, else a digest of it."""
    clean = text.strip()
    if len(clean) <= ID_MAX_CHARACTERS and clean.isprintable():
        return clean
    return hashlib.sha1(clean.encode("utf-8", "surrogatepass")).hexdigest()


def row_id(dataset: str, *values: object) -> str:
    """Derive an event id from the row's content, so that a file sent twice changes nothing."""
    text = "\x1f".join([dataset, *[str(value) for value in values]])
    return hashlib.sha1(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def time_ms(text: str) -> int:
    """Parse ISO 8601 (UTC unless it has a zone), or seconds or milliseconds since 1970."""
    clean = text.strip()
    if not clean:
        raise BadRow("event_time is empty")
    try:
        number = float(clean)
    except ValueError:
        iso = clean.removesuffix(" UTC") + ("+00:00" if clean.endswith(" UTC") else "")
        try:
            moment = datetime.fromisoformat(iso)
        except ValueError:
            raise BadRow(f"event_time is no time: {clean[:40]!r}") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        number = moment.timestamp() * 1000
    else:
        if not math.isfinite(number):
            raise BadRow(f"event_time is no time: {clean[:40]!r}")
        number = number * 1000 if abs(number) < 1e11 else number
    if not EARLIEST_MS <= number <= LATEST_MS:
        raise BadRow(f"event_time is not between 2000 and 2100: {clean[:40]!r}")
    return round(number)


def amount(text: str, column: str) -> float | None:
    """Parse an amount; return None for an empty cell."""
    clean = text.strip()
    if not clean:
        return None
    try:
        value = float(clean)
    except ValueError:
        raise BadRow(f"{column} is no number: {clean[:40]!r}") from None
    if not math.isfinite(value) or not 0 <= value <= AMOUNT_MAX:
        raise BadRow(f"{column} is not between 0 and {AMOUNT_MAX:,}: {clean[:40]!r}")
    return value


def _text(value: str) -> str:
    return "".join(c for c in value.strip() if c.isprintable())[:TEXT_MAX_CHARACTERS]


def from_columns(row: Mapping[str, str], dataset: str, shop_id: str) -> Event:
    """Convert a row with the project's own columns (docs/datasets.md) to an event."""
    name = row.get("event_name", "").strip().lower()
    name = ALIASES.get(name, name)
    if name not in EVENT_NAMES:
        raise BadRow(f"event_name is unknown: {name[:40]!r}")
    client = row.get("client_id", "").strip()
    if not client:
        raise BadRow("client_id is empty")
    item_id = row.get("item_id", "").strip()
    if len(item_id) > ID_MAX_CHARACTERS or not item_id.isprintable():
        raise BadRow(f"item_id is longer than {ID_MAX_CHARACTERS} characters or not printable")
    if not item_id and name in EVENTS_WITH_ITEMS:
        raise BadRow("item_id is empty")
    happened_ms = time_ms(row.get("event_time", ""))
    given_id = row.get("event_id", "").strip()
    content = [row.get(column, "").strip() for column in (*OWN_COLUMNS, *OPTIONAL_COLUMNS)]
    event: Event = {
        "schema_version": 1,
        "event_id": short_id(given_id) if given_id else row_id(f"{dataset}/{shop_id}", *content),
        "event_name": name,
        "shop_id": shop_id,
        "client_id": short_id(client),
        "session_id": short_id(row.get("session_id", "").strip() or client),
        "client_time_ms": happened_ms,
    }
    if item_id:
        event["items"] = [_item(row, item_id)]
    for column in ("user_id", "transaction_id"):
        if row.get(column, "").strip():
            event[column] = short_id(row[column])
    item = event.get("items", [{}])[0]
    if name == "purchase" and "price" in item:
        event["value"] = round(item["price"] * item.get("quantity", 1), 2)
    return event


def _item(row: Mapping[str, str], item_id: str) -> dict[str, Any]:
    item: dict[str, Any] = {"item_id": item_id}
    for column, field in (("item_name", "item_name"), ("category", "item_category"), ("brand", "item_brand")):
        if row.get(column, "").strip():
            item[field] = _text(row[column])
    price = amount(row.get("price", ""), "price")
    if price is not None:
        item["price"] = price
    quantity = amount(row.get("quantity", ""), "quantity")
    if quantity is not None:
        if quantity != int(quantity) or quantity > QUANTITY_MAX:
            raise BadRow(f"quantity is no whole number: {row['quantity'].strip()[:40]!r}")
        item["quantity"] = int(quantity)
    return item


def from_contract(record: Mapping[str, Any], dataset: str, shop_id: str) -> Event:
    """Complete a contract event from a file: drop the server's fields and fill in missing ones."""
    event = {key: value for key, value in record.items() if key != "server" and value is not None}
    happened = event.get("client_time_ms")
    if (
        not isinstance(happened, int)
        or isinstance(happened, bool)
        or not EARLIEST_MS <= happened <= LATEST_MS
    ):
        raise BadRow("client_time_ms is no time in milliseconds between 2000 and 2100")
    if event.get("event_name") not in EVENT_NAMES:
        raise BadRow(f"event_name is unknown: {str(event.get('event_name'))[:40]!r}")
    if not isinstance(event.get("client_id"), str) or not event["client_id"].strip():
        raise BadRow("client_id is empty or no text")
    items = event.get("items", [])
    if not isinstance(items, list) or not all(
        isinstance(i, dict) and isinstance(i.get("item_id"), str) for i in items
    ):
        raise BadRow("items is no list of objects with an item_id each")
    for key in ("event_id", "session_id", "shop_id"):
        if key in event and not isinstance(event[key], str):
            raise BadRow(f"{key} is no text")
    event["schema_version"] = 1
    event.setdefault("shop_id", shop_id)
    event["client_id"] = short_id(event["client_id"])
    event["session_id"] = short_id(event.get("session_id") or event["client_id"])
    content = [f"{key}={event[key]}" for key in sorted(event) if key != "event_id"]
    event["event_id"] = short_id(event["event_id"]) if event.get("event_id") else row_id(dataset, *content)
    return event
