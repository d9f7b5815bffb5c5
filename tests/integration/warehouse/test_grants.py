"""Every statement of the pipeline runs under a role that sql/setup grants it to, and no grant is superfluous.

The statements are recorded from one whole run on the local Snowflake. They are then checked again, without a server, against
an account that sql/setup has made without one of its grants.
"""

import functools
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest
import snowflake.connector.cursor
import sqlglot
from botocore.exceptions import ClientError
from snowflake.connector.errors import ProgrammingError
from snowflake.connector.util_text import split_statements
from sqlglot import exp

from deploy import warehouse_setup
from deploy.explain import trace
from deploy.quality.limit import change, listing
from deploy.quality.override import ADD, FAILED
from deploy.quality.steward import ONE_ROLE, Steward
from deploy.stages import read_stage
from functions.erase.erase import erase
from functions.erase.rows import erase_rows
from functions.export.export import export
from functions.load.load import load
from functions.platform import warehouse
from functions.transform.transform import transform
from functions.validate.validate import validate
from local.warehouse.access import keys, privileges, statements
from local.warehouse.access.account import ACCOUNTADMIN, Account, Thing
from local.warehouse.access.privileges import Session
from sql.setup.apply import rendered
from testing.batches import EveryItem, make_batch, model_of, release
from testing.warehouse_stack import ACCOUNT as ACCOUNT_ID
from testing.warehouse_stack import Stack, connected, erase_settings
from tests.integration.warehouse.events import deliver
from tests.integration.warehouse.test_pipeline import golden_events

NAME = "grants"
LOGIN = warehouse.Credentials(
    "local", "TUGBOAT", "key", f"TUGBOAT_{NAME.upper()}", f"TUGBOAT_{NAME.upper()}", f"TUGBOAT_{NAME.upper()}"
)
# With warehouses of their own, each step needs a grant of its own.
SIZES: Any = {
    "transform_warehouse_size": "LARGE",
    "validate_warehouse_size": "SMALL",
    "export_warehouse_size": "SMALL",
}
STAGE = replace(read_stage("local"), name=NAME, **SIZES)
VALUES = warehouse_setup.setup_parameters(STAGE, ACCOUNT_ID, LOGIN)
PREFIX = VALUES["prefix"]
SERVICE = LOGIN.role
EXPLAINER = f"{PREFIX}_EXPLAINER"
STEWARD = f"{PREFIX}_STEWARD"
READERS = VALUES["reader_warehouse"]
MARTS = (
    "CATALOGUE_HISTORY",
    "CLIENT_AFFINITIES",
    "DAILY_FUNNEL",
    "DAILY_KPIS",
    "DAILY_RECOMMENDATIONS",
    "PRODUCTS",
    "RECOMMENDATIONS",
    "RECOMMENDATIONS_BATCH",
    "SESSIONS",
)
READ = [
    *(f"select * from {LOGIN.database}.MARTS.{mart}" for mart in MARTS),
    f"select * from {LOGIN.database}.QA.CHECK_RESULTS",
    f"select * from {LOGIN.database}.QA.LOADS",
    f"select * from {LOGIN.database}.QA.REFUSED_EVENTS",
]


def _split(sql: str) -> list[str]:
    """Return the statements of a file."""
    parts = (part for part, _ in split_statements(io.StringIO(sql), remove_comments=True))
    return [" ".join(part.split()).rstrip(";") for part in parts if part and part.strip()]


@dataclass(frozen=True)
class Statement:
    """One recorded statement and a role that must be able to execute it."""

    sql: str
    role: str
    user: str = LOGIN.user
    warehouse: str = LOGIN.warehouse


