"""Lists by price become sessions for the index: bounded ones, upwards and downwards."""

import numpy as np

from tests.unit.training_jobs import shop
from training_jobs.snapshot.dataset import no_content, price_lists
from training_jobs.training.catalogue_sessions import catalogue_sessions


def lists(sizes: list[int]) -> list[list[int]]:
    begins = np.cumsum([0, *sizes])
    packed = shop.packed(
        [list(range(begin, begin + size)) for begin, size in zip(begins, sizes, strict=False)]
    )
    found = catalogue_sessions(packed)
    return [found.session(row).tolist() for row in range(len(found))]


def test_a_short_list_is_one_session_upwards_and_one_downwards() -> None:
    assert sorted(lists([3, 2])) == [[0, 1, 2], [2, 1, 0], [3, 4], [4, 3]]


def test_a_list_of_one_item_is_no_session() -> None:
    assert lists([1]) == []
    assert len(catalogue_sessions(no_content(5).by_price)) == 0


def test_each_item_of_a_long_list_is_in_two_sessions_that_end_at_different_items() -> None:
    found = [one for one in lists([7, 430]) if min(one) >= 7]
    up, down = ([one for one in found if (one[0] < one[-1]) == upwards] for upwards in (True, False))
    assert all(len(one) <= 100 for one in found)
    for one_way in (up, down):
        assert sorted(item for one in one_way for item in one) == list(range(7, 437))
    assert {one[0] for one in up} & {one[-1] for one in down} == {7}, "only the list itself begins there"


def test_neighbors_in_a_session_are_neighbors_in_price() -> None:
    prices = np.array([5.0, 1.0, 3.0, 2.0, 4.0])
    found = catalogue_sessions(price_lists(range(5), ["a"] * 5, [None] * 5, prices))
    assert [found.session(row).tolist() for row in range(2)] == [[1, 3, 2, 4, 0], [0, 4, 2, 3, 1]]
