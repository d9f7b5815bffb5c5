"""Validate: run dbt's tests and the data checks, and keep their results in QA.CHECK_RESULTS, as JSON and on pages."""

import re
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.platform import metrics, warehouse
from functions.platform.contract import MetricValues, ValidateResult
from functions.platform.dbt import NodeResult, run_dbt, variables
from functions.platform.log import get_logger
from functions.platform.settings import WarehouseSettings
from functions.platform.warehouse import Credentials
from functions.validate import failing_rows
from functions.validate.batches import batch_checks
from functions.validate.data_checks import VOLUME_CHECK, data_checks, dbt_check
from functions.validate.limits import expectation_limits, read_limits, shop_thresholds
from functions.validate.measures import Measures, measure
from functions.validate.overrides import overridden, read_overrides
from functions.validate.profiles import profile
from functions.validate.refusals import keep_refused
from functions.validate.report import check_result, publish, summarize
from functions.validate.rules import ABSOLUTE, Check
from functions.validate.summary import FailingRow

log = get_logger(__name__)

# dbt's words for a test that rows break. Another failure is a test that could not run.
BREACHES = ("fail", "warn")
KEEP_RESULT = """
insert into QA.CHECK_RESULTS
(
    RUN_ID, SHOP_ID, CHECKED_AT,
    KIND, CHECK_NAME, SLICE, AGAINST, N, MINIMUM_N, VALUE, BOUND, COMPARATOR, VERDICT, REASON
)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

# The shop becomes part of dbt's SQL, where no parameter can be bound.
SHOP_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")

# At least once in this time, the tests cover every row. A failed test is repeated until it passes or is overridden.
# A redriven run has several tries, each with its own time.
EVERY_ROW_AFTER = timedelta(days=7)
EVERY_ROW = "every row"
LAST_PASSED = """
with runs as (
    select RUN_ID, CHECKED_AT, count_if(SLICE = %s) > 0 as EVERY_ROW
    from QA.CHECK_RESULTS
    where SHOP_ID = %s and CHECKED_AT > %s
    group by RUN_ID, CHECKED_AT
    having count_if(VERDICT = 'failed') = 0
)

