"""The evaluation of policies: examples of AWS's documentation, and properties that hold for all policies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.aws.authorization import conditions, policies
from local.aws.authorization.policies import Call, Decision, Policy, UnsupportedPolicy, decide, parse, trusts

BUCKET = "arn:aws:s3:::models"


def policy(*statements: dict[str, Any]) -> Policy:
    return parse(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def allowed(statement: dict[str, Any], call: Call) -> bool:
    return decide([policy(statement)], call) is Decision.ALLOWED


@pytest.mark.parametrize(
    ("statement", "call", "expected"),
    [
        (allow("s3:GetObject", f"{BUCKET}/a/*"), Call("s3:GetObject", f"{BUCKET}/a/b/c"), True),
        (allow("s3:GetObject", f"{BUCKET}/a/*"), Call("s3:GetObject", f"{BUCKET}/A/b"), False),
        (allow("s3:getobject", "*"), Call("s3:GetObject", BUCKET), True),
        (allow("s3:Get*", "*"), Call("s3:PutObject", BUCKET), False),
        (allow(["s3:PutObject", "s3:G?tObject"]), Call("s3:GetObject", BUCKET), True),
        (allow("s3:GetObject", f"{BUCKET}-??"), Call("s3:GetObject", f"{BUCKET}-xy"), True),
        (allow("s3:GetObject", f"{BUCKET}-??"), Call("s3:GetObject", f"{BUCKET}-xyz"), False),
        (allow("sns:Publish", "arn:aws:sns"), Call("sns:Publish", "arn:aws:sns:us-east-1:1:topic"), True),
        (
            {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},
            Call("iam:PassRole", "arn:aws:iam::1:role/r"),
            False,
        ),
        (
            {"Effect": "Allow", "Action": "s3:*", "NotResource": f"{BUCKET}/secret/*"},
            Call("s3:GetObject", f"{BUCKET}/secret/key"),
            False,
        ),
    ],
)
def test_a_statement_selects_actions_and_resources(
    statement: dict[str, Any], call: Call, expected: bool
) -> None:
    assert allowed(statement, call) is expected


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        ({"StringLike": {"s3:prefix": ["raw/*", "x/*"]}}, {"s3:prefix": "raw/2026"}, True),
        ({"StringLike": {"s3:prefix": "raw/*"}}, {"s3:prefix": "rejected/"}, False),
        ({"StringLike": {"s3:prefix": "raw/*"}}, {}, False),
        ({"StringLikeIfExists": {"s3:prefix": "raw/*"}}, {}, True),
        ({"StringEquals": {"S3:Prefix": "raw/"}}, {"s3:prefix": "raw/"}, True),
        ({"StringEquals": {"s3:prefix": "raw/*"}}, {"s3:prefix": "raw/2026"}, False),
        ({"StringEquals": {"a": "1", "b": "2"}}, {"a": "1"}, False),
        ({"StringEquals": {"a": "1"}, "Bool": {"b": "true"}}, {"a": "1", "b": "false"}, False),
        ({"Bool": {"aws:SecureTransport": False}}, {"aws:SecureTransport": "false"}, True),
        ({"ArnEquals": {"aws:SourceArn": "arn:aws:events:*:1:rule/r-*"}}, {"aws:SourceArn": "arn:aws:events:e:1:rule/r-a"}, True),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:*:rule/r"}}, {"aws:SourceArn": "arn:aws:events:e:1:rule/r"}, False),
    ],
)  # fmt: skip
def test_a_condition_must_hold_as_a_whole(
    condition: dict[str, Any], context: dict[str, str], expected: bool
) -> None:
    assert allowed(allow("s3:ListBucket", Condition=condition), Call("s3:ListBucket", BUCKET, context)) is (
        expected
    )


@pytest.mark.parametrize(
    "statement",
    [
        allow("s3:GetObject", Condition={"NumericLessThan": {"s3:max-keys": "10"}}),
        allow("s3:GetObject", Condition={"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}}),
        allow("s3:GetObject", Condition={"StringLike": {"s3:prefix": "${aws:username}/*"}}),
        allow("s3:GetObject", f"{BUCKET}/${{aws:username}}/*"),
        {"Effect": "Permit", "Action": "*", "Resource": "*"},
        {"Effect": "Allow", "Resource": "*"},
        {"Effect": "Allow", "Action": "*"},
        {"Effect": "Allow", "Action": "*", "Resource": "*", "NotResource": "*"},
        {"Effect": "Allow", "Action": "*", "Resource": "*", "NotPrincipal": "*"},
    ],
)
def test_what_is_not_supported_is_an_error_and_never_an_allowance(statement: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedPolicy):
        policy(statement)


@pytest.mark.parametrize(
    ("statement", "principal", "context", "expected"),
    [
        ({"Principal": {"Service": "lambda.amazonaws.com"}}, ("Service", "lambda.amazonaws.com"), {}, True),
        ({"Principal": {"Service": ["a", "states"]}}, ("Service", "lambda.amazonaws.com"), {}, False),
        ({"Principal": {"AWS": "arn:aws:iam::9:user/s"}}, ("AWS", "arn:aws:iam::9:user/s"), {}, True),
        ({"Principal": {"AWS": "arn:aws:iam::9:root"}}, ("AWS", "arn:aws:iam::9:user/s"), {}, True),
        ({"Principal": {"AWS": "arn:aws:iam::8:root"}}, ("AWS", "arn:aws:iam::9:user/s"), {}, False),
        (
            {"Principal": {"Service": "s"}, "Condition": {"StringEquals": {"sts:ExternalId": "1"}}},
            ("Service", "s"),
            {"sts:externalid": "2"},
            False,
        ),
        ({"Principal": {"Service": "s"}, "Action": "sts:TagSession"}, ("Service", "s"), {}, False),
        ({"Principal": "*", "Effect": "Deny"}, ("Service", "s"), {}, False),
    ],
)
def test_a_trust_policy_names_its_principals(
    statement: dict[str, Any], principal: tuple[str, str], context: dict[str, str], expected: bool
) -> None:
    document = policy({"Effect": "Allow", "Action": "sts:AssumeRole", **statement})
    assert trusts(document, principal, context) is expected


names = st.text(alphabet="ab:/", max_size=5)
patterns = st.text(alphabet="ab:/*?", max_size=6)
calls = st.builds(Call, names, names, st.dictionaries(st.sampled_from(["k", "l"]), names))
statements = st.builds(
    lambda effect, action, resource, condition: {
        "Effect": effect,
        "Action": action,
        "Resource": resource,
        "Condition": condition,
    },
    st.sampled_from(["Allow", "Deny"]),
    st.lists(patterns, min_size=1, max_size=3),
    st.lists(patterns, min_size=1, max_size=3),
    st.just({}) | st.fixed_dictionaries({"StringLike": st.fixed_dictionaries({"k": st.lists(patterns, min_size=1)})}),
)  # fmt: skip
documents = st.lists(statements, max_size=4)


def matches(pattern: str, text: str) -> bool:
    """Compare letter by letter, as wildcards are defined."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return matches(pattern[1:], text) or (bool(text) and matches(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and matches(pattern[1:], text[1:])


