"""The gate's checks: one row per check, with a value, a bound and a verdict. A check with too few cases never passes.

Comparisons with another model are judged by the far end of an interval (`by_far_end`). Such a row fails only if the data
show that the candidate is worse by more than the margin. The intervals of all such rows hold together (`family_level`): thirty
comparisons refuse a sound model no more often than one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.gate.thresholds import Thresholds

Interval = tuple[float, float]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
    "<=": lambda value, bound: value <= bound,
    "==": lambda value, bound: value == bound,
}


@dataclass(frozen=True)
class Check:
    """`verdict` is passed, failed, warned, skipped or reported. `reason` is a sentence, empty for a passed check.

    `against` is `absolute` if the bound is for the value itself, else the name of the model whose figure was subtracted.
    """

    name: str
    slice: str
    against: str
    n: int
    minimum_n: int
    value: float
    bound: float
    comparator: str
    interval: Interval | None
    verdict: str
    reason: str


def check(
    name: str,
    value: float,
    comparator: str,
    bound: float,
    *,
    n: int,
    minimum_n: int = 1,
    over: str = "all",
    against: str = "absolute",
    interval: Interval | None = None,
    by_far_end: bool = False,
    required: bool = True,
    warns: bool = False,
) -> Check:
    """Compare `value` with `bound`. With fewer than `minimum_n` cases a required check fails and another is skipped.

    A value beyond its bound fails; with `warns` it only warns, and the model is published.

    With `by_far_end` the better end of the interval is compared instead: the whole interval must miss the bound before the
    row fails.
    """
    verdict, reason = "passed", ""
    if n < minimum_n:
        verdict = "failed" if required else "skipped"
        reason = f"{name} ({over}): {n} cases, at least {minimum_n} are needed to judge"
    elif not (
        np.isfinite(value) and _COMPARE[comparator](_judged(value, comparator, interval, by_far_end), bound)
    ):
        verdict = "warned" if warns else "failed"
        spread = f" (interval {interval[0]:.4g} to {interval[1]:.4g})" if interval else ""
        reason = f"{name} ({over}) is {value:.4g}{spread}, must be {comparator} {bound:.4g}"
    return Check(name, over, against, n, minimum_n, value, bound, comparator, interval, verdict, reason)


def _judged(value: float, comparator: str, interval: Interval | None, by_far_end: bool) -> float:
    if not by_far_end or interval is None:
        return value
    return interval[1] if comparator.startswith(">") else interval[0]


def family_level(limits: Thresholds) -> float:
    """Return the level of each interval end: all comparisons together err with the chance `family_error` (Bonferroni)."""
    return 1.0 - limits.family_error / limits.family_rows


def reported(
    name: str, value: float, why: str, *, n: int, over: str, against: str, interval: Interval
) -> Check:
    """Return a figure that is reported and not judged, with the reason."""
    reason = f"{name} ({over}): {why}"
    return Check(name, over, against, n, 0, value, 0.0, "", interval, "reported", reason)


def skipped(name: str, reason: str, *, over: str = "all", against: str = "absolute") -> Check:
    """Return a check that could not be made, with the reason."""
    return Check(name, over, against, 0, 0, 0.0, 0.0, "", None, "skipped", f"{name} ({over}): {reason}")


def failures(found: Sequence[Check]) -> Iterator[str]:
    """Yield the reasons of the failed checks."""
    return (row.reason for row in found if row.verdict == "failed")


def warnings(found: Sequence[Check]) -> Iterator[str]:
    """Yield the reasons of the checks that warn."""
    return (row.reason for row in found if row.verdict == "warned")


def share(values: Sequence[float] | NDArray[Any]) -> float:
    """Return the mean, and 0 for no values: the minimum number of cases then decides."""
    return float(np.mean(values)) if len(values) else 0.0
