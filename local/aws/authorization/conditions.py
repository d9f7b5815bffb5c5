"""The Condition element: all operators must hold, all keys of an operator must hold, and one value of each key must match.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
The operators are those that the policies of this repository use. Any other operator is an error.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_ARN_FIELDS = 6
_IF_EXISTS = "IfExists"


class UnsupportedOperator(ValueError):
    """A condition has an operator or a value that is not supported here; the message says where to add it."""


@dataclass(frozen=True)
class Test:
    """One operator on one key: it holds if one of `values` matches the value of the call."""

    matches: Callable[[str, str], bool]
    key: str
    values: tuple[str, ...]
    if_exists: bool

    def holds(self, context: Mapping[str, str]) -> bool:
        """Return True if the test holds. A key that the call lacks never matches, except for an operator with IfExists."""
        value = context.get(self.key)
        if value is None:
            return self.if_exists
        return any(self.matches(expected, value) for expected in self.values)


@dataclass(frozen=True)
class Condition:
    """All tests of a statement."""

    tests: tuple[Test, ...]

    def holds(self, context: Mapping[str, str]) -> bool:
        """Return True if all tests hold."""
        return all(test.holds(context) for test in self.tests)


def parse(element: Mapping[str, Mapping[str, Any]]) -> Condition:
    """Return the condition of a statement.

    Raises:
        UnsupportedOperator: an operator or a value is not supported here.
    """
    return Condition(
        tuple(
            _test(operator, key, values) for operator, keys in element.items() for key, values in keys.items()
        )
    )


@functools.lru_cache(maxsize=4096)
def wildcards(text: str, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile IAM's wildcards: `*` is any text and `?` is any character."""
    expression = "".join({"*": ".*", "?": "."}.get(letter) or re.escape(letter) for letter in text)
    return re.compile(expression, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _test(operator: str, key: str, values: Any) -> Test:
    name = operator.removesuffix(_IF_EXISTS)
    if name not in _OPERATORS:
        raise UnsupportedOperator(
            f"The local AWS does not support the condition operator {operator}. "
            "Add it to local/aws/authorization/conditions.py."
        )
    texts = tuple(_text(value) for value in (values if isinstance(values, list) else [values]))
    for text in texts:
        if "${" in text:
            raise UnsupportedOperator(
                f"The local AWS does not support the policy variable in {text!r}. "
                "Add policy variables to local/aws/authorization/conditions.py."
            )
    return Test(_OPERATORS[name], key.lower(), texts, if_exists=operator != name)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _arn_like(expected: str, value: str) -> bool:
    """Compare each of the six fields of an ARN, so that a wildcard never spans two fields."""
    fields = (expected.split(":", _ARN_FIELDS - 1), value.split(":", _ARN_FIELDS - 1))
    if any(len(parts) != _ARN_FIELDS for parts in fields):
        return False
    return all(wildcards(wanted).fullmatch(given) for wanted, given in zip(*fields, strict=True))


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda expected, value: expected == value,
    "StringLike": lambda expected, value: wildcards(expected).fullmatch(value) is not None,
    # AWS treats ArnEquals as ArnLike.
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": lambda expected, value: expected.lower() == value.lower(),
}
