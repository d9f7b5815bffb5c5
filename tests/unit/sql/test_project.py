import re
from pathlib import Path

import pytest
import yaml

from deploy.lambdas import LAMBDAS
from functions.platform.warehouse import Credentials
from sql.setup.apply import PLACEHOLDER, UnsafeParameter, parameters, render, rendered

SQL = Path(__file__).resolve().parents[3] / "sql"
MODELS = sorted((SQL / "models").rglob("*.sql"))
CREDENTIALS = Credentials(
    "acme", "TUGBOAT_PIPELINE", "key", "TUGBOAT_DEV_PIPELINE", "TUGBOAT_DEV", "TUGBOAT_DEV"
)
VALUES = parameters(
    CREDENTIALS,
    "dev",
    "123456789012",
    "arn:aws:iam::123456789012:role/tugboat-dev-snowflake",
    warehouse_size="SMALL",
    step_warehouse_sizes={"transform": "LARGE", "validate": "shared", "export": "shared"},
    statement_timeout_seconds=840,
    credits_per_month=70,
    reader_credits_per_month=30,
    snowpipe=True,
)
# The roles that may execute what the file does.
ROLES = {
    "1_database.sql": ["SYSADMIN"],
    "2_raw.sql": ["SYSADMIN"],
    "3_stages.sql": ["ACCOUNTADMIN", "SYSADMIN"],
    "4_roles.sql": ["SECURITYADMIN"],
    "5_limits.sql": ["ACCOUNTADMIN"],
    "6_pipe.sql": ["SYSADMIN", "SECURITYADMIN"],
}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.stem)
def test_every_model_states_its_grain_and_has_tests(model: Path) -> None:
    described = yaml.safe_load(model.with_suffix(".yml").read_text())["models"][0]
    assert described["name"] == model.stem
    assert described["description"].strip().startswith("Grain: one ")
    assert any(column.get("data_tests") for column in described["columns"])


@pytest.mark.parametrize("file", sorted((SQL / "setup").glob("*.sql")), ids=lambda file: file.name)
def test_setup_renders_completely_and_is_safe_to_run_again(file: Path) -> None:
    rendered = render(file.read_text(), VALUES)
    assert "{{" not in rendered
    for created in re.findall(r"^create .*", rendered, re.MULTILINE):
        assert "if not exists" in created


def test_each_file_starts_with_the_role_that_it_needs() -> None:
    found = {
        name: re.findall(r"^use role (\w+);", sql, re.MULTILINE) for name, sql in rendered(VALUES).items()
    }
    assert found == ROLES
    for sql in rendered(VALUES).values():
        first = re.search(r"^(?!--)\S.*", sql, re.MULTILINE)
        assert first
        assert first[0].startswith("use role ")


def test_no_statement_outlives_its_lambda_for_long() -> None:
    sql = rendered(VALUES)["1_database.sql"]
    timeouts = [int(found) for found in re.findall(r"statement_timeout_in_seconds = (\d+)", sql)]
    limits = [one.timeout_s for one in LAMBDAS if one.layer == "warehouse"]
    assert len(timeouts) == 5, "of the pipeline, of three steps, and of the readers"
    assert max(timeouts) < min(limits)
    assert "alter user TUGBOAT_PIPELINE set abort_detached_query = true" in rendered(VALUES)["5_limits.sql"]


def test_every_warehouse_has_a_size_and_a_quota_that_change_with_the_stage() -> None:
    setup, limits = rendered(VALUES)["1_database.sql"], rendered(VALUES)["5_limits.sql"]
    assert "alter warehouse TUGBOAT_DEV set\n    warehouse_size = 'SMALL'" in setup
    for warehouse, quota in (("TUGBOAT_DEV", 70), ("TUGBOAT_DEV_READERS", 30)):
        assert f"alter resource monitor {warehouse} set credit_quota = {quota};" in limits
        assert f"alter warehouse {warehouse} set resource_monitor = {warehouse};" in limits


