"""Snowflake's access control, without a server: each rule once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlglot
from snowflake.connector.errors import ProgrammingError

from local.warehouse.access import privileges, statements
from local.warehouse.access.account import ACCOUNTADMIN, Account, Thing
from local.warehouse.access.keys import first_users
from local.warehouse.access.privileges import Session
from local.warehouse.store import StateOutdated, Store

SET_UP = """
use role SYSADMIN
create database D
create schema D.S
create table D.S.T (a int)
create view D.S.V as select a from D.S.T
create warehouse W
use role SECURITYADMIN
create role R
grant usage on database D to role R
grant usage on schema D.S to role R
grant usage on warehouse W to role R
"""


class Snowflake:
    """An account, and a session of a user with every role that a test uses."""

    def __init__(self, account: Account | None = None) -> None:
        self.account = account or Account()
        self.account.create(Thing("USER", "U"), ACCOUNTADMIN)
        self.account.parents[Thing("USER", "U")] = {ACCOUNTADMIN}
        self.session = Session("U", ACCOUNTADMIN)
        for sql in SET_UP.strip().splitlines():
            self.run(sql)
        self.account.parents[Thing("USER", "U")].add("R")

    def run(self, sql: str, role: str = "", temporary: bool = False) -> statements.Result | None:
        """Execute one statement, under a role."""
        if role:
            self.session.role = role
        if statements.is_account_statement(sql):
            return statements.execute(sql, self.session, self.account)
        tree = sqlglot.parse_one(sql, read="snowflake")
        self.account.require(self.session.role, privileges.needs(tree, self.session, self.account, temporary))
        if effect := privileges.effects(tree, self.session, self.account):
            effect(self.account)
        return None

    def refused(self, sql: str, role: str) -> int | None:
        """Return the number of the error with which a statement is refused."""
        with pytest.raises(ProgrammingError) as error:
            self.run(sql, role)
        return error.value.errno


def external_id(described: statements.Result | None) -> str:
    """Return the external id in the result of DESC INTEGRATION."""
    assert described
    return str(next(row[2] for row in described.rows if row[0] == "STORAGE_AWS_EXTERNAL_ID"))


@pytest.fixture
def snowflake() -> Snowflake:
    return Snowflake()


def test_an_object_without_any_privilege_does_not_exist(snowflake: Snowflake) -> None:
    assert snowflake.refused("select a from D.S.T", "R") == 2003
    assert snowflake.refused("select a from D.S.NOWHERE", "R") == 2003


def test_one_privilege_is_not_another(snowflake: Snowflake) -> None:
    snowflake.run("grant select on table D.S.T to role R", "SECURITYADMIN")
    snowflake.run("select a from D.S.T", "R")
    for sql in (
        "insert into D.S.T values (1)",
        "update D.S.T set a = 1",
        "delete from D.S.T",
        "truncate table D.S.T",
        "alter table D.S.T rename to D.S.U",
        "drop table D.S.T",
    ):
        assert snowflake.refused(sql, "R") == 3001


def test_a_table_needs_usage_of_its_database_and_schema(snowflake: Snowflake) -> None:
    snowflake.run("grant select on table D.S.T to role R", "SECURITYADMIN")
    for kind, name in (("schema", "D.S"), ("database", "D")):
        snowflake.run(f"revoke usage on {kind} {name} from role R", "SECURITYADMIN")
        assert snowflake.refused("select a from D.S.T", "R") == 2003
        snowflake.run(f"grant usage on {kind} {name} to role R", "SECURITYADMIN")


def test_a_query_needs_a_warehouse_that_the_role_may_use(snowflake: Snowflake) -> None:
    snowflake.run("grant select on table D.S.T to role R", "SECURITYADMIN")
    snowflake.run("revoke usage on warehouse W from role R")
    assert snowflake.refused("select a from D.S.T", "R") == 606
    assert snowflake.refused("use warehouse W", "R") == 2003


@pytest.mark.parametrize(
    "sql",
    [
        "insert into D.S.T select a from D.S.V",
        "merge into D.S.T as t using D.S.V as v on t.a = v.a when matched then delete",
        "with x as (select a from D.S.V) select a from x",
        "select a from D.S.T where a in (select a from D.S.V)",
        "create or replace table D.S.N as (select a from D.S.V)",
        "describe table D.S.V",
    ],
)
def test_every_relation_of_a_statement_is_checked(snowflake: Snowflake, sql: str) -> None:
    for grant in ("select, insert, delete on table D.S.T", "create table on schema D.S"):
        snowflake.run(f"grant {grant} to role R", "SECURITYADMIN")
    assert snowflake.refused(sql, "R") == 2003
    snowflake.run("grant select on view D.S.V to role R", "SECURITYADMIN")
    snowflake.run(sql, "R")


def test_a_name_of_a_common_table_expression_hides_no_table(snowflake: Snowflake) -> None:
    snowflake.session.database, snowflake.session.schema = "D", "S"
    snowflake.run("with T as (select 1 as a) select a from T", "R")
    assert snowflake.refused("with T as (select 1 as a) select a from S.T", "R") == 2003


def test_a_replaced_table_has_the_grants_of_the_future_only(snowflake: Snowflake) -> None:
    snowflake.run("grant select on table D.S.T to role R", "SECURITYADMIN")
    snowflake.run("create or replace table D.S.T (a int)", "SYSADMIN")
    assert snowflake.refused("select a from D.S.T", "R") == 2003
    snowflake.run("grant select on future tables in schema D.S to role R", "SECURITYADMIN")
    assert snowflake.refused("select a from D.S.T", "R") == 2003
    snowflake.run("create or replace table D.S.T (a int)", "SYSADMIN")
    snowflake.run("select a from D.S.T", "R")


def test_only_the_owner_replaces_and_a_role_owns_what_it_creates(snowflake: Snowflake) -> None:
    snowflake.run("grant create table on schema D.S to role R", "SECURITYADMIN")
    assert snowflake.refused("create or replace table D.S.T (a int)", "R") == 2003
    snowflake.run("create table D.S.MINE (a int)", "R")
    snowflake.run("insert into D.S.MINE values (1)", "R")
    assert snowflake.refused("select a from D.S.MINE", "SYSADMIN") == 2003
    snowflake.run("grant role R to role SYSADMIN", "SECURITYADMIN")
    snowflake.run("select a from D.S.MINE", "SYSADMIN")


def test_a_temporary_table_needs_no_create_table(snowflake: Snowflake) -> None:
    assert snowflake.refused("create table D.S.N (a int)", "R") == 3001
    snowflake.run("create temporary table D.S.N (a int)", "R")
    snowflake.run("create transient table D.S.M (a int)", "R", temporary=True)


@pytest.mark.parametrize(
    ("sql", "role"),
    [
        ("create database N", "SECURITYADMIN"),
        ("create warehouse N", "SECURITYADMIN"),
        ("create role N", "SYSADMIN"),
        ("create user N", "SYSADMIN"),
        ("create storage integration N type = external_stage", "SYSADMIN"),
        ("create resource monitor N with credit_quota = 1", "SYSADMIN"),
        ("alter warehouse W set resource_monitor = M", "SYSADMIN"),
        ("grant usage on warehouse W to role PUBLIC", "R"),
        ("grant role R to role PUBLIC", "R"),
    ],
)
def test_account_objects_belong_to_the_system_roles(snowflake: Snowflake, sql: str, role: str) -> None:
    snowflake.run("create resource monitor M with credit_quota = 1", ACCOUNTADMIN)
    assert snowflake.refused(sql, role) == 3001


def test_a_role_is_used_only_by_those_who_have_it(snowflake: Snowflake) -> None:
    snowflake.run("use role R")
    snowflake.run("create role OTHER", "USERADMIN")
    assert snowflake.refused("use role OTHER", ACCOUNTADMIN) == 3013
    snowflake.run("grant role OTHER to role R", "USERADMIN")
    snowflake.run("use role OTHER")


def test_an_integration_is_described_by_its_owner_and_by_roles_with_usage(snowflake: Snowflake) -> None:
    snowflake.run(
        "create storage integration I type = external_stage storage_aws_role_arn = 'arn'", ACCOUNTADMIN
    )
    assert snowflake.refused("desc integration I", "R") == 2003
    before = snowflake.run("desc integration I", ACCOUNTADMIN)
    snowflake.run("grant usage on integration I to role R", ACCOUNTADMIN)
    assert snowflake.run("desc integration I", "R") == before
    snowflake.run("alter storage integration I set storage_aws_role_arn = 'other'", ACCOUNTADMIN)
    altered = snowflake.run("desc integration I", "R")
    snowflake.run("create or replace storage integration I type = external_stage", ACCOUNTADMIN)
    replaced = snowflake.run("desc integration I", ACCOUNTADMIN)
    assert external_id(before) == external_id(altered) != external_id(replaced)


def test_a_stage_needs_usage_of_its_integration_and_a_location_that_it_allows(snowflake: Snowflake) -> None:
    snowflake.run(
        "create storage integration I type = external_stage storage_allowed_locations = ('s3://b/raw/')",
        ACCOUNTADMIN,
    )
    create = "create stage D.S.F url = 's3://b/raw/' storage_integration = I"
    assert snowflake.refused(create, "SYSADMIN") == 2003
    snowflake.run("grant usage on integration I to role SYSADMIN", ACCOUNTADMIN)
    snowflake.run(create, "SYSADMIN")
    assert snowflake.refused("alter stage D.S.F set url = 's3://other/raw/'", "SYSADMIN") == 1420


@pytest.mark.parametrize(
    "sql",
    [
        "alter warehouse W set abort_detached_query = true",  # a parameter of users and sessions
        "alter warehouse W set warehouse_size = 'HUGE'",
        "alter user U set rsa_public_key_2 = 'no key'",
        "grant usage on table D.S.T to role R",
        "grant select on warehouse W to role R",
        "use secondary roles all",
    ],
)
def test_what_snowflake_cannot_compile_is_refused(snowflake: Snowflake, sql: str) -> None:
    assert snowflake.refused(sql, ACCOUNTADMIN) == 1420


def test_a_stranger_may_not_change_a_user(snowflake: Snowflake) -> None:
    assert snowflake.refused("alter user U unset rsa_public_key", "R") == 2003
    assert snowflake.run("desc user U", "R") is not None  # oneself


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    first = Snowflake(Account(file))
    first_users(first.account, tmp_path, {"SERVICE": "R"})
    first.run("grant select on table D.S.T to role R", "SECURITYADMIN")
    first.run("grant select on future tables in schema D.S to role R", "SECURITYADMIN")
    second = Account(file)
    assert (second.objects, second.future, second.parents) == (
        first.account.objects,
        first.account.future,
        first.account.parents,
    )


def test_databases_without_owners_are_refused(tmp_path: Path) -> None:
    (tmp_path / "TUGBOAT.db").touch()
    with pytest.raises(StateOutdated, match="delete that folder"):
        Store(tmp_path)


def test_the_file_has_every_change_of_an_account(tmp_path: Path) -> None:
    account = Account(tmp_path / "account.json")
    table, view = Thing("TABLE", "D.S.T"), Thing("VIEW", "D.S.T")
    account.create(Thing("ROLE", "READER"), "SECURITYADMIN")
    account.create(Thing("DATABASE", "D"), "SYSADMIN")
    account.create(Thing("SCHEMA", "D.S"), "SYSADMIN")
    steps: list[Callable[[], object]] = [
        lambda: account.create(table, "A"),
        lambda: statements.execute("grant select on table D.S.T to role READER", Session("U", ACCOUNTADMIN), account),
        lambda: account.create(view, "B", replace=True),
        lambda: account.create(table, "C", {"COMMENT": "x"}, replace=True),
        lambda: account.rename(table, "D.S.U"),
        lambda: account.create(table, "E"),
        lambda: statements.execute("grant select on table D.S.U to role READER", Session("U", ACCOUNTADMIN), account),
        lambda: account.drop(Thing("ROLE", "READER")),
        lambda: account.drop(Thing("SCHEMA", "D.S")),
        lambda: account.create(table, "F"),
    ]  # fmt: skip
    for step in steps:
        step()
        kept = Account(tmp_path / "account.json")
        assert (kept.objects, kept.parents, kept.future) == (account.objects, account.parents, account.future)
