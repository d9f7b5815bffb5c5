"""The statistics of experiments in numpy: a reference for sql/models/marts/experiment_results.sql, and for simulations."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# The variables of sql/dbt_project.yml.
ALPHA, PLANNED_VISITORS, LEAST_OUTCOMES, RATIO_PRIOR, RATIO_ALPHA = 0.05, 10_000, 100, 100, 0.01


def margin(visitors: Any, alpha: float = ALPHA) -> Any:
    """Return half the width of the confidence sequence per unit of standard deviation.

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Theorem 2.2, with their approximation of the best rho.
    """
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / PLANNED_VISITORS
    t = np.asarray(visitors, dtype=float)
    return np.sqrt(2 * (t * rho2 + 1) / (t**2 * rho2) * np.log(np.sqrt(t * rho2 + 1) / alpha))


def difference(control: tuple[Any, Any, Any], arm: tuple[Any, Any, Any], alpha: float = ALPHA) -> Any:
    """Return the difference of the means of two arms and half the width of its interval.

    Args:
        control: visitors, the sum and the sum of squares of their outcomes; numbers or arrays.
        arm: the same of the arm.
        alpha: the chance that the interval ever excludes the truth.
    """
    (n0, s0, q0), (n1, s1, q1) = (tuple(np.asarray(x, float) for x in one) for one in (control, arm))
    variance0, variance1 = (q0 - s0**2 / n0) / (n0 - 1), (q1 - s1**2 / n1) / (n1 - 1)
    deviation = np.sqrt((n0 + n1) * (variance0 / n0 + variance1 / n1))
    return s1 / n1 - s0 / n0, deviation * margin(n0 + n1, alpha)


def sample_ratio_p_values(visitors: Floats, shares: Floats) -> Floats:
    """Return the p-value after each look: `visitors` has one row per look and one column per arm, counted to date.

    Lindon and Malek (2022): anytime-valid inference for multinomial count data, with a Dirichlet prior.
    """
    ln_gamma = np.vectorize(math.lgamma)
    prior = shares * RATIO_PRIOR
    ln_odds = (
        math.lgamma(RATIO_PRIOR)
        - ln_gamma(visitors.sum(axis=-1) + RATIO_PRIOR)
        + (ln_gamma(visitors + prior) - ln_gamma(prior) - visitors * np.log(shares)).sum(axis=-1)
    )
    return np.asarray(np.exp(-np.maximum(np.maximum.accumulate(ln_odds, axis=-1), 0)))
