"""Roles after a restart, when moto's IAM is empty until the next deployment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.iam.models import IAMBackend, iam_backends

from local.aws.authorization import record, sessions
from local.aws.authorization.policies import Call, Decision
from local.aws.authorization.roles import open_roles
from local.aws.authorization.sessions import AccessDenied, CannotAssumeRole
from local.aws.settings import ACCOUNT_ID, Settings

ARN = f"arn:aws:iam::{ACCOUNT_ID}:role/firehose"
SERVICE = "firehose.amazonaws.com"
WRITE = Call("s3:PutObject", "arn:aws:s3:::bucket/key")


def document(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def start(state: Path) -> IAMBackend:
    """Start as the AWS process does, with an empty IAM."""
    settings = Settings(1, 2, state, state)
    sessions.install(open_roles(settings))
    record.install(settings)
    backend: IAMBackend = iam_backends[ACCOUNT_ID]["aws"]
    backend.reset()
    return backend


def create_role(iam: IAMBackend, *statements: dict[str, object]) -> None:
    trust = document({"Effect": "Allow", "Principal": {"Service": SERVICE}, "Action": "sts:AssumeRole"})
    iam.create_role("firehose", trust, "/", None, "", [], "3600")
    if statements:
        iam.put_role_policy("firehose", "own", document(*statements))


@pytest.fixture(autouse=True)
def _empty_iam() -> Iterator[None]:
    yield
    iam_backends[ACCOUNT_ID]["aws"].reset()


def test_a_role_that_was_assumed_keeps_its_policies_until_it_is_created_again(tmp_path: Path) -> None:
    create_role(start(tmp_path), {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"})
    sessions.assume(ARN, SERVICE, "s").require(WRITE)
    iam = start(tmp_path)
    session = sessions.assume(ARN, SERVICE, "s")
    session.require(WRITE)
    with pytest.raises(AccessDenied, match="s3:GetObject on resource"):
        session.require(Call("s3:GetObject", WRITE.resource))
    create_role(iam)
    with pytest.raises(AccessDenied, match="no identity-based policy allows"):
        session.require(WRITE)
    iam.delete_role("firehose")
    with pytest.raises(CannotAssumeRole, match="AssumeRolePolicyDocument"):
        sessions.assume(ARN, SERVICE, "s")


def test_a_role_that_nobody_assumed_does_not_survive(tmp_path: Path) -> None:
    create_role(start(tmp_path))
    start(tmp_path)
    with pytest.raises(CannotAssumeRole):
        sessions.assume(ARN, SERVICE, "s")


def test_the_record_has_one_line_per_role_action_and_matching_statements(tmp_path: Path) -> None:
    create_role(start(tmp_path), {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"})
    session = sessions.assume(ARN, SERVICE, "recorded")
    for key in ("a", "b"):
        session.require(Call("s3:PutObject", f"arn:aws:s3:::bucket/{key}"))
        with pytest.raises(AccessDenied):
            session.require(Call("s3:DeleteObject", f"arn:aws:s3:::bucket/{key}"))
    lines = [json.loads(line) for line in (tmp_path / "logs" / record.FILE).read_text().splitlines()]
    assert [(line["action"], line["decision"]) for line in lines] == [
        ("s3:PutObject", Decision.ALLOWED.value),
        ("s3:DeleteObject", Decision.NOT_ALLOWED.value),
    ]
