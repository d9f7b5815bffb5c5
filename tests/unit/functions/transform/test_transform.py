import os
from pathlib import Path

import pytest

from functions.platform import dbt
from functions.platform.dbt import DbtFailed, NodeResult
from functions.platform.errors import WarehouseUnavailable
from functions.platform.warehouse import Credentials
from functions.transform import transform

CREDENTIALS = Credentials("acme", "TUGBOAT", "-----KEY-----", "ROLE", "WH", "DB")


def node(name: str, status: str = "success", message: str = "") -> NodeResult:
    return NodeResult(name, name, "model", status, 0.1, 0, message, "", name)


def test_the_failing_model_is_named_with_the_next_step() -> None:
    results = [
        node("stg_events"),
        node("sessions", "error", "column X does not exist"),
        node("kpis", "skipped"),
    ]
    with pytest.raises(DbtFailed, match=r"model sessions failed: column X .* run the pipeline again"):
        transform._raise_first_failure(results)


def test_success_raises_nothing() -> None:
    transform._raise_first_failure([node("stg_events")])


def test_a_lost_connection_is_worth_a_retry() -> None:
    error = dbt._translated("250001: Could not connect to Snowflake backend", "stg_events")
    assert isinstance(error, WarehouseUnavailable)


def test_any_other_failure_is_not() -> None:
    assert isinstance(dbt._translated("Compilation Error", "dbt stopped"), DbtFailed)


def test_the_project_is_found_beside_the_functions() -> None:
    assert (dbt.project_dir() / "dbt_project.yml").is_file()


def test_in_a_lambda_the_project_is_in_the_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "dbt_project.yml").touch()
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    assert dbt.project_dir() == tmp_path / "sql"


def test_the_key_is_in_the_environment_only_while_dbt_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    with dbt._environment(CREDENTIALS, home="/tmp/x"):
        assert os.environ["DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY"] == "-----KEY-----"
        assert os.environ["HOME"] == "/tmp/x"
    assert "DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY" not in os.environ
    assert os.environ["HOME"] == "/home/somebody"
