"""Change a packed catalogue state: columns are arrays, and only the cells of changed products are written."""

import json
from array import array
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from functions.platform.catalogue_state import (
    AVAILABILITIES,
    AVAILABILITY_BITS,
    CODED,
    COLUMNS,
    LISTED,
    NO_AMOUNT,
    NO_END,
    NO_START,
    NO_TIME,
    REMOVED,
    CatalogueState,
    hash_of,
    pack,
    unpack,
)

# What a cell holds that no catalogue described.
EMPTY: dict[str, Any] = {
    "status": 0,
    "price": NO_AMOUNT,
    "sale_price": NO_AMOUNT,
    "sale_starts_at_ms": NO_START,
    "sale_ends_at_ms": NO_END,
    "cost": NO_AMOUNT,
    "first_seen_ms": NO_TIME,
    **dict.fromkeys(CODED, 0),
}
# Where a feed has no value, the events' value stays: only the nightly run knows both (MARTS.PRODUCTS).
FILLED_BY_EVENTS = ("price", "category", "brand")
FIELDS = ("availability", *(name for name in EMPTY if name not in ("status", "first_seen_ms")))
# What a line of a whole catalogue does not state has no value.
UNSTATED = {name: None for name in FIELDS if name not in FILLED_BY_EVENTS}


class CatalogueEditor:
    """A state that is being changed. Fields have the names of contracts/product.schema.json."""

    def __init__(self, state: CatalogueState | None = None) -> None:
        """Begin with a state, or with no product."""
        self._state = state
        self._columns: dict[str, array[Any]] = {
            name: array(kind, state.blocks[name].tobytes() if state else b"")
            for name, kind in COLUMNS.items()
        }
        self._texts: dict[str, dict[str, int]] = {}
        self._new: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of products."""
        return len(self._columns["status"])

    def change(self, item_id: str, fields: Mapping[str, Any]) -> None:
        """Change the fields that are given, and list the product. None clears a field."""
        row = self._row(item_id)
        self._set(row, fields)
        self._flag(row, LISTED)

    def remove(self, item_id: str) -> None:
        """Mark a product as removed from the catalogue. Its description stays."""
        self._flag(self._row(item_id), REMOVED)

    def replace(self, item_id: str, fields: Mapping[str, Any]) -> None:
        """Describe a product anew, as a line of a whole catalogue."""
        self.change(item_id, {**UNSTATED, **fields})

    def remove_others(self, item_ids: Collection[str]) -> None:
        """Mark every listed product as removed that a whole catalogue lacks. Products known by events only stay."""
        kept = {self._find(item_id) for item_id in item_ids}
        status = self._columns["status"]
        for row in range(len(status)):
            if status[row] & LISTED and row not in kept:
                self._flag(row, REMOVED)

    def add_known(
        self, item_id: str, fields: Mapping[str, Any], is_listed: bool | None, first_seen_ms: int | None
    ) -> None:
        """Set a product as the warehouse has it. `is_listed` is None if only events know it."""
        row = self._row(item_id)
        self._set(row, fields)
        self._flag(row, 0 if is_listed is None else LISTED if is_listed else REMOVED)
        self._columns["first_seen_ms"][row] = NO_TIME if first_seen_ms is None else first_seen_ms

    def packed(self, changed_at_ms: int, folded: Iterable[str] = ()) -> bytes:
        """Return the file of the state."""
        tables = {name: self._table(name) for name in CODED}
        columns, ids = self._sorted()
        blocks: dict[str, Any] = {**columns, **ids}
        for table in tables.values():
            blocks |= table
        return pack(changed_at_ms, tuple(folded), blocks)

    def state(self, changed_at_ms: int, folded: Iterable[str] = ()) -> CatalogueState:
        """Return the state, as a reader gets it."""
        return unpack(self.packed(changed_at_ms, folded))

    def _find(self, item_id: str) -> int | None:
        known = self._state.find(item_id) if self._state else None
        return self._new.get(item_id) if known is None else known

    def _row(self, item_id: str) -> int:
        """Return the row of a product; add one if there is none."""
        row = self._find(item_id)
        if row is None:
            row = self._new[item_id] = len(self)
            self._columns["hash"].append(hash_of(item_id.encode()))
            for name, value in EMPTY.items():
                self._columns[name].append(value)
        return row

    def _set(self, row: int, fields: Mapping[str, Any]) -> None:
        for name, value in fields.items():
            if name == "availability":
                status = self._columns["status"]
                status[row] = status[row] & ~AVAILABILITY_BITS | AVAILABILITIES.index(value or "")
            elif name in FIELDS:
                self._columns[name][row] = self._stored(name, value)

    def _stored(self, name: str, value: Any) -> Any:
        if name in CODED:
            return self._code(name, value)
        return EMPTY[name] if value is None else value

    def _flag(self, row: int, flag: int) -> None:
        status = self._columns["status"]
        status[row] = status[row] & AVAILABILITY_BITS | flag

    def _codes(self, table: str) -> dict[str, int]:
        """Return the number of each text of a table."""
        if table not in self._texts:
            texts = self._state.texts(table) if self._state else [""]
            self._texts[table] = {text: number for number, text in enumerate(texts)}
        return self._texts[table]

    def _code(self, table: str, value: Any) -> int:
        if not value:
            return 0
        text = json.dumps(value, ensure_ascii=False, sort_keys=True) if table == "attributes" else value
        codes = self._codes(table)
        return codes.setdefault(text, len(codes))

    def _table(self, name: str) -> dict[str, Any]:
        if self._state and name not in self._texts:
            return {f"{name}.{part}": self._state.blocks[f"{name}.{part}"] for part in ("ends", "texts")}
        return _joined(name, self._codes(name))

    def _sorted(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the columns and the ids in the order of the hashes."""
        if self._state and not self._new:
            return self._columns, self._table("item_id")
        ids = [*(self._state.items() if self._state else ()), *self._new]
        hashes = self._columns["hash"]
        order = sorted(range(len(ids)), key=hashes.__getitem__)
        columns = {
            name: array(kind, map(self._columns[name].__getitem__, order)) for name, kind in COLUMNS.items()
        }
        return columns, _joined("item_id", [ids[row] for row in order])


def _joined(table: str, texts: Iterable[str]) -> dict[str, Any]:
    ends, joined = array("I"), bytearray()
    for text in texts:
        joined += text.encode()
        ends.append(len(joined))
    return {f"{table}.ends": ends, f"{table}.texts": memoryview(joined)}
