"""Checks of Snowflake's logins, with a connection that answers as Snowflake does."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from snowflake.connector.errors import DatabaseError

from deploy.preflight import snowflake
from deploy.preflight.finding import Finding
from deploy.stages import read_stage
from functions.platform import warehouse

DEV = read_stage("dev")
LOGIN = {
    "account": "org-acc", "user": "TUGBOAT_PIPELINE", "private_key_pem": "pem", "role": "TUGBOAT_DEV",
    "warehouse": "TUGBOAT_DEV", "database": "TUGBOAT_DEV",
}  # fmt: skip
ADMIN = LOGIN | {"user": "ADA", "role": "ACCOUNTADMIN"}


class _Account:
    """A Snowflake account in one region. A user without a role has none in its session."""

    def __init__(
        self, region: str = "AWS_US_EAST_1", error: Exception | None = None, role: bool = True
    ) -> None:
        self.region, self.error, self.role = region, error, role

    @contextlib.contextmanager
    def connect(self, login: warehouse.Credentials) -> Iterator[Any]:
        if self.error:
            raise self.error
        self.login = login
        yield self

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Any]:
        yield self

    def execute(self, sql: str, parameters: Any) -> Any:
        assert sql == "select current_region(), current_user(), current_role()"
        return self

    def fetchall(self) -> list[tuple[Any, ...]]:
        return [(self.region, self.login.user, self.login.role if self.role else None)]


def _found(
    account: _Account, login: dict[str, str] | None = LOGIN, admin: dict[str, str] | None = ADMIN
) -> list[Finding]:
    secrets = boto3.client(
        "secretsmanager", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(secrets) as stub:
        for name, fields in ((DEV.secret_name, login), (f"{DEV.secret_name}-admin", admin)):
            if fields is None:
                stub.add_client_error("get_secret_value", "ResourceNotFoundException", "no such secret")
            else:
                stub.add_response(
                    "get_secret_value", {"SecretString": json.dumps(fields)}, {"SecretId": name}
                )
        return list(snowflake.check_snowflake(DEV, secrets, account.connect))


def test_two_good_logins_pass() -> None:
    assert [one.outcome for one in _found(_Account())] == ["passed", "passed"]


def test_an_organisation_with_groups_of_regions_passes_too() -> None:
    assert [one.outcome for one in _found(_Account("PUBLIC.AWS_US_EAST_1"))] == ["passed", "passed"]


@pytest.mark.parametrize("region", ["AWS_EU_WEST_1", "AZURE_WESTEUROPE", "PUBLIC.GCP_US_EAST4"])
def test_an_account_of_another_region_is_a_warning(region: str) -> None:
    assert [one.outcome for one in _found(_Account(region))] == ["passed", "warning", "passed"]


def test_a_missing_secret_fails_and_names_it() -> None:
    (found,) = _found(_Account(), login=None)
    assert found.outcome == "failed"
    assert "tugboat/dev/snowflake" in found.fix


def test_a_missing_admin_secret_is_a_warning() -> None:
    login, admin = _found(_Account(), admin=None)
    assert (login.outcome, admin.outcome) == ("passed", "warning")
    assert "tugboat/dev/snowflake-admin" in admin.fix


def test_an_admin_secret_with_the_pipelines_role_fails() -> None:
    assert _found(_Account(), admin=LOGIN)[1].outcome == "failed"


def test_an_incomplete_secret_fails_with_the_missing_fields() -> None:
    (found,) = _found(_Account(), login={"account": "org-acc"})
    assert found.outcome == "failed"
    assert "private_key_pem" in found.found


def test_a_refused_login_fails_and_names_what_to_check() -> None:
    (found,) = _found(_Account(error=DatabaseError(msg="JWT token is invalid.", errno=390144)))
    assert found.outcome == "failed"
    assert "JWT token is invalid" in found.found
    assert "RSA_PUBLIC_KEY" in found.fix


def test_a_user_without_the_role_fails_with_the_grant() -> None:
    (found,) = _found(_Account(role=False))
    assert found.fix == "grant role TUGBOAT_DEV to user TUGBOAT_PIPELINE"
