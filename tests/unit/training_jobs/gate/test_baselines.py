"""The baselines against slow reference implementations."""

import numpy as np
import pytest

from tests.unit.training_jobs import shop
from training_jobs.gate import baselines

LISTS = [[0, 1, 2, 1], [1, 2], [3, 0, 3], [2, 1, 0], [4, 4]]
SESSIONS = shop.packed(LISTS)


def test_popularity_is_the_share_of_interactions() -> None:
    assert baselines.popularity(SESSIONS, 6) == pytest.approx(np.array([3, 4, 3, 2, 2, 0]) / 14)


def test_recent_interactions_count_for_more_with_a_half_life() -> None:
    sessions = shop.packed([[0, 0], [1, 1]], gap_ms=86_400_000)
    share = baselines.popularity(sessions, 2, half_life_days=1.0)
    assert share[1] / share[0] == pytest.approx(2.0, rel=1e-4)


def test_items_of_the_session_come_before_popular_ones() -> None:
    score = baselines.session_popularity_scorer(baselines.popularity(SESSIONS, 6))
    order = np.argsort(-score([np.array([5, 3, 3], np.int32)])[0], kind="stable")
    assert order.tolist()[:3] == [3, 5, 1]


def test_item_to_item_is_the_damped_cosine_of_co_occurrence() -> None:
    share = baselines.popularity(SESSIONS, 6)
    score = baselines.item_to_item_scorer(SESSIONS, share, window=2, regularisation=1.0)
    clicks = [item for items in LISTS for item in items]
    for current in range(5):
        found = score([np.array([0, current], np.int32)])[0]
        for other in range(6):
            together = sum(
                {items[a], items[b]} == {current, other}
                for items in LISTS
                for a in range(len(items))
                for b in range(a + 1, min(a + 3, len(items)))
                if items[a] != items[b]
            )
            damped = np.sqrt((clicks.count(current) + 1.0) * (clicks.count(other) + 1.0))
            assert found[other] == pytest.approx(together / damped + share[other] * 1e-6, abs=1e-7)


def test_without_pairs_item_to_item_is_popularity() -> None:
    sessions = shop.packed([[0], [1], [1]])
    share = baselines.popularity(sessions, 2)
    assert baselines.item_to_item_scorer(sessions, share)([np.array([0], np.int32)])[0].argmax() == 1
