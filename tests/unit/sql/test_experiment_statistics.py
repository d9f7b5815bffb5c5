"""Simulations of experiments that are looked at every night: the reference in numpy, to which the warehouse is compared.

Each simulation has 60 nights. A visitor buys with a small probability, for a log-normal amount.
"""

import math

import numpy as np
import pytest

from testing.experiment_statistics import (
    ALPHA,
    LEAST_OUTCOMES,
    RATIO_ALPHA,
    Floats,
    difference,
    margin,
    sample_ratio_p_values,
)

NIGHTS = 60
MEAN_LOG = 3.5


def played(
    simulations: int, visitors: int, buys: float, share: float = 0.5, lift: float = 0.0, spread: float = 0.8
) -> tuple[Floats, Floats, Floats]:
    """Return the difference, half of its interval, and the buyers of the smaller arm, per simulation and night.

    Args:
        simulations: the number of experiments.
        visitors: new visitors per night.
        buys: the probability that a visitor buys.
        share: the share of the second arm.
        lift: the part by which more of its visitors buy.
        spread: the standard deviation of the logarithm of an amount.
    """
    draw = np.random.default_rng(20261129)
    second = draw.binomial(visitors, share, size=(simulations, NIGHTS))
    arms, buyers = [], []
    for of_arm, probability in ((visitors - second, buys), (second, buys * (1 + lift))):
        buying = draw.binomial(of_arm, probability)
        amounts = draw.lognormal(MEAN_LOG, spread, buying.sum())
        night = np.repeat(np.arange(simulations * NIGHTS), buying.ravel())
        sums, squares = (
            np.bincount(night, weights, simulations * NIGHTS).reshape(simulations, NIGHTS).cumsum(axis=1)
            for weights in (amounts, amounts**2)
        )
        arms.append((of_arm.cumsum(axis=1), sums, squares))
        buyers.append(buying.cumsum(axis=1))
    middle, half = difference(arms[0], arms[1])
    return middle, half, np.minimum(*buyers)


def at_most(alarms: int, simulations: int, alpha: float) -> bool:
    """Return True unless so many alarms show at the level .001 that their rate is above alpha."""
    return alarms <= simulations * alpha + 3.1 * math.sqrt(simulations * alpha * (1 - alpha))


@pytest.mark.parametrize(
    ("visitors", "buys", "share", "spread"),
    [(1_000, 0.05, 0.5, 0.8), (5_000, 0.02, 0.98, 0.8), (5_000, 0.02, 0.9, 1.2)],
)
def test_an_aa_test_that_is_looked_at_every_night_is_rarely_decided(
    visitors: int, buys: float, share: float, spread: float
) -> None:
    simulations = 1_000
    middle, half, buyers = played(simulations, visitors, buys, share, spread=spread)
    given = buyers >= LEAST_OUTCOMES
    assert given[:, -1].mean() > 0.5, "few simulations ever show an interval"
    alarms = int(((np.abs(middle) > half) & given).any(axis=1).sum())
    assert at_most(alarms, simulations, ALPHA), alarms


def test_looking_every_night_at_a_fixed_interval_would_decide_wrongly() -> None:
    """The test above can fail: with the interval of one look, a fifth of the A/A tests are decided."""
    middle, half, buyers = played(1_000, 1_000, 0.05)
    visitors = 1_000 * np.arange(1, NIGHTS + 1)
    fixed = half / margin(visitors) * 1.96 / np.sqrt(visitors)
    assert ((np.abs(middle) > fixed) & (buyers >= LEAST_OUTCOMES)).any(axis=1).mean() > 0.15


def test_with_few_buyers_there_would_be_wrong_decisions() -> None:
    middle, half, _ = played(1_000, 5_000, 0.02, share=0.98)
    assert (np.abs(middle) > half).any(axis=1).mean() > 2 * ALPHA


def test_a_known_effect_is_found_and_stays_within_its_interval() -> None:
    simulations, buys, lift = 300, 0.05, 0.2
    middle, half, buyers = played(simulations, 2_000, buys, lift=lift)
    effect = buys * lift * np.exp(MEAN_LOG + 0.8**2 / 2)
    given = buyers >= LEAST_OUTCOMES
    outside = int(((np.abs(middle - effect) > half) & given).any(axis=1).sum())
    assert at_most(outside, simulations, ALPHA), outside
    assert ((middle - half > 0) & given).any(axis=1).mean() > 0.9


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.02, 0.98), (0.2, 0.3, 0.5)])
def test_a_right_sample_ratio_is_rarely_doubted(shares: tuple[float, ...]) -> None:
    draw, simulations = np.random.default_rng(7), 300
    looks = draw.multinomial(500, shares, size=(simulations, NIGHTS)).cumsum(axis=1)
    alarms = sum(sample_ratio_p_values(one, np.array(shares))[-1] < RATIO_ALPHA for one in looks)
    assert at_most(alarms, simulations, RATIO_ALPHA), alarms


@pytest.mark.parametrize(("real", "shares"), [((0.52, 0.48), (0.5, 0.5)), ((0.014, 0.986), (0.02, 0.98))])
def test_a_planted_sample_ratio_mismatch_is_found(real: tuple[float, ...], shares: tuple[float, ...]) -> None:
    draw = np.random.default_rng(8)
    looks = draw.multinomial(1_000, real, size=(50, NIGHTS)).cumsum(axis=1)
    found = [sample_ratio_p_values(one, np.array(shares))[-1] < RATIO_ALPHA for one in looks]
    assert np.mean(found) > 0.9


def test_an_arm_that_nobody_is_exposed_in_is_a_mismatch_too() -> None:
    """The exposures name one arm only, so the other's share is missing."""
    assert sample_ratio_p_values(np.array([[40.0]]), np.array([0.5]))[-1] < RATIO_ALPHA
