"""The evaluation of an alarm: from the data points of the last periods to its state.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]

# CloudWatch retrieves more data points than the alarm has periods. How many it retrieves, it does not say.
EXTRA_PERIODS = 2

_COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}


class Point(NamedTuple):
    """The value of a period, and its start in seconds since 1970. A period without data has no value."""

    start_s: float
    value: float | None


@dataclass(frozen=True)
class Rule:
    """The part of an alarm's definition that turns data points into a state."""

    comparison: str
    threshold: float
    periods: int
    to_alarm: int
    missing: str

    def breaches(self, value: float) -> bool:
        """Return True if a value is beyond the threshold."""
        return _COMPARISONS[self.comparison][0](value, self.threshold)


class Verdict(NamedTuple):
    """The state that the data points give, the reason in CloudWatch's words, and the data points behind it."""

    state: State
    reason: str
    points: list[Point]


def judge(rule: Rule, points: Sequence[Point], state: State) -> Verdict:
    """Return the verdict on the data points of the evaluation range, newest first. `state` is the present one.

    With enough real data points in the range, the newest of them count, and missing ones do not matter.
    """
    real = [point for point in points if point.value is not None]
    counted = real[: rule.periods]
    filled = rule.periods - len(counted)
    breaching = sum(point.value is not None and rule.breaches(point.value) for point in counted)
    found = _state(rule, points, breaching, len(counted), filled, state)
    return Verdict(found, _reason(rule, counted, breaching, filled, found, state), counted)


def _state(
    rule: Rule, points: Sequence[Point], breaching: int, counted: int, filled: int, state: State
) -> State:
    if filled and rule.missing == "breaching":
        return "ALARM" if breaching + filled >= rule.to_alarm else "OK"
    if not filled or rule.missing == "notBreaching" or breaching >= rule.to_alarm:
        return "ALARM" if breaching >= rule.to_alarm else "OK"
    if breaching < counted:
        return "OK"
    if rule.missing == "ignore":
        return state
    if not counted:
        return "INSUFFICIENT_DATA"
    # Only breaching points, and fewer than an alarm needs: CloudWatch waits until the oldest is old enough.
    oldest = max(position for position, point in enumerate(points, start=1) if point.value is not None)
    return "ALARM" if oldest >= rule.to_alarm else state


def _reason(
    rule: Rule, counted: Sequence[Point], breaching: int, filled: int, found: State, state: State
) -> str:
    words = _COMPARISONS[rule.comparison][1]
    threshold = f"the threshold ({rule.threshold})"
    if not counted:
        treated = {"breaching": "[Breaching]", "notBreaching": "[NonBreaching]"}.get(rule.missing)
        if treated is None:
            return f"Unchecked: no datapoints were received for {rule.periods} periods."
        return (
            f"Threshold Crossed: no datapoints were received for {rule.periods} periods and {filled} missing datapoints "
            f"were treated as {treated}."
        )
    matching = [
        point
        for point in counted
        if point.value is not None and rule.breaches(point.value) == (found == "ALARM")
    ]
    shown = ", ".join(f"{point.value} ({_time(point.start_s)})" for point in matching)
    verb = "was" if len(matching) == 1 else "were"
    negated = "" if found == "ALARM" else "not "
    least = rule.to_alarm if found == "ALARM" else rule.periods - rule.to_alarm + 1
    return (
        f"Threshold Crossed: {len(matching)} out of the last {rule.periods} datapoints [{shown}] {verb} {negated}{words} "
        f"{threshold} (minimum {least} datapoint{'s' if least > 1 else ''} for {state} -> {found} transition)."
    )


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%d/%m/%y %H:%M:%S")
