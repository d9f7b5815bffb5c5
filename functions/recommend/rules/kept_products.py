"""The products of a state that requests have asked for, decoded once: most requests ask for the same popular ones."""

import math

from functions.platform.catalogue_state import NO_END, CatalogueState, Product

# A product has about 500 bytes.
KEPT_MAX = 20_000


class KeptProducts:
    """A catalogue state with a memory. A product is kept until its price changes with the begin or the end of a sale."""

    def __init__(self, state: CatalogueState) -> None:
        self._state = state
        self._kept: dict[str, tuple[Product | None, int, int]] = {}

    def product(self, item_id: str, now_ms: int) -> Product | None:
        """Return a product at a moment, or None if the state does not have it."""
        kept = self._kept.get(item_id)
        if kept is not None and kept[1] <= now_ms < kept[2]:
            return kept[0]
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        product = self._state.product(item_id, now_ms)
        self._kept[item_id] = product, *self._unchanged(item_id, now_ms)
        return product

    def _unchanged(self, item_id: str, now_ms: int) -> tuple[int, int]:
        """Return the period around a moment in which the product is the same: its begin, and the first moment after it."""
        row = self._state.find(item_id)
        blocks = self._state.blocks
        if row is None or math.isnan(blocks["sale_price"][row]):
            return 0, NO_END
        starts_at_ms, ends_at_ms = blocks["sale_starts_at_ms"][row], blocks["sale_ends_at_ms"][row]
        if now_ms < starts_at_ms:
            return 0, starts_at_ms
        return (starts_at_ms, ends_at_ms) if now_ms < ends_at_ms else (max(starts_at_ms, ends_at_ms), NO_END)