@dataclass
class Recorder:
    """The statements that the connector sends, by step."""

    sent: dict[str, list[str]] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Record the statements of one step."""
        kept = self.sent.setdefault(name, [])
        original = snowflake.connector.cursor.SnowflakeCursor._execute_helper

        def execute_helper(cursor: Any, query: str, *args: Any, **kwargs: Any) -> Any:
            kept.append(query)
            return original(cursor, query, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(snowflake.connector.cursor.SnowflakeCursor, "_execute_helper", execute_helper)
            yield


@pytest.fixture(scope="module")
def recorded(new_stack: Any) -> list[Statement]:
    """Run every step on the local Snowflake; return its statements, each with the role of its step."""
    stack: Stack = new_stack(NAME, **SIZES)
    recorder = Recorder()
    patch = pytest.MonkeyPatch()
    for number in (1, 2, 3):
        deliver(stack.s3, stack.settings.events_bucket, str(number), golden_events(number))
        with recorder.step("load", patch), connected(stack) as connection:
            load({"run_id": f"r{number}"}, stack.settings, connection)
        with recorder.step("transform", patch):
            event = {"run_id": f"r{number}", "full_refresh": number == 3}
            transform(event, stack.settings, stack.credentials)
    with recorder.step("validate", patch), connected(stack) as connection:
        validate({"run_id": "r3"}, stack.settings, stack.credentials, connection, stack.s3)
    with recorder.step("export", patch), connected(stack) as connection:
        export({"run_id": "r3"}, stack.settings, connection, stack.s3)
    release(stack.s3, stack.settings.models_bucket, "demo", ["A"])
    with recorder.step("batch", patch), connected(stack) as connection:
        make_batch(stack.s3, stack.settings, connection, "r3", model_of(EveryItem(["A", "B", "C"])))
    settings = erase_settings(stack)
    event = {"client": "k1", "seconds": 600}
    eraser = replace(stack.credentials, role=settings.eraser_role)
    for lambda_ in ("files", "rows", "files", "rows"):
        if lambda_ == "files":
            erase(event, settings, stack.s3, "key")
            continue
        with recorder.step("erase", patch), warehouse.connect(eraser) as connection:
            result = erase_rows(event, settings, connection, stack.s3, "key")
    assert result["phase"] == "snapshots"
    with recorder.step("deploy", patch):
        warehouse_setup.set_up(STAGE, ACCOUNT_ID, PipelineOnly(stack), lambda _: None)
        warehouse_setup.trust_parameters(STAGE, PipelineOnly(stack))
    explaining = replace(stack.credentials, role=EXPLAINER, warehouse=READERS)
    with recorder.step("explain", patch), warehouse.connect(explaining) as connection:
        day = (datetime(2026, 1, 1), datetime(2026, 1, 2))
        warehouse.rows(connection, trace.ONE_ROLE)
        assert warehouse.rows(connection, trace.MART, ("r-1",)) == []
        assert warehouse.rows(connection, trace.NAMING, (*day, "r-1", *day, "r-1")) == []
        assert warehouse.rows(connection, trace.OF_SESSION, (*day, "demo", "s-1")) == []
    deciding = replace(stack.credentials, role=STEWARD, warehouse=READERS)
    with recorder.step("decide", patch), warehouse.connect(deciding) as connection:
        warehouse.rows(connection, ONE_ROLE)
        by = Steward(STAGE, connection, "ann", "arn")
        change(by, "demo", "freshness", "72", "a small shop")
        listing(by, "demo")
        assert warehouse.rows(connection, FAILED, ("r3",)) != []
        warehouse.rows(connection, ADD, ("r3", "demo", "volume", "ann", "arn", "why"))
    roles = {
        "load": f"{PREFIX}_LOADER",
        "erase": f"{PREFIX}_ERASER",
        "deploy": SERVICE,
        "explain": EXPLAINER,
        "decide": STEWARD,
    }
    found = [
        Statement(
            sql,
            roles.get(step, f"{PREFIX}_TRANSFORMER"),
            warehouse=_warehouse(step),
        )
        for step, sent in recorder.sent.items()
        for sql in dict.fromkeys(sent)
    ]
    found += [Statement(sql, f"{PREFIX}_READER", warehouse=READERS) for sql in READ]
    found += [
        Statement(sql, "SYSADMIN") for sql in (*READ, f"select * from {LOGIN.database}.STAGING.STG_EVENTS")
    ]
    found += [
        Statement(f"use role {SERVICE}", "PUBLIC"),
        Statement(f"use role {PREFIX}_ERASER", "PUBLIC"),
        Statement(f"use role {EXPLAINER}", "PUBLIC"),
        Statement(f"use role {STEWARD}", "PUBLIC"),
        Statement(f"use role {PREFIX}_READER", "SYSADMIN", user="HOLDER_OF_SYSADMIN"),
    ]
    return found


def _warehouse(step: str) -> str:
    if step in ("explain", "decide"):
        return READERS
    step = "export" if step == "batch" else step
    return LOGIN.warehouse if step in ("load", "deploy", "erase") else LOGIN.step_warehouse(step)


class PipelineOnly:
    """Secrets Manager without an administrator's login."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def get_secret_value(self, SecretId: str) -> dict[str, str]:
        if SecretId == STAGE.admin_secret_name:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSecretValue")
        return {"SecretString": json.dumps(asdict(self._stack.credentials))}


