"""Ranking metrics against a ranking written out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from training_jobs.gate import metrics

# Few distinct values, so that ties are common; NaN and infinities as a broken model gives them.
SCORE = st.sampled_from([-math.inf, -2.0, -1.0, 0.0, 0.5, 1.0, 3.0, math.nan])


def brute_force_rank(scores: list[float], target: int) -> int:
    """One more than the items that are not surely below the target; a target without a score is below them all."""
    if target < 0 or not math.isfinite(scores[target]):
        return len(scores) + 1
    return 1 + sum(at != target and score >= scores[target] for at, score in enumerate(scores))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_rank_is_that_of_a_brute_force_ranking(data: st.DataObject) -> None:
    cases, items = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 8))
    scores = data.draw(hnp.arrays(np.float32, (cases, items), elements=SCORE.map(np.float32)))
    targets = np.array(data.draw(st.lists(st.integers(-1, items - 1), min_size=cases, max_size=cases)))
    expected = [brute_force_rank(row.tolist(), int(at)) for row, at in zip(scores, targets, strict=True)]
    assert metrics.ranks(scores, targets).tolist() == expected


def test_ties_count_against_us() -> None:
    assert metrics.ranks(np.zeros((1, 50), np.float32), np.array([0])).tolist() == [50]


def test_a_target_whose_score_is_not_a_number_ranks_below_everything() -> None:
    scores = np.array([[np.nan, 1.0, 2.0]], np.float32)
    assert metrics.ranks(scores, np.array([0])).tolist() == [4]


def test_a_target_outside_the_vocabulary_is_never_a_hit() -> None:
    rank = metrics.ranks(np.ones((1, 3), np.float32), np.array([-1]))
    assert rank.tolist() == [4]
    assert metrics.hit_rate(rank, 3) == 0.0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 50))
def test_hit_rate_mrr_and_ndcg_are_means_over_cases(rank: list[int], k: int) -> None:
    array = np.array(rank)
    assert metrics.hit_rate(array, k) == pytest.approx(sum(r <= k for r in rank) / len(rank))
    assert metrics.mrr(array, k) == pytest.approx(sum(1 / r for r in rank if r <= k) / len(rank))
    gains = sum(1 / math.log2(r + 1) for r in rank if r <= k)
    assert metrics.ndcg(array, k) == pytest.approx(gains / len(rank))
    assert metrics.mrr(array, k) <= metrics.ndcg(array, k) <= metrics.hit_rate(array, k)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_a_longer_list_never_hits_less(rank: list[int]) -> None:
    found = [metrics.hit_rate(np.array(rank), k) for k in range(1, 61)]
    assert found == sorted(found)
    assert found[-1] == 1.0


def test_no_cases_give_zeros_and_not_nan() -> None:
    assert set(metrics.summary(np.zeros(0, np.int64)).values()) == {0.0}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 6), min_size=3, max_size=3), min_size=1, max_size=20))
def test_coverage_counts_items_shown_and_no_gaps(shown: list[list[int]]) -> None:
    expected = len({item for row in shown for item in row if item >= 0}) / 7
    assert metrics.coverage(np.array(shown), 7) == pytest.approx(expected)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_gini_is_the_mean_difference_between_items(shown: list[int]) -> None:
    counts = [shown.count(item) for item in range(7)]
    pairs = sum(abs(a - b) for a in counts for b in counts)
    assert metrics.gini(np.array([shown]), 7) == pytest.approx(pairs / (2 * 7 * len(shown)))


def test_popularity_ratio_is_one_where_people_get_what_they_would_have_taken() -> None:
    popularity = np.array([0.5, 0.3, 0.2])
    assert metrics.popularity_ratio(np.array([[0], [1]]), np.array([0, 1]), popularity) == pytest.approx(1.0)
    assert metrics.popularity_ratio(np.array([[0], [0]]), np.array([1, 2]), popularity) == pytest.approx(2.0)


def test_an_interval_holds_the_mean_and_narrows_with_more_sessions() -> None:
    rng = np.random.default_rng(0)
    values = (rng.random(4000) < 0.3).astype(float)
    low, high = metrics.bootstrap_interval(values, np.arange(4000))
    few_low, few_high = metrics.bootstrap_interval(values[:200], np.arange(200))
    assert low < values.mean() < high
    assert high - low < (few_high - few_low) / 3
    # The normal approximation: 1.96 standard errors to each side.
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / math.sqrt(4000), rel=0.15)


def test_cases_of_one_session_are_resampled_together() -> None:
    values = np.repeat([0.0, 1.0] * 50, 10)
    together = metrics.bootstrap_interval(values, np.repeat(np.arange(100), 10))
    apart = metrics.bootstrap_interval(values, np.arange(1000))
    assert together[1] - together[0] > 2 * (apart[1] - apart[0])


def test_revenue_counts_a_hit_by_the_price_of_its_target() -> None:
    rank = np.array([1, 30, 2, 1])
    prices = np.array([10.0, 80.0, 10.0, np.nan])
    assert metrics.revenue_hit_rate(rank, prices, 20) == pytest.approx(0.2)
    assert metrics.revenue_ndcg(rank, prices, 20) == pytest.approx((10 + 10 / np.log2(3)) / 100)
    equal = np.full(4, 3.0)
    assert metrics.revenue_hit_rate(rank, equal, 20) == metrics.hit_rate(rank, 20)
    assert metrics.revenue_ndcg(rank, equal, 20) == pytest.approx(metrics.ndcg(rank, 20))


def test_without_a_price_there_is_no_revenue_to_measure() -> None:
    assert metrics.revenue_hit_rate(np.array([1]), np.array([np.nan]), 20) is None
