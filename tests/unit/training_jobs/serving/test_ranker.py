"""The ranker's features of a shortlist, and its network in a file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training_jobs.large_shop import made_up_network
from training_jobs.serving.ranker import (
    CANDIDATE_FEATURES,
    CONTEXT_FEATURES,
    candidate_features,
    item_facts,
    load_network,
    save_network,
)
from training_jobs.serving.sessions import DAY_MS, Sessions

ITEMS = 12
VECTORS = np.eye(ITEMS, 8, dtype=np.float32)
FACTS = np.arange(3 * ITEMS, dtype=np.float32).reshape(ITEMS, 3)


def seen(
    prefix: list[int], rows: list[int], votes: list[float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    probability = np.linspace(0.5, 0.1, len(rows)).astype(np.float32)
    given = np.zeros(len(rows), np.float32) if votes is None else np.array(votes, np.float32)
    return candidate_features(np.array(prefix, np.int32), np.array(rows), probability, given, VECTORS, FACTS)


def column(name: str) -> int:
    return CANDIDATE_FEATURES.index(name)


def context_of(prefix: list[int], name: str) -> float:
    return float(seen(prefix, [0])[1][CONTEXT_FEATURES.index(name)])


def test_an_item_of_the_session_is_told_by_its_last_place_and_how_often_it_was_clicked() -> None:
    candidate, _ = seen([7, 5, 6, 5, 9, 8, 7], [7, 8, 9, 5, 6, 1])
    # From the end: 7 last (and first), 8 one before, 9 two before, then 5 twice and 6.
    kinds = candidate[:, column("kind_0") : column("kind_0") + 8]
    assert [row.tolist().index(1.0) if row.any() else None for row in kinds] == [1, 2, 4, 7, 6, None]
    assert candidate[:, column("times_clicked")].tolist() == [2, 1, 1, 2, 1, 0]
    assert candidate[:, column("recency")] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 0])
    assert candidate[:, column("of_the_session")].tolist() == [1, 1, 1, 1, 1, 0]


def test_a_candidate_carries_its_own_facts_cosines_and_places() -> None:
    candidate, _ = seen([2, 3], [3, 2, 4], votes=[0.0, 0.9, 0.1])
    assert candidate[:, column("popularity") : column("age") + 1].tolist() == FACTS[[3, 2, 4]].tolist()
    assert candidate[:, column("cosine_last")].tolist() == [1, 0, 0]
    assert candidate[:, column("cosine_max")].tolist() == [1, 1, 0]
    assert candidate[:, column("cosine_mean")].tolist() == [0.5, 0.5, 0]
    assert candidate[:, column("encoder_place")] == pytest.approx([1, 1 / 2, 1 / 3])
    assert candidate[:, column("knn_place")] == pytest.approx([1 / 3, 1, 1 / 2])


def test_equal_votes_share_the_better_place() -> None:
    candidate, _ = seen([2], [3, 2, 4], votes=[0.2, 0.2, 0.1])
    assert candidate[:, column("knn_place")] == pytest.approx([1, 1, 1 / 3])


def test_the_session_is_told_by_how_it_goes_back_and_forth() -> None:
    assert context_of([1, 2, 1, 1], "share_different") == 0.5
    assert [context_of([1, 2, 1, 1], f"revisit_{back}") for back in (1, 2, 3, 4)] == [1, 1, 0, 0]
    assert [context_of([1, 2, 1, 1], f"repeat_{back}") for back in (1, 2, 3)] == [1, 0, 0]
    assert context_of([4], "length") == 0.0


@given(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=70), st.permutations(range(ITEMS)))
def test_features_are_finite_and_follow_their_candidate(prefix: list[int], order: list[int]) -> None:
    votes = [0.1 * (item % 3) for item in range(ITEMS)]
    probability = np.array([0.01 + 0.05 * item for item in range(ITEMS)], np.float32)

    def of(rows: list[int]) -> np.ndarray:
        given = np.array([votes[row] for row in rows], np.float32)
        return candidate_features(
            np.array(prefix, np.int32), np.array(rows), probability[rows], given, VECTORS, FACTS
        )[0]

    plain = of(list(range(ITEMS)))
    assert np.isfinite(plain).all()
    assert np.array_equal(of(order), plain[order])


def test_facts_tell_lately_popular_items_from_those_that_were() -> None:
    sessions = Sessions(
        np.array([0, 0, 0, 1, 1], np.int32), np.array([0, 3, 5]), np.array([0, 0, 0, 9, 10]) * DAY_MS
    )
    share, lately, age = item_facts(sessions, 3).T
    assert share[0] > share[1] > share[2]
    assert lately[1] > lately[0]
    assert age[0] == pytest.approx(np.log1p(10))
    assert age[1] == 0
    assert age[2] > age[0]


def test_a_network_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    network = made_up_network(3)
    save_network(tmp_path / "ranker.npz", network)
    candidate, context = seen([2, 3], [3, 2, 4])
    assert np.array_equal(
        load_network(tmp_path / "ranker.npz")(candidate, context), network(candidate, context)
    )
