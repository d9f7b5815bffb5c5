"""The generated tables of docs/events.md and docs/catalogue.md."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import contracts
from functions.platform.errors import Reason, http_status

DOCUMENT = contracts.REPOSITORY / "docs" / "events.md"
PATTERNS_IN_WORDS = {
    r"^[^\x00-\x1f\x7f]{1,64}$": "1 to 64 characters, no control characters",
    "^[A-Z]{3}$": "three capital letters",
    r"^[^\x00-\x1f\x7f]{1,500}$": "1 to 500 characters, no control characters",
    r"^https?://[^\x00-\x20\x7f]{1,1990}$": "an http or https address of at most 2,000 characters, without spaces",
}
# A longer enumeration is the list of event types, which has a table of its own.
LISTED_VALUES_MAX = 4


class Limit(NamedTuple):
    """A limit of the collector: its name, its value in words, and the consequence of exceeding it."""

    name: str
    value: str
    consequence: str


def limits() -> list[Limit]:
    """Return every limit on events and requests."""
    schema, collect = contracts.read("event.schema"), contracts.read("limits")["collect"]
    event, types = schema["properties"], schema["definitions"]
    item = event["items"]["items"]["properties"]
    time, quantity, amount = event["client_time_ms"], item["quantity"], types["amount"]
    invalid = "the event is refused: `field_invalid`"
    return [
        Limit("body", f"{collect['body_max_bytes']:,} bytes", _refused_whole(Reason.BODY_TOO_LARGE)),
        Limit("events per request", f"{collect['events_max']:,}", _refused_whole(Reason.TOO_MANY_EVENTS)),
        Limit(
            "nested objects and lists", f"{collect['depth_max']} levels", _refused_whole(Reason.BODY_NOT_JSON)
        ),
        Limit(
            "an event as stored",
            f"{collect['event_max_bytes']:,} bytes of UTF-8, without unknown fields, receipts and "
            "[`server`](#what-the-server-adds)",
            "the event is refused: `event_too_large`",
        ),
        Limit("items per event", f"{event['items']['maxItems']:,}", invalid),
        Limit("ids", PATTERNS_IN_WORDS[types["id"]["pattern"]], invalid),
        Limit("names, categories, search terms", f"{types['text']['maxLength']:,} characters", invalid),
        Limit("addresses of pages", f"{types['address']['maxLength']:,} characters", invalid),
        Limit("receipts", f"{types['receipt']['maxLength']:,} characters", invalid),
        Limit("`price`, `value`", f"{amount['minimum']:,} to {amount['maximum']:,}", invalid),
        Limit("`quantity`", f"{quantity['minimum']:,} to {quantity['maximum']:,}", invalid),
        Limit(
            "`client_time_ms`",
            f"{time['minimum']:,} (year 2000) to {time['maximum']:,} (year 2100)",
            invalid,
        ),
        Limit(
            "an event's time, corrected by `sent_at_ms`",
            f"at most {collect['clock_ahead_max_ms'] // 60_000} minutes after its receipt",
            f"the event is refused: `{Reason.CLIENT_TIME_IN_FUTURE.value}`",
        ),
        Limit(
            "the age of a page's event, corrected by `sent_at_ms`",
            f"{collect['page_queue_max_ms'] // 3_600_000} hours in the SDK's queue, and "
            f"{(collect['page_age_max_ms'] - collect['page_queue_max_ms']) // 60_000} minutes; none with a secret key",
            f"the event is refused: `{Reason.EVENT_TOO_OLD.value}`",
        ),
        Limit(
            "the stored part of a refused event or body",
            f"the first {collect['refused_payload_max_characters']:,} characters",
            "the rest is cut off, so it cannot be replayed",
        ),
    ]


def _refused_whole(reason: Reason) -> str:
    return f"the whole request is refused: {http_status(reason).value} `{reason.value}`"


def _fields(described: dict[str, Any], definitions: dict[str, Any]) -> str:
    rows = [
        (
            f"`{name}`",
            "required" if name in described["required"] else "",
            field["description"],
            _kind(field, definitions),
        )
        for name, field in described["properties"].items()
    ]
    return _table(("field", "", "content", "values"), rows)


def _kind(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Return the allowed values of a field in words."""
    reference = field.get("$ref")
    if reference:
        field = definitions[reference.rsplit("/", 1)[1]]
    if "enum" in field:
        values = field["enum"]
        if len(values) > LISTED_VALUES_MAX:
            return f"one of {len(values)} [event types](#event-types)"
        return " or ".join(f"`{value}`" for value in values)
    match field["type"]:
        case "string" if "pattern" in field:
            return "text: " + PATTERNS_IN_WORDS.get(field["pattern"], f"matching `{field['pattern']}`")
        case "string":
            return f"text, at most {field['maxLength']:,} characters"
        case "array":
            return f"list of at most {field['maxItems']:,} [items](#fields-of-an-item)"
        case "object":
            value = _kind(field["additionalProperties"], definitions)
            return f"object of at most {field['maxProperties']} names, each with a {value}"
        case "integer" | "number" as kind:
            words = "whole number" if kind == "integer" else "number"
            return f"{words}, {field['minimum']:,} to {field['maximum']:,}"
        case other:
            raise SystemExit(f"a schema has a field of type {other}: add its words to {__file__}")


def _placements() -> str:
    rows = [
        (f"`{name}`", placement["stands_on"], placement["shows"])
        for name, placement in contracts.read("placements").items()
    ]
    return _table(("placement", "the carousel stands on", "it shows"), rows)


def _event_types() -> str:
    kinds = contracts.read("event_kinds")
    rows = [(f"`{name}`", kind["sent_when"], kind["used_for"]) for name, kind in kinds.items()]
    return _table(("event type", "send it when", "used for"), rows)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    cells = [list(head), *(list(row) for row in rows)]
    cells.insert(1, ["---"] * len(cells[0]))
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in cells)


def _event_fields() -> str:
    schema = contracts.read("event.schema")
    return _fields(schema, schema["definitions"])


def _item_fields() -> str:
    schema = contracts.read("event.schema")
    return _fields(schema["properties"]["items"]["items"], schema["definitions"])


def _product_fields() -> str:
    schema = contracts.read("product.schema")
    return _fields(schema, schema["definitions"])


# The generated sections per page.
SECTIONS: dict[str, dict[str, Callable[[], str]]] = {
    "docs/events.md": {
        "event fields": _event_fields,
        "item fields": _item_fields,
        "event types": _event_types,
        "limits": lambda: _table(("limit of", "value", "beyond it"), limits()),
    },
    "docs/storefront.md": {"placements": _placements},
    "docs/catalogue.md": {"product fields": _product_fields},
}