@given(patterns, names)
def test_wildcards_are_those_of_the_definition(pattern: str, text: str) -> None:
    assert (conditions.wildcards(pattern).fullmatch(text) is not None) is matches(pattern, text)


@given(documents, calls)
def test_the_decision_is_that_of_the_documented_logic(document: list[dict[str, Any]], call: Call) -> None:
    def applies(statement: dict[str, Any]) -> bool:
        keys = statement["Condition"].get("StringLike", {})
        return (
            any(matches(one, call.action) for one in statement["Action"])
            and any(matches(one, call.resource) for one in statement["Resource"])
            and all(
                key in call.context and any(matches(one, call.context[key]) for one in values)
                for key, values in keys.items()
            )
        )

    effects = {statement["Effect"] for statement in document if applies(statement)}
    expected = (
        Decision.EXPLICITLY_DENIED
        if "Deny" in effects
        else Decision.ALLOWED
        if effects
        else Decision.NOT_ALLOWED
    )
    assert decide([policy(*document)], call) is expected


@given(documents, documents, calls)
def test_statements_in_one_policy_or_in_two_mean_the_same(
    first: list[dict[str, Any]], second: list[dict[str, Any]], call: Call
) -> None:
    assert decide([policy(*first), policy(*second)], call) is decide([policy(*second, *first)], call)


@given(documents, calls)
def test_the_statements_that_allow_are_those_whose_removal_matters(
    document: list[dict[str, Any]], call: Call
) -> None:
    decision, positions = policies.evaluate([policy(*document)], call)
    assert bool(positions) is (decision is Decision.ALLOWED)
    kept = [one for number, one in enumerate(document) if (0, number) not in positions]
    assert decide([policy(*kept)], call) is not Decision.ALLOWED