select max(CHECKED_AT), coalesce(max(EVERY_ROW::int), 0) from runs
"""


def validate(
    event: dict[str, Any], settings: WarehouseSettings, credentials: Credentials, connection: Any, s3: Any
) -> ValidateResult:
    """Check the tables of one shop: their new rows, and every row once a week or if the event has `full`.

    A failed check is a result (`passed` is false), not an error. The rows of other shops are not read, so that a fault of
    theirs stops no run of this one.

    Raises:
        ValueError: the shop cannot be part of a statement.
        StorageUnavailable: S3 did not answer.
        WarehouseUnavailable: Snowflake did not answer.
        DbtFailed: dbt could not run its tests.
    """
    run_id, shop_id = event["run_id"], event.get("shop_id") or settings.shop
    if not SHOP_ID.fullmatch(shop_id):
        raise ValueError(f"shop_id {shop_id!r} is no id of a shop: use letters, digits, -, _ and .")
    own_limits, overrides = read_limits(connection, shop_id), read_overrides(connection, run_id, shop_id)
    limits = shop_thresholds(own_limits)
    now = datetime.now(UTC)
    measures = measure(
        connection,
        s3,
        settings.events_bucket,
        shop_id,
        now,
        trailing_days=limits.history.trailing_days,
        judged_days=limits.history.judged_days,
    )
    batches = list(batch_checks(connection, settings, shop_id, now, limits))
    profiles, drift = profile(connection, shop_id, measures.shop, limits)
    tested_until = None if event.get("full") else _tested_until(connection, shop_id, now)
    tests = run_dbt(_tests(shop_id, tested_until, expectation_limits(own_limits)), credentials)
    judged: list[tuple[Check, NodeResult | None]] = [
        (check, None) for check in (*data_checks(measures, limits), *drift, *batches, _scope(tested_until))
    ]
    for result in tests:
        breaks = result.status in BREACHES
        judged.append(
            (dbt_check(result, failing_rows.judged_rows(connection, result) if breaks else 0), result)
        )
    judged = [(overridden(check, overrides), result) for check, result in judged]
    _keep(connection, run_id, shop_id, now, [check for check, _ in judged])
    keep_refused(connection, run_id, shop_id, now, measures.refusals)
    since = (now - timedelta(days=limits.history.judged_days)).replace(tzinfo=None)
    results = [
        check_result(
            check,
            result,
            own_limits,
            overrides,
            _rows(connection, settings.events_bucket, check, result, measures, since),
        )
        for check, result in judged
    ]
    summary = summarize(connection, run_id, results, measures, profiles, now)
    report_uri = publish(connection, s3, settings.models_bucket, summary, measures, limits, settings.stage)
    failures = [check.reason for check in results if check.verdict == "failed"]
    metrics.write(settings.stage, _metrics(measures, [check for check, _ in judged], len(failures)))
    for network in measures.networks:
        log.info("one network sent much of the newest day", shop_id=shop_id, **network._asdict())
    for check in results:
        if check.verdict in ("failed", "overridden", "warned"):
            log.warning(f"check {check.verdict}", check=check.name, reason=check.reason)
    log.info("validated", shop_id=shop_id, passed=not failures, checks=len(results), verdicts=summary.counts)
    return {
        "run_id": run_id,
        "passed": not failures,
        "failures": failures,
        "overrides": [
            f"{check.name} by {check.override.set_by}: {check.override.reason}"
            for check in results
            if check.override
        ],
        "checks": len(results),
        "report_uri": report_uri,
    }


def _metrics(measures: Measures, checks: list[Check], failed: int) -> MetricValues:
    """Return the metrics of a validation. A shop without data has no age, and one without history no usual volume."""
    values: MetricValues = {"ChecksFailed": failed}
    if measures.shop is not None:
        age = measures.now - measures.shop.last_loaded_at
        values["DataAgeMinutes"] = round(age / timedelta(minutes=1), 1)
    for check in checks:
        if check.name == VOLUME_CHECK and check.verdict != "skipped" and check.value is not None:
            values["VolumeRatio"] = round(check.value, 4)
    return values


def _tested_until(connection: Any, shop_id: str, now: datetime) -> datetime | None:
    """Return the time of the shop's last validation that passed, or None if every row must be tested again."""
    since = (now - EVERY_ROW_AFTER).replace(tzinfo=None)
    last_passed, every_row = warehouse.one(connection, LAST_PASSED, (EVERY_ROW, shop_id, since))
    return last_passed if every_row else None


def _scope(tested_until: datetime | None) -> Check:
    """Return the rows that the dbt tests covered as a check, so that the next run finds it."""
    rows, reason = EVERY_ROW, "The tests covered every row."
    if tested_until is not None:
        rows = "new rows"
        reason = f"The tests covered the rows staged after {tested_until:%Y-%m-%d %H:%M} UTC."
    return Check("dbt", "tested rows", rows, ABSOLUTE, 0, 0, 0, 0, "==", "passed", reason)


def _tests(shop_id: str, tested_until: datetime | None, limits: dict[str, float]) -> list[str]:
    """Return dbt's arguments. A test of relationships reads the whole other table, so it runs over every row only."""
    command = ["test", "--exclude-resource-type", "unit_test"]
    if tested_until is None:
        return [*command, *variables(tested_shop=shop_id, limits=limits)]
    until = tested_until.isoformat(sep=" ")
    return [
        *command,
        "--exclude",
        "test_name:relationships",
        *variables(tested_shop=shop_id, tested_until=until, limits=limits),
    ]


def _rows(
    connection: Any, bucket: str, check: Check, result: NodeResult | None, measures: Measures, since: datetime
) -> list[FailingRow]:
    """Return the first rows behind a check that did not pass."""
    if check.verdict not in ("failed", "overridden", "warned"):
        return []
    if result is None:
        return failing_rows.of_data_check(connection, bucket, check, measures, since)
    if result.status not in BREACHES:
        return []
    return failing_rows.of_test(connection, bucket, result)


def _keep(connection: Any, run_id: str, shop_id: str, now: datetime, checks: list[Check]) -> None:
    # The fields of a check are the columns, in their order. One time per try tells the tries of a run apart.
    rows = [(run_id, shop_id, now.replace(tzinfo=None), *astuple(check)) for check in checks]
    with connection.cursor() as cursor:
        cursor.executemany(KEEP_RESULT, rows)
