"""The lines of a PUT /catalogue body: each changes or deletes one product, and each is answered."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import DecodeError, ValidationError, convert, json, structs

from functions.platform.contract import (
    CATALOGUE_BATCH_LINES_MAX,
    CATALOGUE_BATCH_MAX_BYTES,
    CATALOGUE_LINE_MAX_BYTES,
    ID_MAX_CHARACTERS,
)
from functions.platform.errors import Reason, RequestRefused
from functions.platform.product import Product

DELETE = "delete"
FIELDS = frozenset(field.name for field in structs.fields(Product)) - {"shop_id", "item_id"}
# The contract requires a title, which a change need not state.
UNSTATED_TITLE = "-"
SHOWN_FIELD_CHARACTERS = 64
DECODER = json.Decoder()


class Refused(NamedTuple):
    """A line that changes nothing, by its number from 1."""

    line: int
    item_id: str | None
    reason: str
    message: str


class Change(NamedTuple):
    """The stated fields of one product. A field that is None is cleared."""

    fields: dict[str, Any]
    is_deleted: bool

    def then(self, later: "Change") -> "Change":
        """Return this change followed by a later one."""
        return Change({**self.fields, **later.fields}, later.is_deleted)

    def stored(self, shop_id: str, item_id: str, received_at_ms: int) -> dict[str, Any]:
        """Return the line of the stored file."""
        names = "".join(f"{name}," for name in sorted(self.fields))
        stamp = {
            "feed_id": f"{received_at_ms}-changes",
            "imported_at_ms": received_at_ms,
            "complete": False,
            "format": "changes",
            "changes": f",{names}",
            "deleted": self.is_deleted,
        }
        return {"shop_id": shop_id, "item_id": item_id, **self.fields, "feed": stamp}


class Batch(NamedTuple):
    """The accepted changes by product, the number of accepted lines, and the refused lines."""

    changes: dict[str, Change]
    accepted: int
    refused: list[Refused]


def parse_batch(body: bytes, shop_id: str) -> Batch:
    """Read the lines of a body. Several lines about one product are one change, in the order of the lines.

    Raises:
        RequestRefused: the body is empty, too large, or has too many lines.
    """
    if len(body) > CATALOGUE_BATCH_MAX_BYTES:
        raise RequestRefused(
            Reason.BODY_TOO_LARGE,
            f"{len(body)} bytes, at most {CATALOGUE_BATCH_MAX_BYTES} are taken: send several batches, one after the other",
        )
    lines = list(_lines(body))
    if not lines:
        raise RequestRefused(Reason.BODY_EMPTY, "the body has no line: send one JSON object per line")
    if len(lines) > CATALOGUE_BATCH_LINES_MAX:
        raise RequestRefused(
            Reason.TOO_MANY_LINES,
            f"{len(lines)} lines, at most {CATALOGUE_BATCH_LINES_MAX} are taken: send several batches, one after the other",
        )
    changes: dict[str, Change] = {}
    refused = []
    for number, line in lines:
        item_id = None
        try:
            parsed = _parsed(line)
            item_id = _item_id(parsed)
            change = _change(parsed, shop_id, item_id)
        except RequestRefused as refusal:
            refused.append(Refused(number, item_id, refusal.reason.value, refusal.message))
            continue
        earlier = changes.get(item_id)
        changes[item_id] = earlier.then(change) if earlier else change
    return Batch(changes, len(lines) - len(refused), refused)


def _lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of the lines that are not blank."""
    for number, line in enumerate(body.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if line.strip():
            yield number, line


def _parsed(line: bytes) -> dict[str, Any]:
    if len(line) > CATALOGUE_LINE_MAX_BYTES:
        raise RequestRefused(
            Reason.LINE_TOO_LARGE,
            f"the line has {len(line)} bytes, at most {CATALOGUE_LINE_MAX_BYTES} are taken",
        )
    try:
        parsed = DECODER.decode(line)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestRefused(Reason.LINE_NOT_JSON, f"the line is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise RequestRefused(
            Reason.LINE_NOT_JSON, 'the line is not a JSON object such as {"item_id": "boot-7", "price": 89.9}'
        )
    return parsed


def _item_id(parsed: dict[str, Any]) -> str:
    if "item_id" not in parsed:
        raise RequestRefused(Reason.FIELD_MISSING, "item_id is missing")
    item_id = parsed["item_id"]
    if not isinstance(item_id, str) or not 1 <= len(item_id) <= ID_MAX_CHARACTERS:
        raise RequestRefused(
            Reason.FIELD_INVALID,
            f"item_id is a text of 1 to {ID_MAX_CHARACTERS} characters, as in the events",
        )
    return item_id


def _change(parsed: dict[str, Any], shop_id: str, item_id: str) -> Change:
    stated = {name: value for name, value in parsed.items() if name not in ("shop_id", "item_id", DELETE)}
    if parsed.get("shop_id", shop_id) != shop_id:
        raise RequestRefused(Reason.UNKNOWN_SHOP, f"the secret key is of shop {shop_id!r}: leave shop_id out")
    for name in stated:
        if name not in FIELDS:
            raise RequestRefused(
                Reason.FIELD_UNKNOWN,
                f"{name[:SHOWN_FIELD_CHARACTERS]!r} is no field of a product: docs/catalogue.md lists the fields",
            )
    deletes = DELETE in parsed
    if deletes and parsed[DELETE] is not True:
        raise RequestRefused(Reason.FIELD_INVALID, "delete is true, or is left out")
    if deletes and stated:
        raise RequestRefused(Reason.FIELD_INVALID, "a line with delete has no other field than item_id")
    if not deletes and not stated:
        raise RequestRefused(Reason.FIELD_MISSING, "the line changes nothing: state a field, or delete")
    if stated.get("title", UNSTATED_TITLE) is None:
        raise RequestRefused(Reason.FIELD_INVALID, "title cannot be cleared")
    given = {name: value for name, value in stated.items() if value is not None}
    try:
        convert({"title": UNSTATED_TITLE, **given, "shop_id": shop_id, "item_id": item_id}, Product)
    except ValidationError as error:
        raise RequestRefused(Reason.FIELD_INVALID, str(error)) from None
    return Change(stated, deletes)
