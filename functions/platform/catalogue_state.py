"""The current state of a shop's catalogue, packed so that a Lambda loads half a million products without numpy.

The file: magic, length of the header, header as JSON, then one zlib block per column, little-endian.
Rows are sorted by the hash of the item's id: a lookup is a binary search, and loading builds no dict.
functions/platform/catalogue_editor.py writes it.
"""

import json
import math
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from functions.platform.contract import CATALOGUE_STATES_PREFIX

MAGIC = b"TUGCAT01"
LENGTH_BYTES = 4
# The type codes that memoryview and array share.
TypeCode = Literal["B", "I", "Q", "d", "q"]
# The column's name and its type code (https://docs.python.org/3/library/array.html).
COLUMNS: dict[str, TypeCode] = {
    "hash": "Q",
    "status": "B",
    "price": "d",
    "sale_price": "d",
    "sale_starts_at_ms": "q",
    "sale_ends_at_ms": "q",
    "cost": "d",
    "first_seen_ms": "q",
    "category": "I",
    "brand": "I",
    "item_group_id": "I",
    "attributes": "I",
}
# Texts are stored once, and their columns hold the number of the text. Number 0 is the empty text.
CODED = ("category", "brand", "item_group_id", "attributes")
# The id of each row, and the texts of each coded column: the ends of the texts, and the texts one after another.
TABLES = ("item_id", *CODED)

# `status` is the number of the availability in this list, plus one of the two flags. Without a flag, only events know the item.
AVAILABILITIES = ("", "in_stock", "out_of_stock", "preorder", "backorder")
OUT_OF_STOCK = AVAILABILITIES.index("out_of_stock")
LISTED, REMOVED = 8, 16
AVAILABILITY_BITS = LISTED - 1
# Values that mean "none", chosen so that the comparison with the time needs no special case.
NO_AMOUNT, NO_START, NO_END, NO_TIME = math.nan, 0, 2**63 - 1, -1


class Product(NamedTuple):
    """One product at a moment. `price` is the sale price while the sale runs."""

    available: bool
    price: float | None
    regular_price: float | None
    cost: float | None
    category: str
    brand: str
    group: str
    attributes: Mapping[str, str]
    first_seen_ms: int | None


class CatalogueState:
    """The products of one shop, read from packed columns. Texts are decoded when a product is asked for."""

    def __init__(self, header: Mapping[str, Any], blocks: Mapping[str, Any]) -> None:
        """Use the columns and tables of a file, by name. `unpack` reads them."""
        self.changed_at_ms = int(header["changed_at_ms"])
        self.folded: tuple[str, ...] = tuple(header["folded"])
        self.blocks = blocks
        self._hashes = blocks["hash"]
        self._attributes: dict[int, Mapping[str, str]] = {0: {}}

    def __len__(self) -> int:
        """Return the number of products."""
        return len(self._hashes)

    def items(self) -> Iterator[str]:
        """Yield the ids of all products."""
        return (self.text("item_id", row) for row in range(len(self)))

    def find(self, item_id: str) -> int | None:
        """Return the row of a product, or None if the state does not have it."""
        wanted = item_id.encode("utf-8", "surrogatepass")
        hashed = hash_of(wanted)
        row = bisect_left(self._hashes, hashed)
        while row < len(self._hashes) and self._hashes[row] == hashed:
            if self._bytes("item_id", row) == wanted:
                return row
            row += 1
        return None

    def is_available(self, item_id: str) -> bool:
        """Return False if the catalogue says that the item cannot be bought. An unknown item can be."""
        row = self.find(item_id)
        return row is None or is_available(self.blocks["status"][row])

    def product(self, item_id: str, now_ms: int) -> Product | None:
        """Return a product at a moment, or None if the state does not have it."""
        row = self.find(item_id)
        if row is None:
            return None
        blocks = self.blocks
        regular = amount(blocks["price"][row])
        sale = amount(blocks["sale_price"][row])
        on_sale = (
            sale is not None and blocks["sale_starts_at_ms"][row] <= now_ms < blocks["sale_ends_at_ms"][row]
        )
        first_seen_ms = blocks["first_seen_ms"][row]
        return Product(
            is_available(blocks["status"][row]),
            sale if on_sale else regular,
            regular,
            amount(blocks["cost"][row]),
            self.text("category", blocks["category"][row]),
            self.text("brand", blocks["brand"][row]),
            self.text("item_group_id", blocks["item_group_id"][row]),
            self._attributes_of(blocks["attributes"][row]),
            None if first_seen_ms == NO_TIME else first_seen_ms,
        )

    def text(self, table: str, number: int) -> str:
        """Return a text of a table by its number."""
        return self._bytes(table, number).decode()

    def texts(self, table: str) -> list[str]:
        """Return all texts of a table."""
        return [self.text(table, number) for number in range(len(self.blocks[f"{table}.ends"]))]

    def _bytes(self, table: str, number: int) -> bytes:
        ends = self.blocks[f"{table}.ends"]
        return bytes(self.blocks[f"{table}.texts"][ends[number - 1] if number else 0 : ends[number]])

    def _attributes_of(self, code: int) -> Mapping[str, str]:
        found = self._attributes.get(code)
        if found is None:
            found = self._attributes[code] = json.loads(self.text("attributes", code))
        return found


