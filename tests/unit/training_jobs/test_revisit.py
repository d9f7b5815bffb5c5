"""Factors bring the scores of a session's own items to how often shoppers really go back."""

import numpy as np
import pytest

from training_jobs.revisit import KINDS, PLACES, fit_factors, session_items


def test_items_are_told_apart_by_their_last_place_and_whether_they_were_clicked_again() -> None:
    items, kinds = session_items(np.array([7, 5, 6, 5, 9, 8, 7], np.int32))
    # From the end: 7 last (and first), 8 one before, 9 two before, then 5 twice and 6.
    assert dict(zip(items.tolist(), kinds.tolist(), strict=True)) == {7: 1, 8: 2, 9: 4, 5: 7, 6: 6}
    assert max(kinds) < KINDS == 2 * PLACES


@pytest.mark.parametrize("share", [0.05, 0.4, 0.8])
def test_the_factor_brings_the_prediction_to_what_happens(share: float) -> None:
    # Each session has one item of kind 0, predicted at .4, which comes again in `share` of the cases.
    factors = fitted(4000, share)
    predicted = 0.4 * factors[0] / (0.6 + 0.4 * factors[0])
    assert predicted == pytest.approx(share, abs=0.01)
    assert factors[1:] == pytest.approx(1.0)


def fitted(n: int, share: float) -> np.ndarray:
    hits = np.r_[n * share, np.zeros(KINDS - 1)]
    return fit_factors(np.full(n, 0.4), np.zeros(n, np.int64), np.arange(n), np.ones(n), hits)


def test_without_cases_scores_stay_as_they_are() -> None:
    assert fitted(0, 0.4) == pytest.approx(1.0)


def test_few_cases_move_a_factor_less_than_many_that_say_the_same() -> None:
    assert 1.0 > fitted(3, 0.0)[0] > fitted(300, 0.0)[0] > 0.0
