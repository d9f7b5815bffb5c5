"""Straight lines through the nights' figures, with confidence intervals."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# The 97.5 % quantile of the normal distribution.
Z = 1.959964


def fit(nights: ArrayLike, figures: ArrayLike) -> dict[str, Any] | None:
    """Fit a line by least squares; return its slope in percent of the mean per night, with a 95 % interval.

    Neighboring nights are treated as independent. Without at least four nights, return None.
    """
    x, y = np.asarray(nights, float), np.asarray(figures, float)
    if len(x) < 4 or not y.any():
        return None
    mean = float(y.mean())
    centered = x - x.mean()
    spread = float((centered**2).sum())
    slope = float((centered * y).sum()) / spread
    residuals = y - mean - slope * centered
    error = math.sqrt(float((residuals**2).sum()) / (len(x) - 2) / spread)
    half = student_t(len(x) - 2) * error
    percent = 100 / mean
    return {
        "nights": len(x),
        "mean": round(mean, 3),
        "slope_percent_per_night": round(slope * percent, 3),
        "interval": [round((slope - half) * percent, 3), round((slope + half) * percent, 3)],
    }


def student_t(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5), within 1 % from three degrees of freedom on."""
    g1 = (Z**3 + Z) / 4
    g2 = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    g3 = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    return Z + g1 / freedom + g2 / freedom**2 + g3 / freedom**3