def state_key(shop_id: str) -> str:
    """Return the key of a shop's state in the models bucket."""
    return f"{CATALOGUE_STATES_PREFIX}{quote(shop_id, safe='')}.bin"


def hash_of(item_id: bytes) -> int:
    """Return the 64 bits by which rows are sorted. Two ids with the same hash stand next to each other."""
    return int.from_bytes(blake2b(item_id, digest_size=8).digest(), "little")


def is_available(status: int) -> bool:
    """Return False for a product that is out of stock or removed from the catalogue."""
    return not status & REMOVED and status & AVAILABILITY_BITS != OUT_OF_STOCK


def amount(stored: float) -> float | None:
    """Return a stored amount, or None for NaN."""
    return None if math.isnan(stored) else stored


def block_types() -> dict[str, TypeCode]:
    """Return the type code of every block of a file, in the file's order."""
    types = dict(COLUMNS)
    for table in TABLES:
        types |= {f"{table}.ends": "I", f"{table}.texts": "B"}
    return types


def read_header(packed: bytes) -> tuple[dict[str, Any], int]:
    """Return the header of a file, or of its first bytes, and the position of the first block.

    Raises:
        ValueError: the bytes do not begin with a complete header.
    """
    if not packed.startswith(MAGIC):
        raise ValueError(f"a catalogue state begins with {MAGIC!r}, not with {bytes(packed[:8])!r}")
    start = len(MAGIC) + LENGTH_BYTES
    end = start + int.from_bytes(packed[len(MAGIC) : start], "little")
    if len(packed) < end:
        raise ValueError(f"the header ends at byte {end}, of which {len(packed)} are here")
    header: dict[str, Any] = json.loads(packed[start:end])
    return header, end


def unpack(packed: bytes) -> CatalogueState:
    """Return the state that a file contains.

    Raises:
        KeyError, ValueError: the file is damaged, or of another version.
    """
    header, start = read_header(packed)
    blocks: dict[str, Any] = {}
    view = memoryview(packed)
    for name, kind in block_types().items():
        end = start + header["blocks"][name]
        try:
            blocks[name] = memoryview(zlib.decompress(view[start:end])).cast(kind)
        except (zlib.error, TypeError) as error:
            raise ValueError(f"block {name} of the catalogue state is damaged: {error}") from error
        start = end
    return CatalogueState(header, blocks)


def pack(changed_at_ms: int, folded: tuple[str, ...], blocks: Mapping[str, Any]) -> bytes:
    """Return the file of a state. Level 1 packs three times as fast as 6, and the file is a tenth larger."""
    packed = {name: zlib.compress(blocks[name], 1) for name in block_types()}
    lengths = {name: len(block) for name, block in packed.items()}
    header = json.dumps({"changed_at_ms": changed_at_ms, "folded": folded, "blocks": lengths}).encode()
    return b"".join([MAGIC, len(header).to_bytes(LENGTH_BYTES, "little"), header, *packed.values()])
