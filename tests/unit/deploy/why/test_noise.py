"""The usual variation comes from days, and a cause that begins within the period does not count as variation."""

import math
import random

import pytest

from deploy.why.noise import Series, t_quantile, variation

WEEK = [1.0, 1.1, 1.0, 0.9, 1.2, 0.8, 0.5]


@pytest.mark.parametrize(
    ("probability", "degrees", "expected"),
    [(0.975, 4, 2.776), (0.975, 6, 2.447), (0.975, 12, 2.179), (0.975, 120, 1.980), (0.995, 6, 3.707)],
)
def test_quantiles_of_students_t_are_those_of_the_tables(
    probability: float, degrees: int, expected: float
) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(expected, abs=0.01)


def test_a_weekend_in_both_periods_is_no_variation() -> None:
    week = Series([100 * day for day in WEEK], [1.0] * 7)
    assert variation([week, week], 0.0).variance == pytest.approx(0.0)


def test_a_step_within_the_period_is_no_variation() -> None:
    before = Series([100 * day for day in WEEK], [1000 * day for day in WEEK])
    now = Series([(100 if at < 3 else 50) * day for at, day in enumerate(WEEK)], [1000 * day for day in WEEK])
    assert math.sqrt(variation([now, before], 0.0).variance) < 0.2
    assert math.sqrt(variation([before, now], 0.0).variance) < 0.2


def test_counts_vary_at_least_like_those_of_a_poisson_process() -> None:
    equal = Series([10.0] * 7, [100.0] * 7)
    assert variation([equal, equal], 2 / 70).bound(0.05) == pytest.approx(1.96 * math.sqrt(2 / 70), rel=1e-3)


def test_a_figure_that_jumped_each_week_before_has_a_large_usual_variation() -> None:
    periods = [Series([level] * 7, [1.0] * 7) for level in (100.0, 150.0, 100.0, 150.0, 100.0)]
    assert variation(periods, 1e-6).bound(0.05) > math.log(1.5)
    assert variation(periods[:2], 1e-6).bound(0.05) < math.log(1.5)


def test_chance_alone_exceeds_the_bound_about_as_often_as_it_should() -> None:
    draw = random.Random(3)
    beyond = 0
    for _ in range(400):
        weeks = [
            Series([day * draw.gauss(100, 12) for day in WEEK], [day * 1000.0 for day in WEEK])
            for _ in range(2)
        ]
        bound = variation(weeks, 0.0).bound(0.05)
        beyond += abs(math.log(weeks[0].ratio / weeks[1].ratio)) > bound
    assert 4 <= beyond <= 36
