"""Put the results of a run together: its summary on S3, its page, the shop's newest summary, and the index of its runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from functions.platform import warehouse
from functions.platform.contract import VALIDATION_REPORTS_PREFIX
from functions.platform.dbt import NodeResult
from functions.validate import summary as summaries
from functions.validate.history import index, index_key, read_history
from functions.validate.limits import ShopLimit, limit_of
from functions.validate.measures import Measures
from functions.validate.page import ORDER, page
from functions.validate.rules import Check
from functions.validate.summary import (
    CheckResult,
    Day,
    Expectation,
    FailingRow,
    Freshness,
    ModelProfile,
    Override,
    Refusals,
    Summary,
)
from functions.validate.thresholds import Thresholds

# Each is answered from metadata, without a scan.
NEWEST = (
    "select max(LOADED_AT) from RAW.EVENTS",
    "select max(STAGED_AT) from STAGING.STG_EVENTS",
    "select max(STAGED_AT) from MARTS.SESSIONS",
)


def check_result(
    check: Check,
    result: NodeResult | None,
    limits: Mapping[str, ShopLimit],
    overrides: Mapping[str, Override],
    rows: list[FailingRow],
) -> CheckResult:
    """Return a check with all that is known of it."""
    return CheckResult(
        **asdict(check),
        limit=limit_of(check, limits),
        override=overrides.get(check.name) if check.verdict == "overridden" else None,
        expectation=Expectation(result.check, result.model, result.column, result.arguments)
        if result
        else None,
        rows=rows,
    )


def summarize(
    connection: Any,
    run_id: str,
    results: Sequence[CheckResult],
    measures: Measures,
    profiles: list[ModelProfile],
    checked_at: datetime,
) -> Summary:
    """Return the summary of a run."""
    counts: Counter[str] = Counter(result.verdict for result in results)
    loaded_at, staged_at, marts_at = (_time(warehouse.one(connection, sql)[0]) for sql in NEWEST)
    refusals = measures.refusals
    return Summary(
        run_id=run_id,
        shop_id=measures.shop_id,
        checked_at=_time(checked_at) or "",
        verdict="failed" if counts["failed"] else "passed",
        counts={verdict: counts[verdict] for verdict in ORDER if counts[verdict]},
        checks=list(results),
        events=measures.events,
        daily_events=[Day(day, events) for day, events in measures.daily_events],
        refusals=Refusals(refusals.total, refusals.by_reason(), refusals.is_sample),
        freshness=Freshness(
            _time(measures.shop.newest_at if measures.shop else None), loaded_at, staged_at, marts_at
        ),
        profiles=profiles,
    )


def publish(
    connection: Any,
    s3: Any,
    bucket: str,
    summary: Summary,
    measures: Measures,
    limits: Thresholds,
    stage: str,
) -> str:
    """Write everything of a run to S3; return the address of its page."""
    content = summaries.encode(summary)
    runs, trends = read_history(connection, summary.shop_id, measures.now)
    key = f"{VALIDATION_REPORTS_PREFIX}{summary.run_id}.html"
    html = "text/html; charset=utf-8"
    for name, body, kind in (
        (key, page(summary, measures, limits, stage).encode(), html),
        (summaries.run_key(summary.run_id), content, "application/json"),
        (summaries.latest_key(summary.shop_id), content, "application/json"),
        (index_key(summary.shop_id), index(summary.shop_id, runs, trends).encode(), html),
    ):
        s3.put_object(Bucket=bucket, Key=name, Body=body, ContentType=kind)
    return f"s3://{bucket}/{key}"


def _time(at: datetime | None) -> str | None:
    return at.replace(tzinfo=None).isoformat(timespec="seconds") + "Z" if at else None
