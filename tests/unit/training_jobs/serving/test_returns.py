"""Returns are counted over all sessions, and the recommender keeps to the floor that follows from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training_jobs import shop
from training_jobs.gate import baselines
from training_jobs.serving.encoder_numpy import EncoderWeights
from training_jobs.serving.kernels.interface import Encode
from training_jobs.serving.kernels.reference import Reference
from training_jobs.serving.knn import build_index
from training_jobs.serving.returns import CLICKS, return_floor
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import prefix_cases


class WithoutEncoder(Reference):
    """Kernels whose encoder finds every session equally near to all items."""

    def encoder(self, weights: EncoderWeights) -> Encode:
        return lambda prefix: np.zeros(weights.dim, np.float32)


def packed(*sessions: list[int]) -> Sessions:
    offsets = np.cumsum([0, *(len(items) for items in sessions)])
    items = np.array([item for session in sessions for item in session], np.int32)
    return Sessions(items, offsets.astype(np.int64), np.arange(len(items), dtype=np.int64))


def test_a_return_counts_at_the_clicks_since_the_last_view() -> None:
    floor = return_floor(packed([1, 2, 1, 3, 4], [5, 6, 7]))
    # The third click goes back to the item one click before the second. Four clicks of six have two or more before them.
    assert floor[1] == pytest.approx(0.5 * 1 / 4, rel=1e-3)
    assert sum(floor) == pytest.approx(floor[1])
    assert len(floor) == CLICKS


def test_without_a_second_click_there_is_no_floor() -> None:
    assert return_floor(packed([1], [2])) == ()


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=60), min_size=1, max_size=5))
def test_rates_are_those_of_a_count_case_by_case(sessions: list[list[int]]) -> None:
    cases = prefix_cases(packed(*sessions))
    returns, chances = np.zeros(CLICKS), np.zeros(CLICKS)
    for row in range(len(cases)):
        prefix = cases.prefix(row)
        chances[: len(prefix)] += 1
        places = np.flatnonzero(prefix[::-1] == cases.targets[row])
        if len(places) and places[0] < CLICKS:
            returns[places[0]] += 1
    expected = 0.5 * returns / np.maximum(chances, 1)
    assert np.allclose(return_floor(packed(*sessions)) or np.zeros(CLICKS), expected, rtol=0.01, atol=1e-7)


def test_an_item_of_the_session_scores_at_least_its_floor_on_both_paths() -> None:
    sessions = shop.walks(300, seed=1)
    weights = EncoderWeights(np.eye(shop.ITEMS, 8, dtype=np.float32), {}, 1, 1.0)
    floor = tuple(0.4 / (1 + back) for back in range(CLICKS))
    settings = BlendSettings(1.0, return_floor=floor)
    names = [str(row) for row in range(shop.ITEMS)]
    popularity = baselines.popularity(sessions, shop.ITEMS)
    index = build_index(sessions, shop.ITEMS)
    recommender = Recommender(names, weights, index, popularity, settings, kernels=WithoutEncoder())
    answer = recommender.recommend(["3", "70", "5"], 20)
    found = dict(zip(answer.items, answer.scores, strict=True))
    assert found["70"] >= np.float32(0.2)
    assert found["3"] >= np.float32(0.4 / 3)
    assert "5" not in found
