"""The gate's checks: each a row with a value, a bound and a verdict. Too few cases is never a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Thresholds = Mapping[str, Any]
Interval = tuple[float, float]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
    "<=": lambda value, bound: value <= bound,
    "==": lambda value, bound: value == bound,
}


@dataclass(frozen=True)
class Check:
    """`verdict` is passed, failed or skipped; `reason` says why in a sentence wherever it is not passed.

    `against` is what the bound is for: absolute (the value itself), or the name of the model whose figure was taken off.
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
    benefit_of_doubt: bool = False,
    required: bool = True,
) -> Check:
    """Compare. With fewer than `minimum_n` cases a required check fails and another is skipped.

    With `benefit_of_doubt` a difference that misses its bound fails only where its interval lies wholly on the wrong
    side of zero: what so few cases cannot tell from chance is no reason to refuse a model.
    """
    verdict, reason = "passed", ""
    if n < minimum_n:
        verdict = "failed" if required else "skipped"
        reason = f"{name} ({over}): {n} cases, at least {minimum_n} are needed to judge"
    elif not (np.isfinite(value) and _COMPARE[comparator](value, bound)):
        in_doubt = benefit_of_doubt and interval is not None and interval[0] <= 0.0 <= interval[1]
        if not in_doubt:
            verdict = "failed"
            spread = f" (95 %: {interval[0]:.4g} to {interval[1]:.4g})" if interval else ""
            reason = f"{name} ({over}) is {value:.4g}{spread}, must be {comparator} {bound:.4g}"
    return Check(name, over, against, n, minimum_n, value, bound, comparator, interval, verdict, reason)


def skipped(name: str, reason: str, *, over: str = "all", against: str = "absolute") -> Check:
    """A check that could not be made, and why."""
    return Check(name, over, against, 0, 0, 0.0, 0.0, "", None, "skipped", f"{name} ({over}): {reason}")


def failures(found: Sequence[Check]) -> Iterator[str]:
    return (row.reason for row in found if row.verdict == "failed")


def share(values: Sequence[float] | NDArray[Any]) -> float:
    """The mean; of nothing it is 0, and the check's minimum number of cases has the say."""
    return float(np.mean(values)) if len(values) else 0.0
