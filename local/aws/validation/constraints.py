"""The constraints of a service model, compiled once per shape: required, min, max, pattern and enum."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from local.aws.validation import patterns

_TEXTS = ("string", "character")
_SIZED = ("list", "map", "blob")
_NOT_NULL = "Member must not be null"
# S3 accepts these values in any case: boto3's users write Prefix, the model has prefix.
_ANY_CASE = frozenset({"FilterRuleName"})


@dataclass(frozen=True)
class Violation:
    """One constraint that one value of a request does not meet.

    Attributes:
        member: The top-level member of the request.
        path: The path of the value as services write it: `tags.1.member.key`.
        value: The value as services write it, or None if they hide it.
        constraint: The constraint: "Member must not be null".
    """

    member: str
    path: str
    value: str | None
    constraint: str


Found = tuple[str, str | None, str]
"""The path below a value, which begins with a period or is empty; the shown value; the constraint."""

Check = Callable[[Any], Sequence[Found]]
"""Return the violations below a value. Paths are relative: a request without violations costs no text."""


class Constraints:
    """The constraints of one service."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._checks: dict[str, Check | None] = {}

    def violations(
        self, operation: OperationModel, parameters: dict[str, Any], partial_request: bool = False
    ) -> list[Violation]:
        """Return the constraints that parsed parameters do not meet.

        Args:
            operation: The operation of the service model.
            parameters: The parameters, with the names of the service model.
            partial_request: True if top-level members may be missing.
        """
        shape = operation.input_shape
        if shape is None:
            return []
        found: list[Violation] = []
        for name in () if partial_request else shape.required_members:
            if parameters.get(name) is None:
                found.append(Violation(name, _lowered(name), "null", _NOT_NULL))
        for name, value in parameters.items():
            member = shape.members.get(name)
            check = None if member is None or value is None else self._check(member)
            if check is not None:
                for below, shown, constraint in check(value):
                    found.append(Violation(name, _lowered(name) + below, shown, constraint))
        return found

    def _check(self, shape: Shape) -> Check | None:
        """Return the check of a shape, or None if nothing below it has a constraint."""
        with self._lock:
            if shape.name not in self._checks:
                # A recursive shape meets itself below: this entry makes the inner one look the check up later.
                self._checks[shape.name] = partial(self._later, shape.name)
                self._checks[shape.name] = self._compiled(shape)
            return self._checks[shape.name]

    def _later(self, name: str, value: Any) -> Sequence[Found]:
        check = self._checks[name]
        return () if check is None else check(value)

    def _compiled(self, shape: Shape) -> Check | None:
        rules = _rules(shape)
        checks: list[Check] = []
        if rules:
            checks.append(partial(_own, rules, bool(shape.metadata.get("sensitive"))))
        inner: Check | None = None
        if isinstance(shape, StructureShape):
            inner = self._structure(shape)
        elif isinstance(shape, ListShape):
            inner = self._list(shape)
        elif isinstance(shape, MapShape):
            inner = self._map(shape)
        return _all([*checks, inner] if inner else checks)

    def _structure(self, shape: StructureShape) -> Check | None:
        required = tuple(shape.required_members)
        members = [(name, check) for name, member in shape.members.items() if (check := self._check(member))]
        if not required and not members:
            return None

        def check_structure(value: Any) -> Sequence[Found]:
            found: list[Found] = []
            for name in required:
                if value.get(name) is None:
                    found.append((f".{_lowered(name)}", "null", _NOT_NULL))
            for name, check in members:
                inner = value.get(name)
                if inner is not None and (below := check(inner)):
                    found += _under(f".{_lowered(name)}", below)
            return found

        return check_structure

    def _list(self, shape: ListShape) -> Check | None:
        check = self._check(shape.member)
        if check is None:
            return None
        if isinstance(shape.member, StructureShape | ListShape | MapShape):

            def check_each(value: Any) -> Sequence[Found]:
                found: list[Found] = []
                for number, item in enumerate(value, 1):
                    if below := check(item):
                        found += _under(f".{number}.member", below)
                return found

            return check_each
        return _scalars(_rules(shape.member), "Member must satisfy constraint", lambda value: value)

    def _map(self, shape: MapShape) -> Check | None:
        checks: list[Check] = []
        if key_rules := _rules(shape.key):
            checks.append(_scalars(key_rules, "Map keys must satisfy constraint", lambda value: value.keys()))
        if isinstance(shape.value, StructureShape | ListShape | MapShape):
            if (check := self._check(shape.value)) is not None:
                checks.append(partial(_each_value, check))
        elif value_rules := _rules(shape.value):
            checks.append(
                _scalars(value_rules, "Map value must satisfy constraint", lambda value: value.values())
            )
        return _all(checks)


