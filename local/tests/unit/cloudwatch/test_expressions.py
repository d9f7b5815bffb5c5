"""Metric math."""

from __future__ import annotations

import pytest

from local.aws.cloudwatch.expressions import InvalidExpression, evaluate, names

SHARE = "IF(accepted + refused >= 20, 100 * refused / (accepted + refused), 0)"


@pytest.mark.parametrize(
    ("expression", "values", "expected"),
    [
        (SHARE, {"accepted": 15.0, "refused": 5.0}, 25.0),
        (SHARE, {"accepted": 10.0, "refused": 9.0}, 0.0),
        (SHARE, {"accepted": None, "refused": 9.0}, None),
        ("latency / 1000", {"latency": 2500.0}, 2.5),
        ("a / b", {"a": 1.0, "b": 0.0}, None),
        ("SUM([a, b, c])", {"a": 1.0, "b": None, "c": 2.0}, 3.0),
        ("MAX([a, b])", {"a": None, "b": None}, None),
        ("AVG([a, b])", {"a": 1.0, "b": 3.0}, 2.0),
        ("FILL(a, 0) + b", {"a": None, "b": 2.0}, 2.0),
        ("-a ^ 2", {"a": 3.0}, 9.0),
        ("CEIL(a) - ABS(b)", {"a": 1.2, "b": -1.0}, 1.0),
    ],
)
def test_an_expression_has_the_documented_value(
    expression: str, values: dict[str, float | None], expected: float | None
) -> None:
    assert evaluate(expression, values) == expected


@pytest.mark.parametrize(
    "expression", ["a +", "RATE(a)", "unknown", "a if b else c", "__import__('os')", "a // 2"]
)
def test_an_unknown_expression_is_refused(expression: str) -> None:
    with pytest.raises(InvalidExpression):
        evaluate(expression, {"a": 1.0, "b": 1.0, "c": 1.0})


def test_the_ids_of_an_expression_are_known_before_its_evaluation() -> None:
    assert names(SHARE) == {"accepted", "refused"}
