"""Parts of a change add up to it, whatever the numbers and their order."""

import math
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deploy.why.decompose import Cell, log_mean, overlap, ratios, split_product, split_rate

positive = st.floats(1e-3, 1e3)
counts = st.integers(0, 100_000).map(float)
factors = st.lists(st.tuples(positive, positive), min_size=1, max_size=7)


@given(factors)
def test_the_effects_of_factors_add_up_to_the_change_of_their_product(
    pairs: list[tuple[float, float]],
) -> None:
    before, now = [x0 for x0, _ in pairs], [x1 for _, x1 in pairs]
    change = math.prod(now) - math.prod(before)
    largest = max(math.prod(now), math.prod(before))
    assert math.isclose(sum(split_product(before, now)), change, rel_tol=1e-6, abs_tol=1e-6 * largest)


@given(factors, st.randoms(use_true_random=False))
def test_the_order_of_factors_changes_no_effect(
    pairs: list[tuple[float, float]], draw: random.Random
) -> None:
    order = list(range(len(pairs)))
    draw.shuffle(order)
    effects = split_product([x0 for x0, _ in pairs], [x1 for _, x1 in pairs])
    again = split_product([pairs[at][0] for at in order], [pairs[at][1] for at in order])
    for place, at in enumerate(order):
        assert again[place] == pytest.approx(effects[at], rel=1e-9, abs=1e-9)


@given(st.lists(st.tuples(counts, counts), min_size=2, max_size=7))
def test_a_chain_of_counts_with_zeros_adds_up(pairs: list[tuple[float, float]]) -> None:
    nodes_before, nodes_now = [b for b, _ in pairs], [n for _, n in pairs]
    # A later count cannot be without the counts before it.
    for nodes in (nodes_before, nodes_now):
        for place in range(1, len(nodes)):
            nodes[place] = nodes[place] if nodes[place - 1] else 0.0
    x0, x1 = ratios(nodes_before, nodes_now)
    effects = split_product([nodes_before[0], *x0], [nodes_now[0], *x1])
    change = nodes_now[-1] - nodes_before[-1]
    assert sum(effects) == pytest.approx(change, rel=1e-6, abs=1e-4)


def test_the_first_count_that_falls_to_zero_has_the_whole_effect() -> None:
    before, now = ratios([100.0, 50.0, 10.0, 2.0], [80.0, 0.0, 0.0, 0.0])
    assert split_product([100.0, *before], [80.0, *now]) == [0.0, -2.0, 0.0, 0.0]


def test_a_zero_is_the_limit_of_a_small_value() -> None:
    exact = split_product([100.0, 0.5, 0.2], [80.0, 0.0, 0.2])
    small = split_product([100.0, 0.5, 0.2], [80.0, 1e-200, 0.2])
    assert exact == pytest.approx(small, abs=0.02)


def test_a_factor_that_did_not_change_has_no_effect() -> None:
    effects = split_product([100.0, 0.04, 30.0], [100.0, 0.02, 30.0])
    assert effects == [0.0, pytest.approx(-60.0), 0.0]


@given(positive, positive)
def test_the_logarithmic_mean_is_symmetric_and_between_the_numbers(a: float, b: float) -> None:
    assert log_mean(a, b) == pytest.approx(log_mean(b, a))
    assert min(a, b) * (1 - 1e-9) <= log_mean(a, b) <= max(a, b) * (1 + 1e-9)


@given(positive, st.floats(-1e-4, 1e-4))
def test_the_logarithmic_mean_of_nearly_equal_numbers_is_exact(a: float, shift: float) -> None:
    assert log_mean(a, a * (1 + shift)) == pytest.approx(a * (1 + shift / 2), rel=1e-8)


cells = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=2), st.tuples(counts, counts, counts, counts).map(lambda one: Cell(*one)),
    min_size=1, max_size=8,
)  # fmt: skip


@given(cells)
def test_the_parts_of_segments_add_up_to_the_change_of_the_rate(found: dict[str, Cell]) -> None:
    whole0 = sum(cell.whole_before for cell in found.values())
    whole1 = sum(cell.whole_now for cell in found.values())
    assume(whole0 > 0)
    assume(whole1 > 0)
    rate0 = sum(cell.part_before for cell in found.values()) / whole0
    rate1 = sum(cell.part_now for cell in found.values()) / whole1
    parts = split_rate(found)
    total = sum(part.by_rate + part.by_share for part in parts)
    assert total == pytest.approx(rate1 - rate0, rel=1e-6, abs=1e-9 * (1 + rate0 + rate1))


@given(cells)
def test_the_names_and_the_order_of_segments_change_no_part(found: dict[str, Cell]) -> None:
    parts = {part.segment: (part.by_rate, part.by_share) for part in split_rate(found)}
    again = split_rate(dict(reversed(found.items())))
    for part in again:
        assert (part.by_rate, part.by_share) == pytest.approx(parts[part.segment], rel=1e-6, abs=1e-6)


def test_shares_alone_and_rates_alone_have_the_whole_effect() -> None:
    mix = split_rate({"a": Cell(40, 1000, 20, 500), "b": Cell(5, 500, 10, 1000)})
    assert sum(part.by_rate for part in mix) == pytest.approx(0.0)
    rates = split_rate({"a": Cell(40, 1000, 20, 1000), "b": Cell(5, 500, 5, 500)})
    assert [part.by_share for part in rates] == pytest.approx([0.0, 0.0])
    assert [part.by_rate for part in rates] == pytest.approx([-20 / 1500, 0.0])


def test_segments_that_replace_each_other_overlap_in_nothing() -> None:
    assert overlap({"a": Cell(1, 10, 0, 0), "b": Cell(0, 0, 1, 10)}) == 0.0
    assert overlap({"a": Cell(1, 10, 1, 5), "b": Cell(0, 0, 1, 5)}) == 0.5
