"""Validate: run dbt's tests and the data checks, and keep their results in QA.CHECK_RESULTS and on one page."""

from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

from functions.platform.contract import VALIDATION_REPORTS_PREFIX, ValidateResult
from functions.platform.dbt import run_dbt
from functions.platform.log import get_logger
from functions.platform.settings import WarehouseSettings
from functions.platform.warehouse import Credentials
from functions.validate.data_checks import data_checks, dbt_check
from functions.validate.measures import measure
from functions.validate.page import page
from functions.validate.rules import Check
from functions.validate.thresholds import thresholds

log = get_logger(__name__)

KEEP_RESULT = """
insert into QA.CHECK_RESULTS
(RUN_ID, KIND, CHECK_NAME, SLICE, AGAINST, N, MINIMUM_N, VALUE, BOUND, COMPARATOR, VERDICT, REASON)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def validate(
    event: dict[str, Any], settings: WarehouseSettings, credentials: Credentials, connection: Any, s3: Any
) -> ValidateResult:
    """Check the tables. A failed check is a result (`passed` is false), not an error.

    Raises:
        WarehouseUnavailable: Snowflake did not answer.
        DbtFailed: dbt could not run its tests.
    """
    run_id = event["run_id"]
    limits = thresholds()
    now = datetime.now(UTC)
    measures = measure(
        connection,
        s3,
        settings.events_bucket,
        now,
        trailing_days=limits.history.trailing_days,
        judged_days=limits.history.judged_days,
    )
    checks = data_checks(measures, limits)
    checks += [
        dbt_check(result) for result in run_dbt(["test", "--exclude-resource-type", "unit_test"], credentials)
    ]
    _keep(connection, run_id, checks)
    key = f"{VALIDATION_REPORTS_PREFIX}{run_id}.html"
    s3.put_object(
        Bucket=settings.models_bucket,
        Key=key,
        Body=page(run_id, now, checks, measures.daily_events).encode(),
        ContentType="text/html; charset=utf-8",
    )
    failures = [check.reason for check in checks if check.verdict == "failed"]
    for reason in failures:
        log.warning("check failed", reason=reason)
    log.info("validated", passed=not failures, checks=len(checks))
    return {
        "run_id": run_id,
        "passed": not failures,
        "failures": failures,
        "checks": len(checks),
        "report_uri": f"s3://{settings.models_bucket}/{key}",
    }


def _keep(connection: Any, run_id: str, checks: list[Check]) -> None:
    # The fields of a check are the columns, in their order.
    rows = [(run_id, *astuple(check)) for check in checks]
    with connection.cursor() as cursor:
        cursor.executemany(KEEP_RESULT, rows)
