"""A product that is kept is the state's own at every moment, also when a sale begins and ends."""

from hypothesis import given, settings
from hypothesis import strategies as st

from functions.recommend.rules.kept_products import KEPT_MAX, KeptProducts
from tests.unit.functions.recommend.rules import shops

times = st.integers(shops.NOW_MS - 3, shops.NOW_MS + 3)


@settings(max_examples=100, deadline=None)
@given(starts=times, ends=times, price=st.none() | shops.amounts, asked=st.lists(times, max_size=8))
def test_what_is_kept_is_what_the_state_says(
    starts: int, ends: int, price: float | None, asked: list[int]
) -> None:
    fields = {"price": price, "sale_price": 2.0, "sale_starts_at_ms": starts, "sale_ends_at_ms": ends}
    state = shops.state_of({"i1": fields, "i2": {"price": price}})
    kept = KeptProducts(state)
    for now_ms in asked:
        for item_id in ("i1", "i2", "unknown"):
            assert kept.product(item_id, now_ms) == state.product(item_id, now_ms)


def test_the_memory_is_bounded() -> None:
    kept = KeptProducts(shops.state_of({}))
    for number in range(KEPT_MAX + 5):
        kept.product(f"x{number}", shops.NOW_MS)
    assert len(kept._kept) <= KEPT_MAX
