"""Products of the whole catalogue that the rules of a request allow, for answers that would have free slots.

The products of a set of rules are found once per minute and state, in one pass over packed columns, and then kept.
They are candidates like any other: the rules are applied to them again for each answer.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from functions.platform.catalogue_state import CatalogueState, is_available
from functions.platform.contract import RECOMMEND_EXCLUDE_MAX, RECOMMEND_ITEMS_MAX, RECOMMEND_K_MAX
from functions.recommend.rules.arrange import Counts, Scored, allowed_rows, limit_keys
from functions.recommend.rules.compiled import Active, Request
from functions.recommend.rules.facts import NO_ATTRIBUTES

BLOCK_ROWS = 16_384
CHUNK = 100
# Of the products with the same values in the limits, more than these are in no answer: the request excludes all others.
# The items of a basket are excluded too.
PER_VALUE_MAX = RECOMMEND_K_MAX + RECOMMEND_EXCLUDE_MAX + RECOMMEND_ITEMS_MAX
PRODUCTS_MAX = 8 * PER_VALUE_MAX
# Sets of rules whose products are kept. Conditions and periods make few of them.
KEPT_MAX = 64
MINUTE_MS = 60_000


class Reserve:
    """The products of one state. Rows of a state are sorted by a hash, so its products come in no meaningful order."""

    def __init__(self, state: CatalogueState) -> None:
        self._state = state
        self._columns = _Columns(state)
        self._found: dict[tuple[tuple[str, ...], int], list[str]] = {}

    def __call__(self, active: Active, request: Request) -> Iterator[Sequence[Scored]]:
        """Yield products that no rule removes, without a score."""
        # Prices change with sales, so what was found is kept for a minute.
        key = active.narrowing, request.now_ms // MINUTE_MS
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= KEPT_MAX:
                self._found.clear()
            found = self._found[key] = self._find(active, request.now_ms)
        for start in range(0, len(found), CHUNK):
            yield [(item_id, 0.0) for item_id in found[start : start + CHUNK]]

    def _find(self, active: Active, now_ms: int) -> list[str]:
        # A rule of `only` often leaves few rows, so those come first. The rows that are left are the same in any order.
        active = active._replace(
            removals=tuple(sorted(active.removals, key=lambda one: one.rule.only is None))
        )
        found: list[str] = []
        of_value: dict[tuple[str | None, ...], int] = {}
        for start in range(0, len(self._state), BLOCK_ROWS):
            block = _Block(self._columns, start, min(start + BLOCK_ROWS, len(self._state)), now_ms)
            rows = allowed_rows(block, active, True, Counts())
            keys = [limit_keys(block, one) for one in active.limits] if rows else []
            for row in rows:
                values = tuple(column[row] for column in keys)
                count = of_value.get(values, 0)
                if count < PER_VALUE_MAX:
                    of_value[values] = count + 1
                    found.append(self._state.text("item_id", start + row))
            # Without limits any product fits, so the first ones are enough.
            if len(found) >= (PRODUCTS_MAX if active.limits else PER_VALUE_MAX):
                break
        return found


class _Columns:
    """The texts of a state by their numbers, each decoded once."""

    def __init__(self, state: CatalogueState) -> None:
        self.state = state
        self.available = [is_available(status) for status in range(256)]
        self._attributes: dict[int, Mapping[str, str]] = {0: NO_ATTRIBUTES}

    @cached_property
    def brands(self) -> list[str]:
        return self.state.texts("brand")

    @cached_property
    def categories(self) -> list[str]:
        return [text and f"{text}/" for text in self.state.texts("category")]

    @cached_property
    def groups(self) -> list[str]:
        return self.state.texts("item_group_id")

    def attributes(self, code: int) -> Mapping[str, str]:
        """Return the attributes with a number."""
        found = self._attributes.get(code)
        if found is None:
            found = self._attributes[code] = json.loads(self.state.text("attributes", code))
        return found


class _Block:
    """The facts about consecutive rows of a state."""

    def __init__(self, columns: _Columns, start: int, end: int, now_ms: int) -> None:
        self._columns, self._start, self._end, self.now_ms = columns, start, end, now_ms

    def __len__(self) -> int:
        return self._end - self._start

    def _stored(self, name: str) -> Any:
        return self._columns.state.blocks[name][self._start : self._end]

    def rows_of(self, item_ids: Collection[str]) -> set[int]:
        """Return the rows of the items that are here."""
        found = (self._columns.state.find(item_id) for item_id in item_ids)
        return {row - self._start for row in found if row is not None and self._start <= row < self._end}

    @cached_property
    def known(self) -> Sequence[object]:
        return (True,) * len(self)

    @cached_property
    def available(self) -> Sequence[object]:
        return list(map(self._columns.available.__getitem__, self._stored("status")))

    @cached_property
    def categories(self) -> Sequence[str]:
        return list(map(self._columns.categories.__getitem__, self._stored("category")))

    @cached_property
    def brands(self) -> Sequence[str]:
        return list(map(self._columns.brands.__getitem__, self._stored("brand")))

    @cached_property
    def groups(self) -> Sequence[str]:
        return list(map(self._columns.groups.__getitem__, self._stored("item_group_id")))

    @cached_property
    def attributes(self) -> Sequence[Mapping[str, str]]:
        return list(map(self._columns.attributes, self._stored("attributes")))

    @cached_property
    def prices(self) -> Sequence[float]:
        now_ms = self.now_ms
        return [
            sale if not math.isnan(sale) and starts_at_ms <= now_ms < ends_at_ms else regular
            for regular, sale, starts_at_ms, ends_at_ms in zip(
                self.regular_prices,
                self._stored("sale_price"),
                self._stored("sale_starts_at_ms"),
                self._stored("sale_ends_at_ms"),
                strict=True,
            )
        ]

    @cached_property
    def regular_prices(self) -> Sequence[float]:
        found: Sequence[float] = self._stored("price")
        return found

    @cached_property
    def first_seen_ms(self) -> Sequence[int]:
        found: Sequence[int] = self._stored("first_seen_ms")
        return found
