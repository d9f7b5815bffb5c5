"""The setup of Snowflake and its trust, against a fake that knows owners and grants.

tests/integration/deploy/test_snowflake_access.py runs the same on a local stack.
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import pytest
import sqlglot
from botocore.exceptions import ClientError
from snowflake.connector.util_text import split_statements

from deploy import warehouse_setup
from deploy.stages import Stage, read_stage
from functions.platform import warehouse
from functions.platform.errors import WarehouseUnavailable
from local.warehouse.access import privileges, statements
from local.warehouse.access.account import ACCOUNTADMIN, Account, Thing
from local.warehouse.access.privileges import Session

STAGE = replace(read_stage("dev"), account_id="123456789012")
PIPELINE = warehouse.Credentials("acme", "PIPELINE", "key", "TUGBOAT_DEV", "TUGBOAT_DEV", "TUGBOAT_DEV")
ADMIN = replace(PIPELINE, user="ADMIN", role=ACCOUNTADMIN)


class Secrets:
    """Secrets Manager with the logins of a stage."""

    def __init__(self, admin: bool) -> None:
        self.logins = {STAGE.secret_name: PIPELINE}
        if admin:
            self.logins[STAGE.admin_secret_name] = ADMIN

    def get_secret_value(self, SecretId: str) -> dict[str, str]:
        if SecretId not in self.logins:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSecretValue")
        return {"SecretString": json.dumps(asdict(self.logins[SecretId]))}


class Connection:
    """A connection to a fake Snowflake, which checks statements and executes those about the account."""

    def __init__(self, account: Account, login: warehouse.Credentials) -> None:
        self._account = account
        self._session = Session(login.user, login.role, login.warehouse, login.database, "PUBLIC")
        self._rows: list[tuple[Any, ...]] = []

    def cursor(self) -> "Connection":
        return self

    def execute(self, sql: str) -> "Connection":
        if statements.is_account_statement(sql):
            self._rows = statements.execute(sql, self._session, self._account).rows
            return self
        tree = sqlglot.parse_one(sql, read="snowflake")
        self._account.require(self._session.role, privileges.needs(tree, self._session, self._account))
        if effect := privileges.effects(tree, self._session, self._account):
            effect(self._account)
        return self

    def execute_string(self, sql: str, remove_comments: bool) -> None:
        for statement, _ in split_statements(io.StringIO(sql), remove_comments=remove_comments):
            if statement and statement.strip():
                self.execute(statement)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    account = Account()
    for user, role in ((PIPELINE.user, "PUBLIC"), (ADMIN.user, ACCOUNTADMIN)):
        account.create(Thing("USER", user), ACCOUNTADMIN)
        account.parents[Thing("USER", user)].add(role)

    @contextmanager
    def connect(login: warehouse.Credentials) -> Iterator[Connection]:
        if not account.user_has_role(login.user, login.role):
            raise WarehouseUnavailable(f"Role '{login.role}' specified in the connect string does not exist.")
        yield Connection(account, login)

    monkeypatch.setattr(warehouse, "connect", connect)
    return account


def set_up(admin: bool, stage: Stage = STAGE) -> str:
    """Run the setup; return its line of progress."""
    said: list[str] = []
    warehouse_setup.set_up(stage, "123456789012", Secrets(admin), said.append)
    return said[0]


def test_an_administrator_sets_up_and_later_deployments_need_none(account: Account) -> None:
    with pytest.raises(warehouse_setup.SetUpError, match="tugboat/dev/snowflake-admin"):
        set_up(admin=False)
    assert "applied 1_database.sql" in set_up(admin=True)
    assert "unchanged, there is no secret tugboat/dev/snowflake-admin" in set_up(admin=False)
    assert account.objects[Thing("TABLE", "TUGBOAT_DEV.RAW.EVENTS")].owner == "SYSADMIN"
    assert account.objects[Thing("INTEGRATION", "TUGBOAT_DEV_S3")].owner == ACCOUNTADMIN
    assert account.objects[Thing("ROLE", "TUGBOAT_DEV_LOADER")].owner == "SECURITYADMIN"


def test_a_step_s_own_warehouse_that_does_not_exist_stops_a_deployment_without_administrator() -> None:
    set_up(admin=True)
    stage = replace(STAGE, transform_warehouse_size="LARGE")
    with pytest.raises(warehouse_setup.SetUpError, match="finds no warehouse TUGBOAT_DEV_TRANSFORM"):
        set_up(False, stage)
    set_up(True, stage)
    assert "unchanged" in set_up(False, stage)


def test_a_changed_size_and_quota_take_effect(account: Account) -> None:
    set_up(admin=True)
    set_up(True, replace(STAGE, warehouse_size="LARGE", warehouse_credits_per_month=9))
    assert account.objects[Thing("WAREHOUSE", "TUGBOAT_DEV")].properties["WAREHOUSE_SIZE"] == "LARGE"
    assert account.objects[Thing("RESOURCE MONITOR", "TUGBOAT_DEV")].properties["CREDIT_QUOTA"] == "9"


def test_a_login_without_accountadmin_is_refused_with_the_next_step(account: Account) -> None:
    account.parents[Thing("USER", ADMIN.user)] = {"SYSADMIN"}
    with pytest.raises(warehouse_setup.SetUpError, match="Check account, host, role and key"):
        set_up(admin=True)


def test_both_logins_read_the_same_trust() -> None:
    set_up(admin=True)
    trusted = warehouse_setup.trust_parameters(STAGE, Secrets(admin=True))
    assert trusted["SnowflakeUserArn"].startswith("arn:aws:iam::")
    assert trusted["SnowflakeExternalId"]
    assert warehouse_setup.trust_parameters(STAGE, Secrets(admin=False)) == trusted


def test_an_integration_that_nobody_may_describe_stops_the_deployment(account: Account) -> None:
    set_up(admin=True)
    account.objects[Thing("INTEGRATION", "TUGBOAT_DEV_S3")].grants.clear()
    assert warehouse_setup.trust_parameters(STAGE, Secrets(admin=True))
    with pytest.raises(warehouse_setup.SetUpError, match="cannot describe the integration TUGBOAT_DEV_S3"):
        warehouse_setup.trust_parameters(STAGE, Secrets(admin=False))


def test_a_trust_that_is_written_down_is_not_asked_for() -> None:
    stage = replace(STAGE, snowflake_user_arn="arn:aws:iam::1:user/x", snowflake_external_id="id")
    assert warehouse_setup.trust_parameters(stage, Secrets(admin=False)) == {
        "SnowflakeUserArn": "arn:aws:iam::1:user/x",
        "SnowflakeExternalId": "id",
    }
