"""Evaluation of IAM policies: an explicit Deny wins, an Allow permits, everything else is denied.

The logic is documented at https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html.
No maintained Python library evaluates resources and conditions, and neither does moto 5.2.5.
An element that is not supported raises an error: ignoring it could allow a call that AWS denies.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from local.aws.authorization import conditions

_STATEMENT_ELEMENTS = {
    *("Sid", "Effect", "Principal", "Condition"),
    *("Action", "NotAction", "Resource", "NotResource"),
}
_ARN_FIELDS = 6


class UnsupportedPolicy(ValueError):
    """A policy has an element that is not supported here; the message says where to add it."""


class Decision(Enum):
    """The result of an evaluation."""

    ALLOWED = "allowed"
    EXPLICITLY_DENIED = "explicitly denied"
    NOT_ALLOWED = "not allowed"


@dataclass(frozen=True)
class Call:
    """One action on one resource. Names of condition keys are in lower case, because IAM ignores their case."""

    action: str
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lower = {key.lower(): value for key, value in self.context.items()}
        object.__setattr__(self, "context", lower)


@dataclass(frozen=True)
class Statement:
    """One statement of a policy, ready for evaluation."""

    denies: bool
    actions: tuple[re.Pattern[str], ...] | None
    except_actions: tuple[re.Pattern[str], ...] | None
    resources: tuple[re.Pattern[str], ...] | None
    except_resources: tuple[re.Pattern[str], ...] | None
    principals: tuple[tuple[str, str], ...]
    condition: conditions.Condition

    def applies_to(self, call: Call) -> bool:
        """Return True if action, resource and condition match the call."""
        return (
            _selects(self.actions, self.except_actions, call.action)
            and _selects(self.resources, self.except_resources, call.resource)
            and self.condition.holds(call.context)
        )


@dataclass(frozen=True)
class Policy:
    """All statements of a policy document."""

    statements: tuple[Statement, ...]


@functools.lru_cache(maxsize=1024)
def parse(document: str) -> Policy:
    """Return the policy of a JSON document.

    Raises:
        UnsupportedPolicy: the document has an element that is not supported here.
    """
    statements = json.loads(document).get("Statement", [])
    return Policy(tuple(_statement(one) for one in _listed(statements)))


def evaluate(policies: Iterable[Policy], call: Call) -> tuple[Decision, tuple[tuple[int, int], ...]]:
    """Evaluate a call against all policies of a principal.

    Returns:
        The decision, and the positions (policy, statement) of all statements that allow the call.
    """
    allowing = []
    for number, policy in enumerate(policies):
        for position, statement in enumerate(policy.statements):
            if statement.applies_to(call):
                if statement.denies:
                    return Decision.EXPLICITLY_DENIED, ()
                allowing.append((number, position))
    return (Decision.ALLOWED if allowing else Decision.NOT_ALLOWED), tuple(allowing)


def decide(policies: Iterable[Policy], call: Call) -> Decision:
    """Evaluate a call against all policies of a principal; return the decision alone."""
    return evaluate(policies, call)[0]


def grants(policy: Policy, principal: tuple[str, str], call: Call) -> bool:
    """Return True if a policy of a resource lets a principal make a call.

    `principal` is a pair such as `("Service", "lambda.amazonaws.com")` or `("AWS", <ARN of a user or an account>)`.
    """
    matching = [
        statement
        for statement in policy.statements
        if _names(statement.principals, principal) and statement.applies_to(call)
    ]
    return bool(matching) and not any(statement.denies for statement in matching)


def trusts(trust_policy: Policy, principal: tuple[str, str], context: Mapping[str, str]) -> bool:
    """Return True if a role's trust policy lets a principal assume the role."""
    return grants(trust_policy, principal, Call("sts:AssumeRole", "*", context))


def pattern(text: str, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile IAM's wildcards: `*` is any text and `?` is any character.

    Raises:
        UnsupportedPolicy: the text contains a policy variable.
    """
    if "${" in text:
        raise UnsupportedPolicy(
            f"The local AWS does not support the policy variable in {text!r}. "
            "Add policy variables to pattern() in local/aws/authorization/policies.py."
        )
    return conditions.wildcards(text, ignore_case)


def _statement(element: dict[str, Any]) -> Statement:
    unknown = element.keys() - _STATEMENT_ELEMENTS
    if unknown:
        raise UnsupportedPolicy(
            f"The local AWS does not support {', '.join(sorted(unknown))} in a policy statement. "
            "Add it to local/aws/authorization/policies.py."
        )
    if element.get("Effect") not in ("Allow", "Deny"):
        raise UnsupportedPolicy(f"Effect must be Allow or Deny in the statement {json.dumps(element)}.")
    if ("Action" in element) == ("NotAction" in element):
        raise UnsupportedPolicy(f"The statement {json.dumps(element)} needs either Action or NotAction.")
    if "Resource" in element and "NotResource" in element:
        raise UnsupportedPolicy(f"The statement {json.dumps(element)} has both Resource and NotResource.")
    if "Principal" not in element and "Resource" not in element and "NotResource" not in element:
        raise UnsupportedPolicy(f"The statement {json.dumps(element)} needs either Resource or NotResource.")
    try:
        condition = conditions.parse(element.get("Condition", {}))
    except conditions.UnsupportedOperator as error:
        raise UnsupportedPolicy(str(error)) from error
    return Statement(
        denies=element["Effect"] == "Deny",
        actions=_patterns(element, "Action", ignore_case=True),
        except_actions=_patterns(element, "NotAction", ignore_case=True),
        resources=_patterns(element, "Resource"),
        except_resources=_patterns(element, "NotResource"),
        principals=_principals(element.get("Principal")),
        condition=condition,
    )


def _patterns(
    element: dict[str, Any], name: str, ignore_case: bool = False
) -> tuple[re.Pattern[str], ...] | None:
    if name not in element:
        return None
    texts = _listed(element[name])
    if "Resource" in name:
        texts = [_complete(text) for text in texts]
    return tuple(pattern(text, ignore_case) for text in texts)


def _complete(arn: str) -> str:
    """Return an ARN with `*` for its missing fields, as IAM completes it in a policy."""
    missing = _ARN_FIELDS - len(arn.split(":"))
    return arn + ":*" * missing if arn.startswith("arn:") else arn


def _selects(
    included: tuple[re.Pattern[str], ...] | None, excluded: tuple[re.Pattern[str], ...] | None, value: str
) -> bool:
    if included is not None and not any(one.fullmatch(value) for one in included):
        return False
    return excluded is None or not any(one.fullmatch(value) for one in excluded)


def _principals(element: Any) -> tuple[tuple[str, str], ...]:
    if element is None:
        return ()
    if element == "*":
        return (("*", "*"),)
    return tuple((kind, name) for kind, names in element.items() for name in _listed(names))


def _names(principals: tuple[tuple[str, str], ...], wanted: tuple[str, str]) -> bool:
    kind, name = wanted
    account = name.split(":")[4] if name.startswith("arn:") else ""
    accepted = {(kind, name), (kind, "*"), ("*", "*")}
    if kind == "AWS" and account:  # the account or its root means every principal of the account
        accepted |= {(kind, account), (kind, f"arn:aws:iam::{account}:root")}
    return any(one in accepted for one in principals)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
