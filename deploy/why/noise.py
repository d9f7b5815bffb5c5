"""The usual variation of a figure: how far it moves from one period to the next without a cause.

A day is a cluster, because the events of one visitor are not independent. The variance of a ratio of sums comes from its days
by the delta method (A. Deng, U. Knoblich, J. Lu, "Applying the delta method in metric analytics", KDD 2018,
https://arxiv.org/abs/1803.06336). Days are paired, so that a weekend is compared with a weekend.
Counts are at least as uncertain as those of a Poisson process.

A cause often begins within the newest period. Its step is no variation, so the best-fitting step is removed before the
variance is measured. That costs two degrees of freedom.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

# With fewer earlier changes, their spread says little.
FEWEST_CHANGES = 3
FEWEST_DEGREES = 3
FEWEST_DAYS_WITH_STEP = 5


@dataclass(frozen=True)
class Series:
    """The daily sums of a numerator and of a denominator in one period. The denominator of a total is 1 per day."""

    part: Sequence[float]
    whole: Sequence[float]

    @property
    def ratio(self) -> float:
        """Return the ratio of the sums; 0 without a denominator."""
        whole = sum(self.whole)
        return sum(self.part) / whole if whole > 0 else 0.0

    def deviations(self) -> list[float] | None:
        """Return each day's influence on the logarithm of the ratio, or None if there is none."""
        part, whole = sum(self.part), sum(self.whole)
        if part <= 0 or whole <= 0:
            return None
        return [p / part - w / whole for p, w in zip(self.part, self.whole, strict=True)]


def t_quantile(probability: float, degrees: int) -> float:
    """Return a quantile of Student's t distribution (Abramowitz and Stegun 26.7.5), for at least three degrees."""
    z: float = NormalDist().inv_cdf(probability)
    n = max(degrees, FEWEST_DEGREES)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / n**power for power, term in enumerate(terms, 1))


@dataclass(frozen=True)
class Variation:
    """The variance of the logarithm of a ratio's change, with its degrees of freedom, and the spread of earlier changes.

    `least` is the variance of independent counts. It is known, so it needs no degrees of freedom.
    """

    variance: float
    degrees: int
    least: float
    earlier: Sequence[float] = ()

    def bound(self, alpha: float) -> float:
        """Return the logarithm of the largest usual change: more happens by chance with this probability."""
        own = max(
            t_quantile(1 - alpha / 2, self.degrees) * math.sqrt(self.variance),
            NormalDist().inv_cdf(1 - alpha / 2) * math.sqrt(self.least),
        )
        if len(self.earlier) < FEWEST_CHANGES:
            return own
        spread = math.sqrt(sum(change**2 for change in self.earlier) / len(self.earlier))
        return max(own, t_quantile(1 - alpha / 2, len(self.earlier)) * spread)


def variation(periods: Sequence[Series], least: float) -> Variation:
    """Measure the variation of a ratio between periods.

    Args:
        periods: the newest period first, then the one it is compared with, then earlier ones of the same length.
        least: the variance that counts have at least.
    """
    found = [
        _between(now, before, has_step=number == 0) for number, (now, before) in enumerate(pairwise(periods))
    ]
    known = [one for one in found if one is not None]
    degrees = sum(degrees for _, degrees in known)
    pooled = sum(variance * degrees for variance, degrees in known) / degrees if degrees else 0.0
    earlier = [
        math.log(now.ratio / before.ratio)
        for now, before in pairwise(periods[1:])
        if now.ratio > 0 and before.ratio > 0
    ]
    return Variation(pooled, degrees, least, earlier)


def _between(now: Series, before: Series, has_step: bool) -> tuple[float, int] | None:
    """Return the variance of the logarithm of the change between two periods, and its degrees of freedom."""
    new, old = now.deviations(), before.deviations()
    if new is None or old is None or min(len(new), len(old)) < 2:
        return None
    if len(new) == len(old):
        return _spread([a - b for a, b in zip(new, old, strict=True)], has_step)
    (variance, degrees), (variance_old, degrees_old) = _spread(new, has_step), _spread(old, False)
    return variance + variance_old, degrees + degrees_old


def _spread(values: Sequence[float], has_step: bool) -> tuple[float, int]:
    """Return the variance of the sum of values whose mean is 0, and its degrees of freedom."""
    days, squares = len(values), sum(value**2 for value in values)
    if not has_step or days < FEWEST_DAYS_WITH_STEP:
        return days / (days - 1) * squares, days - 1
    explained = max(
        sum(values[:day]) ** 2 / day + sum(values[day:]) ** 2 / (days - day) for day in range(1, days)
    )
    return days / (days - 3) * max(squares - explained, 0.0), days - 3
