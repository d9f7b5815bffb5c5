"""Metric math: expressions over the values of metrics in one period.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
Arithmetic with a missing value has no value. SUM, AVG, MIN and MAX of a list skip missing values, and FILL replaces them.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

Value = float | None

_OPERATORS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.BitXor: operator.pow,  # ^ is the power in metric math
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "SUM": sum,
    "MIN": min,
    "MAX": max,
    "AVG": lambda values: sum(values) / len(values),
}
_FUNCTIONS: dict[str, Callable[[float], float]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor}


class InvalidExpression(ValueError):
    """An expression that metric math, or this part of it, does not have."""


def names(expression: str) -> set[str]:
    """Return the ids that an expression uses.

    Raises:
        InvalidExpression: the expression cannot be parsed.
    """
    return {
        node.id
        for node in ast.walk(_parsed(expression))
        if isinstance(node, ast.Name) and not node.id.isupper()
    }


def evaluate(expression: str, values: Mapping[str, Value]) -> Value:
    """Return the value of an expression in one period.

    Raises:
        InvalidExpression: the expression uses an unknown id, function or operator.
    """
    return _value(_parsed(expression).body, values)


def _parsed(expression: str) -> ast.Expression:
    try:
        return ast.parse(expression.strip(), mode="eval")
    except SyntaxError as error:
        raise InvalidExpression(f"{expression!r} is no expression of metric math: {error.msg}") from None


def _value(node: ast.AST, values: Mapping[str, Value]) -> Value:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in values:
            return values[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            found = _value(operand, values)
            return None if found is None else -found
        case ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]):
            return _combined(type(op), _value(left, values), _value(right, values))
        case ast.Call(func=ast.Name(id=function), args=arguments):
            return _called(function, arguments, values)
    raise InvalidExpression(f"local/aws/cloudwatch/expressions.py does not know {ast.unparse(node)}")


def _combined(op: type[ast.AST], left: Value, right: Value) -> Value:
    if op not in _OPERATORS:
        raise InvalidExpression(f"metric math has no operator {op.__name__}")
    if left is None or right is None or (op is ast.Div and not right):
        return None
    return float(_OPERATORS[op](left, right))


def _called(function: str, arguments: list[Any], values: Mapping[str, Value]) -> Value:
    match function, arguments:
        case "IF", [condition, then, otherwise]:
            found = _value(condition, values)
            return None if found is None else _value(then if found else otherwise, values)
        case "FILL", [metric, filler]:
            found = _value(metric, values)
            return _value(filler, values) if found is None else found
        case name, [ast.List(elts=parts)] if name in _AGGREGATES:
            present = [one for part in parts if (one := _value(part, values)) is not None]
            return float(_AGGREGATES[name](present)) if present else None
        case name, [argument] if name in _FUNCTIONS:
            found = _value(argument, values)
            return None if found is None else float(_FUNCTIONS[name](found))
    raise InvalidExpression(f"local/aws/cloudwatch/expressions.py does not know the function {function}()")
