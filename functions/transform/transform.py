"""Transform: build the dbt models on the loaded events."""

import time
from typing import Any

from functions.platform import warehouse
from functions.platform.contract import TransformResult
from functions.platform.dbt import DbtFailed, NodeResult, run_dbt, variables
from functions.platform.log import get_logger
from functions.platform.settings import WarehouseSettings
from functions.platform.warehouse import Credentials

log = get_logger(__name__)


def transform(
    event: dict[str, Any], settings: WarehouseSettings, credentials: Credentials
) -> TransformResult:
    """Build every model, incrementally unless the event has `full_refresh`.

    Raises:
        DbtFailed: a model failed; the message names it.
        WarehouseUnavailable: Snowflake did not answer.
    """
    run_id = event["run_id"]
    started_s = time.monotonic()
    full_refresh = ["--full-refresh"] if event.get("full_refresh") else []
    given = variables(training_days=settings.training_days, currencies=settings.currencies)
    results = run_dbt(["run", *full_refresh, *given], credentials)
    for result in results:
        log.info("model built", model=result.name, status=result.status, seconds=result.seconds)
    _raise_first_failure(results)
    rows = _table_rows(credentials)
    models = [
        {
            "name": result.name,
            "status": result.status,
            "rows": rows.get(result.name.upper()),
            "seconds": result.seconds,
        }
        for result in results
    ]
    return {"run_id": run_id, "models": models, "seconds": round(time.monotonic() - started_s, 1)}


def _table_rows(credentials: Credentials) -> dict[str, int]:
    """Return the row count of every table, which the answer to `create table as` does not contain."""
    with warehouse.connect(credentials) as connection:
        tables = warehouse.rows(connection, "select TABLE_NAME, ROW_COUNT from INFORMATION_SCHEMA.TABLES")
    return {name: int(count) for name, count in tables if count is not None}


def _raise_first_failure(results: list[NodeResult]) -> None:
    failed = [result for result in results if result.failed]
    if failed:
        first = failed[0]
        others = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
        raise DbtFailed(
            f"model {first.name} failed{others}: {first.message[:1000]} "
            f"Correct sql/models/**/{first.name}.sql, deploy, and run the pipeline again; "
            "RAW keeps every event, so nothing is lost."
        )
