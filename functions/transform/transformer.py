"""Build the dbt models on what load brought."""

import time
from typing import Any

from functions import warehouse
from functions.log import get_logger
from functions.settings import WarehouseSettings
from functions.transform.dbt import DbtFailed, NodeResult, run_dbt
from functions.warehouse import Credentials

log = get_logger(__name__)


def run(event: dict[str, Any], settings: WarehouseSettings, credentials: Credentials) -> dict[str, Any]:
    """Run every model, incrementally unless `full_refresh` is asked for."""
    run_id = event["run_id"]
    started = time.monotonic()
    full_refresh = ["--full-refresh"] if event.get("full_refresh") else []
    results = run_dbt(["run", *full_refresh], credentials)
    for result in results:
        log.info("model built", model=result.name, status=result.status, seconds=result.seconds)
    _raise_first_failure(results)
    rows = _table_rows(credentials)
    models = [
        {
            "name": each.name,
            "status": each.status,
            "rows": rows.get(each.name.upper()),
            "seconds": each.seconds,
        }
        for each in results
    ]
    return {"run_id": run_id, "models": models, "seconds": round(time.monotonic() - started, 1)}


def _table_rows(credentials: Credentials) -> dict[str, int]:
    """Rows of every table; Snowflake's answer to `create table as` does not say."""
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
