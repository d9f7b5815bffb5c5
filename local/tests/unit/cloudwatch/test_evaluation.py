"""The evaluation of alarms, by the tables of AWS's documentation.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

from __future__ import annotations

import pytest

from local.aws.cloudwatch.evaluation import Point, Rule, State, judge


def points(drawn: str) -> list[Point]:
    """Return the points of a drawing, oldest first: 0 is within the threshold, X beyond it, - missing."""
    values = {"0": 1.0, "X": 9.0, "-": None}
    found = [Point(60.0 * number, values[one]) for number, one in enumerate(drawn.split())]
    return found[::-1]


def rule(missing: str, periods: int, to_alarm: int) -> Rule:
    return Rule("GreaterThanThreshold", 5, periods, to_alarm, missing)


THREE_OF_THREE: list[tuple[str, tuple[State | None, ...]]] = [
    ("0 - X - X", ("OK", "OK", "OK", "OK")),
    ("- - - - 0", ("OK", "OK", "OK", "OK")),
    ("- - - - -", ("INSUFFICIENT_DATA", None, "ALARM", "OK")),
    ("0 X X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("- - X - -", ("ALARM", None, "ALARM", "OK")),
]
TWO_OF_THREE: list[tuple[str, tuple[State | None, ...]]] = [
    ("0 - X - X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("0 0 X 0 X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("0 - X - -", ("OK", "OK", "ALARM", "OK")),
    ("- - - - 0", ("OK", "OK", "ALARM", "OK")),
    ("- - - X -", ("ALARM", None, "ALARM", "OK")),
]


@pytest.mark.parametrize(("drawn", "states"), THREE_OF_THREE)
@pytest.mark.parametrize("present", ["OK", "ALARM"])
def test_three_of_three_data_points_give_the_documented_state(
    drawn: str, states: tuple[State | None, ...], present: State
) -> None:
    for missing, state in zip(("missing", "ignore", "breaching", "notBreaching"), states, strict=True):
        assert judge(rule(missing, 3, 3), points(drawn), present).state == (state or present), missing


@pytest.mark.parametrize(("drawn", "states"), TWO_OF_THREE)
@pytest.mark.parametrize("present", ["OK", "ALARM"])
def test_two_of_three_data_points_give_the_documented_state(
    drawn: str, states: tuple[State | None, ...], present: State
) -> None:
    for missing, state in zip(("missing", "ignore", "breaching", "notBreaching"), states, strict=True):
        assert judge(rule(missing, 3, 2), points(drawn), present).state == (state or present), missing


def test_the_reason_names_the_data_points_the_threshold_and_the_transition() -> None:
    found = judge(rule("notBreaching", 2, 2), points("0 X X"), "OK")
    assert found.reason == (
        "Threshold Crossed: 2 out of the last 2 datapoints [9.0 (01/01/70 00:02:00), 9.0 (01/01/70 00:01:00)] were greater "
        "than the threshold (5) (minimum 2 datapoints for OK -> ALARM transition)."
    )
    found = judge(rule("notBreaching", 1, 1), points("X 0"), "ALARM")
    assert "1 out of the last 1 datapoints [1.0 (01/01/70 00:01:00)] was not greater than" in found.reason


def test_the_reason_of_missing_data_says_how_they_were_treated() -> None:
    found = judge(rule("breaching", 6, 6), points("- " * 8), "OK")
    assert found.state == "ALARM"
    assert (
        "no datapoints were received for 6 periods and 6 missing datapoints were treated as [Breaching]"
        in (found.reason)
    )


@pytest.mark.parametrize(
    ("comparison", "breaching"),
    [
        ("GreaterThanThreshold", (False, False, True)),
        ("GreaterThanOrEqualToThreshold", (False, True, True)),
        ("LessThanThreshold", (True, False, False)),
        ("LessThanOrEqualToThreshold", (True, True, False)),
    ],
)
def test_a_value_is_compared_as_the_operator_says(comparison: str, breaching: tuple[bool, ...]) -> None:
    given = Rule(comparison, 5, 1, 1, "missing")
    assert tuple(given.breaches(value) for value in (4, 5, 6)) == breaching
