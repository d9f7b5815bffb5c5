"""Split a change exactly: a product into its factors, and a rate into its segments. Nothing remains.

`split_product` is the additive logarithmic mean Divisia index, LMDI-I. A factor that changes from x0 to x1 has the effect
L(V1, V0) * ln(x1/x0) on the product V. L(a, b) = (a - b) / ln(a/b) is the logarithmic mean.
B. W. Ang, "The LMDI approach to decomposition analysis: a practical guide", Energy Policy 33 (2005),
https://doi.org/10.1016/j.enpol.2003.10.010; zeros by B. W. Ang and N. Liu, Energy Policy 35 (2007),
https://doi.org/10.1016/j.enpol.2005.11.001: a zero is a small value, in the limit.

`split_rate` is Kitagawa's: the change of a rate is that of the segments' rates and that of their shares.
E. M. Kitagawa, "Components of a difference between two rates", JASA 50 (1955), https://doi.org/10.2307/2281213.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

# Closer values have a logarithmic mean that rounding would spoil; their mean differs by less.
NEARLY_EQUAL = 1e-5


def log_mean(a: float, b: float) -> float:
    """Return the logarithmic mean of two numbers >= 0; it is 0 if one of them is."""
    if a <= 0 or b <= 0:
        return 0.0
    if abs(a - b) <= NEARLY_EQUAL * max(a, b):
        return (a + b) / 2
    return (a - b) / math.log(a / b)


def split_product(before: Sequence[float], now: Sequence[float]) -> list[float]:
    """Return the effect of each factor on the product. The effects add up to its change.

    If the product is zero in one period, the factors that are zero there have equal parts of the change.
    """
    value_before, value_now = math.prod(before), math.prod(now)
    if value_before > 0 and value_now > 0:
        mean = log_mean(value_now, value_before)
        return [mean * math.log(x1 / x0) for x0, x1 in zip(before, now, strict=True)]
    if value_before <= 0 and value_now <= 0:
        return [0.0] * len(before)
    zeros = [factor <= 0 for factor in (now if value_now <= 0 else before)]
    each = (value_now - value_before) / sum(zeros)
    return [each if zero else 0.0 for zero in zeros]


def ratios(
    nodes_before: Sequence[float | None], nodes_now: Sequence[float | None]
) -> tuple[list[float], list[float]]:
    """Return the factors of a chain: each node per the node before it.

    A ratio without a value counts as unchanged: nothing per nothing, or a node that is not known (None). So the first node
    that is zero has the whole effect.
    """
    pairs = zip(pairwise(nodes_before), pairwise(nodes_now), strict=True)
    found = [(_ratio(*before), _ratio(*now)) for before, now in pairs]
    return (
        [x0 if x0 is not None else x1 if x1 is not None else 1.0 for x0, x1 in found],
        [x1 if x1 is not None else x0 if x0 is not None else 1.0 for x0, x1 in found],
    )


def _ratio(whole: float | None, part: float | None) -> float | None:
    return part / whole if whole and part is not None else None


class Cell(NamedTuple):
    """A segment's numerator and denominator in both periods."""

    part_before: float
    whole_before: float
    part_now: float
    whole_now: float


@dataclass(frozen=True)
class Part:
    """A segment's part of the change of a rate: by its own rate, and by its share of the denominator."""

    segment: str
    by_rate: float
    by_share: float


def split_rate(cells: Mapping[str, Cell]) -> list[Part]:
    """Return each segment's parts. All of them add up to the change of the total rate.

    A segment that is absent in one period has no rate there: its part is one of shares.
    """
    whole0 = sum(cell.whole_before for cell in cells.values())
    whole1 = sum(cell.whole_now for cell in cells.values())
    if whole0 <= 0 or whole1 <= 0:
        return [Part(segment, 0.0, 0.0) for segment in cells]
    rate0 = sum(cell.part_before for cell in cells.values()) / whole0
    rate1 = sum(cell.part_now for cell in cells.values()) / whole1
    usual = (rate0 + rate1) / 2
    parts = []
    for segment, cell in cells.items():
        weight0, weight1 = cell.whole_before / whole0, cell.whole_now / whole1
        change = cell.part_now / whole1 - cell.part_before / whole0
        by_rate = 0.0
        if weight0 > 0 and weight1 > 0:
            x0, x1 = cell.part_before / cell.whole_before, cell.part_now / cell.whole_now
            by_rate = (weight0 + weight1) / 2 * (x1 - x0)
        # A share that grows raises the rate only if the segment's rate is above the usual one. The subtracted terms add up to 0.
        by_share = change - by_rate - (weight1 - weight0) * usual
        parts.append(Part(segment, by_rate, by_share))
    return parts


def overlap(cells: Mapping[str, Cell]) -> float:
    """Return how alike the shares of the segments are in both periods: 0 if no segment is in both, 1 if they are equal."""
    whole0 = sum(cell.whole_before for cell in cells.values())
    whole1 = sum(cell.whole_now for cell in cells.values())
    if whole0 <= 0 or whole1 <= 0:
        return 0.0
    return sum(min(cell.whole_before / whole0, cell.whole_now / whole1) for cell in cells.values())