def test_a_step_with_a_size_has_a_warehouse_of_its_own_under_the_same_quota() -> None:
    setup, limits = rendered(VALUES)["1_database.sql"], rendered(VALUES)["5_limits.sql"]
    assert "alter warehouse TUGBOAT_DEV_TRANSFORM set\n    warehouse_size = 'LARGE'" in setup
    assert "alter warehouse TUGBOAT_DEV_TRANSFORM set resource_monitor = TUGBOAT_DEV;" in limits
    assert "_VALIDATE" not in setup + limits, "a step that shares the warehouse creates none"
    assert setup.count("alter warehouse TUGBOAT_DEV set\n    warehouse_size = 'SMALL'") == 3
    granted = re.findall(
        r"on warehouse (\w+) to role TUGBOAT_DEV_TRANSFORMER", rendered(VALUES)["4_roles.sql"]
    )
    assert granted == ["TUGBOAT_DEV_TRANSFORM", "TUGBOAT_DEV", "TUGBOAT_DEV"]


def test_the_teardown_drops_the_warehouses_that_steps_had_at_any_time() -> None:
    teardown = render((SQL / "teardown.sql").read_text(), VALUES)
    login = Credentials("a", "U", "key", "R", VALUES["warehouse"], "D")
    for step in ("transform", "validate", "export"):
        assert f"drop warehouse if exists {login.step_warehouse(step)};" in teardown


def test_readers_cannot_use_the_pipelines_warehouse() -> None:
    granted = re.findall(r"on warehouse (\w+) to role (\w+)", rendered(VALUES)["4_roles.sql"])
    assert [warehouse for warehouse, role in granted if role.endswith("_READER")] == ["TUGBOAT_DEV_READERS"]


def test_nothing_is_replaced_that_carries_trust_or_grants() -> None:
    for sql in rendered(VALUES).values():
        statements = "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
        assert "create or replace" not in statements
    stages = rendered(VALUES)["3_stages.sql"]
    assert re.findall(r"^alter (stage|storage integration) (\S+) set$", stages, re.MULTILINE) == [
        ("storage integration", "TUGBOAT_DEV_S3"),
        ("stage", "TUGBOAT_DEV.RAW.EVENT_FILES"),
        ("stage", "TUGBOAT_DEV.RAW.CATALOGUE_FILES"),
        ("stage", "TUGBOAT_DEV.TRAINING.EXPORTS"),
        ("stage", "TUGBOAT_DEV.TRAINING.BATCH"),
    ]


@pytest.mark.parametrize("table", ["EVENTS", "CATALOGUE"])
def test_no_role_may_change_raw_rows_and_only_an_erasure_may_delete_them(table: str) -> None:
    roles = (SQL / "setup" / "4_roles.sql").read_text()
    granted = re.findall(rf"^grant (.*) on table .*RAW\.{table} to role (.*);", roles, re.MULTILINE)
    given = {(one, role.rpartition("_")[2]) for privileges, role in granted for one in privileges.split(", ")}
    assert {one for one, role in given if role != "ERASER"} == {"select", "insert"}
    assert {one for one, role in given if role == "ERASER"} <= {"select", "insert", "delete"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database", "X; drop database Y"),
        ("role", "R'"),
        ("user", ""),
        ("events_bucket", "b/raw/') --"),
        ("storage_role_arn", "arn:aws:iam::1:user/x"),
        ("warehouse_size", "'X'"),
        ("credits_per_month", "1; drop"),
    ],
)
def test_a_value_that_could_end_its_identifier_is_refused(name: str, value: str) -> None:
    with pytest.raises(UnsafeParameter, match=name):
        render("{{ " + name + " }}", VALUES | {name: value})


def test_every_placeholder_of_the_setup_is_a_parameter() -> None:
    files = [*(SQL / "setup").glob("*.sql"), SQL / "reader.sql"]
    used = {name for file in files for name in PLACEHOLDER.findall(file.read_text())}
    assert used == set(VALUES)
