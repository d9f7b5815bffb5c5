"""Carousels of a shop that has no model yet, from its catalogue: similar products, and the newest of each category.

The first model needs a day of sessions. A shop's products are known from its first hour (PUT /catalogue).
"""

import math
from array import array
from collections.abc import Sequence
from functools import cached_property, lru_cache
from heapq import nsmallest

from functions.platform.catalogue_state import CatalogueState, is_available
from functions.recommend.fallback import Fallback
from functions.recommend.recommendation import NO_MODEL
from functions.recommend.rules.reserve import PER_VALUE_MAX

# Whatever a request excludes, so many items are enough for it.
LIST_MAX = PER_VALUE_MAX
# Products whose lists are kept. One has 10 kB at most.
KEPT_MAX = 500
# A brand in common says less than a part of the category in common.
BRAND_POINTS = 0.5


class FirstDay:
    """The lists that stand in for those of a release, from one state of a catalogue."""

    def __init__(self, state: CatalogueState) -> None:
        self._state = state
        self._alike_kept = lru_cache(KEPT_MAX)(self._alike)

    def lists(self, items: Sequence[str]) -> Fallback:
        """Return the products that are similar to the last known one of a session, and the newest of each category."""
        known = ((item, self._state.find(item)) for item in reversed(items))
        anchor, row = next(((item, row) for item, row in known if row is not None), ("", None))
        related = {} if row is None else {anchor: self._alike_kept(row)}
        return Fallback(self._newest, related, NO_MODEL, "new")

    def _alike(self, anchor: int) -> list[str]:
        """Return the products with parts of the category or the brand in common, most in common first.

        Of equals, one with a similar price comes first. Variants of the product itself are left out.
        """
        blocks = self._state.blocks
        category = self._categories[blocks["category"][anchor]]
        of_category = array("d", [_shared(category, other) for other in self._categories])
        brand, group = blocks["brand"][anchor], blocks["item_group_id"][anchor]
        price = blocks["price"][anchor]
        rows = zip(
            blocks["status"], blocks["category"], blocks["brand"], blocks["item_group_id"], strict=True
        )
        found = [
            (-points, _distance(price, blocks["price"][row]), row)
            for row, (status, code, of_brand, of_group) in enumerate(rows)
            if (points := of_category[code] + (BRAND_POINTS if brand and of_brand == brand else 0))
            and row != anchor
            and not (group and of_group == group)
            and is_available(status)
        ]
        return [self._state.text("item_id", row) for *_, row in nsmallest(LIST_MAX, found)]

    @cached_property
    def _categories(self) -> list[list[str]]:
        return [text.split("/") if text else [] for text in self._state.texts("category")]

    @cached_property
    def _newest(self) -> list[str]:
        """The newest product of each category, then the second newest of each, and so on."""
        blocks = self._state.blocks
        rows = [row for row, status in enumerate(blocks["status"]) if is_available(status)]
        rows.sort(key=blocks["first_seen_ms"].__getitem__, reverse=True)
        of_category: dict[int, int] = {}
        places = []
        for newness, row in enumerate(rows):
            code = blocks["category"][row]
            place = of_category[code] = of_category.get(code, -1) + 1
            if place < LIST_MAX:
                places.append((place, newness, row))
        return [self._state.text("item_id", row) for *_, row in nsmallest(LIST_MAX, places)]


def _shared(path: Sequence[str], other: Sequence[str]) -> int:
    """Return the number of parts that two categories have in common from the top."""
    count = 0
    for one, two in zip(path, other, strict=False):
        if one != two:
            break
        count += 1
    return count


def _distance(price: float, other: float) -> float:
    """Return how many times larger one price is, as a logarithm; infinity if one is unknown."""
    if not (price > 0 and other > 0):
        return math.inf
    return abs(math.log(price / other))