def _all(checks: list[Check]) -> Check | None:
    if len(checks) < 2:
        return checks[0] if checks else None
    return lambda value: [found for check in checks for found in check(value)]


def _each_value(check: Check, value: dict[str, Any]) -> Sequence[Found]:
    return [found for key, item in value.items() for found in _under(f".{key}.member", check(item))]


def _under(path: str, found: Sequence[Found]) -> Iterator[Found]:
    return ((path + below, shown, constraint) for below, shown, constraint in found)


@dataclass(frozen=True)
class _Rule:
    holds: Callable[[Any], bool]
    constraint: str


def _rules(shape: Shape) -> list[_Rule]:
    """Return the constraints of a shape itself, in the order in which services report them."""
    metadata = shape.metadata
    rules: list[_Rule] = []
    pattern = metadata.get("pattern")
    compiled = patterns.compiled(pattern) if pattern and shape.type_name in _TEXTS else None
    if compiled is not None:
        rules.append(
            _Rule(
                partial(_matches, compiled.fullmatch),
                f"Member must satisfy regular expression pattern: {pattern}",
            )
        )
    minimum, maximum = metadata.get("min"), metadata.get("max")
    if shape.type_name in (*_TEXTS, *_SIZED):
        if maximum is not None:
            rules.append(
                _Rule(
                    partial(_no_longer, maximum), f"Member must have length less than or equal to {maximum}"
                )
            )
        if minimum:
            rules.append(
                _Rule(
                    partial(_no_shorter, minimum),
                    f"Member must have length greater than or equal to {minimum}",
                )
            )
    else:
        if maximum is not None:
            rules.append(
                _Rule(partial(_no_more, maximum), f"Member must have value less than or equal to {maximum}")
            )
        if minimum is not None:
            rules.append(
                _Rule(
                    partial(_no_less, minimum), f"Member must have value greater than or equal to {minimum}"
                )
            )
    enum = metadata.get("enum")
    if enum and shape.type_name in _TEXTS:
        accepted: Any = frozenset(enum).__contains__
        if shape.name in _ANY_CASE:
            accepted = _in_any_case(accepted)
        rules.append(_Rule(accepted, f"Member must satisfy enum value set: [{', '.join(enum)}]"))
    return rules


def _own(rules: Sequence[_Rule], sensitive: bool, value: Any) -> Sequence[Found]:
    return [
        ("", None if sensitive else _shown(value), rule.constraint) for rule in rules if not rule.holds(value)
    ]


def _scalars(rules: list[_Rule], introduction: str, values: Callable[[Any], Iterable[Any]]) -> Check:
    """Return the check of all members of a list or map; services report them together, with every constraint."""
    constraint = f"{introduction}: [{', '.join(rule.constraint for rule in rules)}]"

    def check(value: Any) -> Sequence[Found]:
        if all(rule.holds(item) for item in values(value) for rule in rules):
            return ()
        return [("", _shown(value), constraint)]

    return check


def _shown(value: Any) -> str | None:
    if isinstance(value, list | tuple):
        return f"'[{', '.join(map(str, value))}]'"
    return None if isinstance(value, dict | bytes) else f"'{value}'"


def _lowered(name: str) -> str:
    return name[:1].lower() + name[1:]


def _in_any_case(accepted: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda value: accepted(value.lower())


def _matches(fullmatch: Callable[[str], Any], value: str) -> bool:
    return fullmatch(value) is not None


def _no_longer(maximum: int, value: Any) -> bool:
    return len(value) <= maximum


def _no_shorter(minimum: int, value: Any) -> bool:
    return len(value) >= minimum


def _no_more(maximum: float, value: float) -> bool:
    return value <= maximum


def _no_less(minimum: float, value: float) -> bool:
    return value >= minimum
