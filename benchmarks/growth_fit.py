"""Straight lines through the nights' figures, with confidence intervals."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# The 97.5 % quantile of the normal distribution.
Z = 1.959964
FEWEST = 5


def fit(days: ArrayLike, events: ArrayLike, figures: ArrayLike) -> dict[str, Any] | None:
    """Fit figure = base + rate * events + slope * days by least squares.

    The slope is what history costs, whatever the traffic of a day is. It is in percent of the mean per day, with a 95 %
    interval. Neighboring nights are treated as independent.

    Returns:
        The slope, or None if there are too few nights or the figure is always zero.
    """
    x, e, y = (np.asarray(values, float) for values in (days, events, figures))
    if len(x) < FEWEST or not y.any():
        return None
    mean = float(y.mean())
    columns = [np.ones_like(x), x - x.mean()]
    if np.ptp(e) > 0:
        columns.append((e - e.mean()) / e.mean())
    design = np.stack(columns, axis=1)
    freedom = len(x) - design.shape[1]
    inverse = np.linalg.pinv(design.T @ design)
    found = inverse @ design.T @ y
    residuals = y - design @ found
    error = math.sqrt(float(residuals @ residuals) / freedom * float(inverse[1, 1]))
    half = student_t(freedom) * error
    slope, percent = float(found[1]), 100 / mean
    return {
        "nights": len(x),
        "mean": round(mean, 3),
        "slope_percent_per_day": round(slope * percent, 3),
        "interval": [round((slope - half) * percent, 3), round((slope + half) * percent, 3)],
    }


def student_t(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5), within 1 % from four degrees of freedom on."""
    g1 = (Z**3 + Z) / 4
    g2 = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    g3 = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    return Z + g1 / freedom + g2 / freedom**2 + g3 / freedom**3