def test_every_statement_of_a_run_is_granted(recorded: list[Statement]) -> None:
    assert len(recorded) > 150
    assert refused(recorded, without=None) is None


def grants() -> list[str]:
    """Return every grant of sql/setup, one privilege each."""
    found = []
    for sql in rendered(VALUES).values():
        for statement in _split(sql):
            if match := re.fullmatch(r"grant (.+?) on (.+) to role (\w+)", statement):
                found += [f"grant {one} on {match[2]} to role {match[3]}" for one in match[1].split(", ")]
            elif statement.startswith("grant role"):
                found.append(statement)
    return found


@pytest.mark.parametrize("grant", grants())
def test_without_one_grant_a_statement_is_refused(recorded: list[Statement], grant: str) -> None:
    assert refused(recorded, without=grant) is not None, f"superfluous: {grant}"


def refused(recorded: list[Statement], without: str | None) -> str | None:
    """Set an account up without one grant, and return the first statement that is then refused.

    The steps run twice: each under its own role, and all of them under the role of the pipeline.
    """
    as_the_pipeline = [
        replace(one, role=SERVICE) if one.role in (f"{PREFIX}_LOADER", f"{PREFIX}_TRANSFORMER") else one
        for one in recorded
    ]
    for run in (recorded, as_the_pipeline):
        account = Account()
        found = _set_up(account, without) or _replay(account, run)
        if found:
            return found
    return None


def _set_up(account: Account, without: str | None) -> str | None:
    account.create(Thing("USER", LOGIN.user), ACCOUNTADMIN)
    for user, role in ((keys.ADMINISTRATOR, ACCOUNTADMIN), ("HOLDER_OF_SYSADMIN", "SYSADMIN")):
        account.create(Thing("USER", user), ACCOUNTADMIN)
        account.parents[Thing("USER", user)].add(role)
    administrator = Session(keys.ADMINISTRATOR, ACCOUNTADMIN)
    for sql in rendered(VALUES).values():
        for statement in _split(sql):
            for one in _without(statement, without):
                if not _is_granted(one, administrator, account):
                    return f"{administrator.role}: {one}"
    return None


def _replay(account: Account, run: list[Statement]) -> str | None:
    for one in run:
        session = Session(one.user, one.role, one.warehouse, LOGIN.database, "PUBLIC")
        if not _is_granted(one.sql, session, account):
            return f"{one.role}: {one.sql}"
    return None


def _is_granted(sql: str, session: Session, account: Account) -> bool:
    """Check a statement, and keep what it changes. False if it is refused."""
    try:
        if statements.is_account_statement(sql):
            statements.execute(sql, session, account)
            return True
        tree = _parsed(sql)
        account.require(session.role, privileges.needs(tree, session, account))
    except ProgrammingError:
        return False
    if effect := privileges.effects(tree, session, account):
        effect(account)
    return True


def _without(statement: str, grant: str | None) -> list[str]:
    """Return the statement, with its privileges apart and without one of them."""
    match = re.fullmatch(r"grant (.+?) on (.+) to role (\w+)", statement)
    if not match:
        return [] if statement == grant else [statement]
    apart = [f"grant {one} on {match[2]} to role {match[3]}" for one in match[1].split(", ")]
    return [one for one in apart if one != grant]


@functools.cache
def _parsed(sql: str) -> exp.Expr:
    return sqlglot.parse_one(sql, read="snowflake")
