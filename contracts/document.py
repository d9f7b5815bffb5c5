"""Writes the tables of docs/events.md from event.schema.json and the collector's limits.

python -m contracts.document          # after a change of event.schema.json or of a limit
python -m contracts.document --check  # exit 1 when docs/events.md is out of date

No handler imports this module: it is for people who write documentation.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from functions.collect.collect import REFUSED_PAYLOAD_MAX_CHARACTERS
from functions.platform.errors import Reason, http_status
from functions.platform.events.batch import BODY_MAX_BYTES, DEPTH_MAX, EVENTS_MAX
from functions.platform.events.contract import CLOCK_AHEAD_MAX_MS, EVENT_MAX_BYTES

HERE = Path(__file__).parent
SCHEMA: dict[str, Any] = json.loads((HERE / "event.schema.json").read_text())
DOCUMENT = HERE.parent / "docs" / "events.md"
SECTION = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[a-z ]+) -->\n).*?(?P<end><!-- end of generated -->)", re.DOTALL
)
PATTERNS_IN_WORDS = {
    r"^[^\x00-\x1f\x7f]{1,64}$": "1 to 64 characters, no control characters",
    "^[A-Z]{3}$": "three capital letters",
}
SHORT_ENUM = 4


class Limit(NamedTuple):
    """A limit of the collector: its name, its value in words, and what happens beyond it."""

    name: str
    value: str
    beyond: str


def _resolved(field: dict[str, Any]) -> dict[str, Any]:
    """The field with what its `$ref` says."""
    reference = field.get("$ref")
    return {**SCHEMA["definitions"][reference.rsplit("/", 1)[1]], **field} if reference else field


def _kind(field: dict[str, Any]) -> str:
    """What a field may hold, in words."""
    field = _resolved(field)
    if "enum" in field:
        values = field["enum"]
        if len(values) > SHORT_ENUM:
            return f"one of {len(values)} [event types](#event-types)"
        return " or ".join(f"`{value}`" for value in values)
    match field["type"]:
        case "string" if "pattern" in field:
            return "text: " + PATTERNS_IN_WORDS.get(field["pattern"], f"matching `{field['pattern']}`")
        case "string":
            return f"text, at most {field['maxLength']:,} characters"
        case "array":
            return f"list of at most {field['maxItems']:,} [items](#fields-of-an-item)"
        case "integer" | "number" as kind:
            words = "whole number" if kind == "integer" else "number"
            return f"{words}, {field['minimum']:,} to {field['maximum']:,}"
        case other:
            raise SystemExit(f"event.schema.json holds a field of type {other}: tell {__file__} its words")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    cells = [list(head), *(list(row) for row in rows)]
    cells.insert(1, ["---"] * len(cells[0]))
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in cells)


def _fields(of: dict[str, Any]) -> str:
    return _table(
        ("field", "", "what it holds", "values"),
        (
            (
                f"`{name}`",
                "required" if name in of["required"] else "",
                field["description"],
                _kind(field),
            )
            for name, field in of["properties"].items()
        ),
    )


def _refused_whole(reason: Reason) -> str:
    return f"nothing is taken: {http_status(reason).value} `{reason.value}`"


def limits() -> list[Limit]:
    """Every limit that an event or a request meets on its way."""
    event, item, of = (
        SCHEMA["properties"],
        SCHEMA["properties"]["items"]["items"]["properties"],
        SCHEMA["definitions"],
    )
    time, quantity, amount = event["client_time_ms"], item["quantity"], of["amount"]
    invalid = "the event is refused: `field_invalid`"
    return [
        Limit("body", f"{BODY_MAX_BYTES:,} bytes", _refused_whole(Reason.BODY_TOO_LARGE)),
        Limit("events a request", f"{EVENTS_MAX:,}", _refused_whole(Reason.TOO_MANY_EVENTS)),
        Limit("objects and lists in each other", f"{DEPTH_MAX} levels", _refused_whole(Reason.BODY_NOT_JSON)),
        Limit(
            "an event as stored",
            f"{EVENT_MAX_BYTES:,} bytes of UTF-8, without unknown fields, receipts and [`server`](#what-the-server-adds)",
            "the event is refused: `event_too_large`",
        ),
        Limit("items an event", f"{event['items']['maxItems']:,}", invalid),
        Limit("ids", PATTERNS_IN_WORDS[of["id"]["pattern"]], invalid),
        Limit("names, categories, search terms", f"{of['text']['maxLength']:,} characters", invalid),
        Limit("addresses of pages", f"{of['address']['maxLength']:,} characters", invalid),
        Limit("receipts", f"{of['receipt']['maxLength']:,} characters", invalid),
        Limit("`price`, `value`", f"{amount['minimum']:,} to {amount['maximum']:,}", invalid),
        Limit("`quantity`", f"{quantity['minimum']:,} to {quantity['maximum']:,}", invalid),
        Limit(
            "`client_time_ms`",
            f"{time['minimum']:,} (year 2000) to {time['maximum']:,} (year 2100)",
            invalid,
        ),
        Limit(
            "an event's time, corrected by `sent_at_ms`",
            f"at most {CLOCK_AHEAD_MAX_MS // 60_000} minutes after its receipt",
            f"the event is refused: `{Reason.CLIENT_TIME_IN_FUTURE.value}`",
        ),
        Limit(
            "what is kept of a refused event or body",
            f"the first {REFUSED_PAYLOAD_MAX_CHARACTERS:,} characters",
            "the rest is cut off, so it cannot be replayed",
        ),
    ]


SECTIONS: dict[str, Callable[[], str]] = {
    "event fields": lambda: _fields(SCHEMA),
    "item fields": lambda: _fields(SCHEMA["properties"]["items"]["items"]),
    "limits": lambda: _table(("limit of", "is", "beyond it"), limits()),
}


def documented(text: str) -> str:
    """`text` with each generated section made anew; the prose around them stays."""
    names = [found["name"] for found in SECTION.finditer(text)]
    if sorted(names) != sorted(SECTIONS):
        raise SystemExit(f"{DOCUMENT} has the generated sections {names}, it must have {list(SECTIONS)}")
    return SECTION.sub(lambda found: found["begin"] + SECTIONS[found["name"]]() + found["end"], text)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m contracts.document --check",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when docs/events.md is out of date"
    )
    arguments = parser.parse_args()
    text = DOCUMENT.read_text()
    if text == documented(text):
        return 0
    if not arguments.check:
        DOCUMENT.write_text(documented(text))
        return 0
    print("docs/events.md is out of date: run python -m contracts.document", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
