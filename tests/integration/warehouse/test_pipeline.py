"""Load, transform, validate and export on the local Snowflake: from raw events to tables, checks and parquet files."""

import csv
import gzip
import io
import json
import time
from collections import defaultdict
from dataclasses import astuple, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from deploy.stages import read_stage
from deploy.warehouse_setup import setup_parameters
from functions.export.export import EmptySnapshot, export
from functions.load.load import load
from functions.platform import warehouse
from functions.platform.dbt import NodeResult, run_dbt
from functions.transform.transform import transform
from functions.validate.data_checks import data_checks, dbt_check
from functions.validate.measures import measure
from functions.validate.rules import Check
from functions.validate.thresholds import thresholds
from functions.validate.validate import KEEP_RESULT, validate
from sql.setup.apply import apply
from testing.warehouse_stack import ACCOUNT, Stack, connected, connected_as_sysadmin, tables_as_text
from tests.integration.warehouse.events import DAY_MS, MIDNIGHT_MS, MINUTE_MS, deliver, raw_event

GOLDEN = Path(__file__).parent / "golden"
# Keys are replaced by their meaning, so that a person can read the expected tables.
TABLES = {
    "sessions": """
        select shop_id, client_id, started_at_ms, ended_at_ms, started_on, device, events, page_views, item_views,
            searches, carts, purchases, revenue, recommendation_impressions, recommendation_clicks
        from MARTS.SESSIONS order by shop_id, client_id, started_at_ms
    """,
    "training_interactions": """
        select i.shop_id, s.client_id, s.started_at_ms, i.position, i.item_id, i.event_name, i.event_time_ms
        from TRAINING.TRAINING_INTERACTIONS as i inner join MARTS.SESSIONS as s on i.session_key = s.session_key
        order by i.shop_id, s.client_id, s.started_at_ms, i.position
    """,
    "training_items": "select * from TRAINING.TRAINING_ITEMS order by shop_id, item_id",
    "daily_kpis": """
        select shop_id, day, sessions, clients, events, item_views, carts, purchases, revenue, conversion_rate,
            recommendation_impressions, recommendation_clicks, recommendation_click_rate
        from MARTS.DAILY_KPIS order by shop_id, day
    """,
    "recommendations": """
        select shop_id, recommendation_id, model_version, variant, placement, issued_at_ms, issued_on, items_shown, items_clicked,
            explored_shown, explored_clicked, items_carted, items_bought, revenue
        from MARTS.RECOMMENDATIONS order by shop_id, recommendation_id
    """,
    "daily_recommendations": """
        select shop_id, day, model_version, variant, placement, recommendations, items_shown, items_clicked, click_rate,
            items_carted, items_bought, revenue,
            receipts_valid, receipts_forged, receipts_foreign, receipts_expired, receipts_unverified
        from MARTS.DAILY_RECOMMENDATIONS order by shop_id, day, model_version
    """,
    "daily_funnel": """
        select shop_id, day, part, device, model_version, variant, placement, item_category, sessions, viewing_sessions,
            carting_sessions, ordering_sessions, orders, order_revenue, events, impression_events, click_events,
            recommendations, items_shown, items_clicked, items_carted, items_bought, units_bought, recommendation_revenue,
            currency
        from MARTS.DAILY_FUNNEL
        order by shop_id, day, part, device, coalesce(model_version, ''), coalesce(item_category, '')
    """,
}


def run_to_tables(stack: Stack, run_id: str, full_refresh: bool = False) -> dict[str, list[list[str]]]:
    """Load and transform; return the tables as text."""
    with connected(stack) as connection:
        load({"run_id": run_id}, stack.settings, connection)
    transform({"run_id": run_id, "full_refresh": full_refresh}, stack.settings, stack.credentials)
    return tables_as_text(stack, TABLES)


def golden_events(number: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (GOLDEN / f"{number}.jsonl").read_text().splitlines()]


def golden_tables() -> dict[str, list[list[str]]]:
    """Return the expected tables without their headers."""
    return {name: list(csv.reader((GOLDEN / f"{name}.csv").open()))[1:] for name in TABLES}


@pytest.fixture(scope="module")
def stack(new_stack: Any) -> Stack:
    made: Stack = new_stack("golden")
    return made


def test_late_and_repeated_events_give_the_golden_tables_incrementally_and_from_scratch(stack: Stack) -> None:
    bucket = stack.settings.events_bucket
    deliver(stack.s3, bucket, "1", golden_events(1))
    run_to_tables(stack, "g1")
    deliver(stack.s3, bucket, "2", golden_events(2))
    run_to_tables(stack, "g2")
    deliver(stack.s3, bucket, "3", golden_events(3))
    for number in (1, 2):  # all events again, in other files
        deliver(stack.s3, bucket, f"again-{number}", golden_events(number))
    stack.s3.put_object(
        Bucket=bucket, Key="raw/2026/01/02/00/corrupt.gz", Body=gzip.compress(b'{"a": 1}\n{oops\n')
    )
    assert run_to_tables(stack, "g3") == golden_tables()
    assert run_to_tables(stack, "g4", full_refresh=True) == golden_tables()


def test_the_unit_tests_of_the_models_hold(stack: Stack) -> None:
    results = run_dbt(["test", "--select", "test_type:unit"], stack.credentials)
    assert len(results) > 5
    assert [result for result in results if result.status != "pass"] == []


def test_a_corrupt_file_is_reported_in_every_run_and_the_good_ones_are_loaded_once(stack: Stack) -> None:
    with connected(stack) as connection:
        result = load({"run_id": "again"}, stack.settings, connection)
        logged = warehouse.rows(
            connection,
            "select RUN_ID, STATUS, ROWS_LOADED from RAW.LOAD_LOG where FILE like '%corrupt.gz' order by 1",
        )
    assert result["rows_loaded"] == 0
    assert result["files_loaded"] == 0
    assert [failed["file"].rsplit("/")[-1] for failed in result["files_failed"]] == ["corrupt.gz"]
    assert "JSON" in result["files_failed"][0]["error"]
    assert ("again", "LOAD_FAILED", 0) in logged


def test_a_small_good_history_passes_the_gate_and_is_exported(stack: Stack) -> None:
    stack.s3.put_object(Bucket=stack.settings.models_bucket, Key="stock/demo.json", Body=b'["A"]')
    stack.s3.put_object(Bucket=stack.settings.models_bucket, Key="embeddings/demo.arrow", Body=b"arrow")
    with connected(stack) as connection:
        verdict = validate({"run_id": "v1"}, stack.settings, stack.credentials, connection, stack.s3)
        snapshot = export({"run_id": "v1"}, stack.settings, connection, stack.s3)
    with connected_as_sysadmin(stack) as connection:
        kept = warehouse.one(connection, "select count(*) from QA.CHECK_RESULTS where RUN_ID = 'v1'")
    assert verdict["failures"] == []
    assert verdict["passed"] is True
    assert kept == (verdict["checks"],)
    assert "<svg" in read(stack, verdict["report_uri"]).decode()

    interactions = [row for row in golden_tables()["training_interactions"] if row[0] == "demo"]
    table = parquet.read_table(
        io.BytesIO(read(stack, snapshot["interactions_uri"] + "data_0_0_0.snappy.parquet"))
    )
    assert table.column_names == [
        "SHOP_ID",
        "SESSION_ID",
        "POSITION",
        "ITEM_ID",
        "EVENT_NAME",
        "EVENT_TIME_MS",
        "NETWORK",
        "CLIENT",
    ]
    assert table.num_rows == snapshot["interactions"] == len(interactions)
    numbered, expected = defaultdict(list), defaultdict(list)
    clients = defaultdict(set)
    for row in table.to_pylist():
        numbered[row["SESSION_ID"]].append(row["ITEM_ID"])
        clients[row["CLIENT"]].add(row["SESSION_ID"])
    for _, client, start, _, item, _, _ in interactions:
        expected[client, start].append(item)
    sessions_of = defaultdict(set)
    for client, start in expected:
        sessions_of[client].add(start)
    assert sorted(map(len, clients.values())) == sorted(map(len, sessions_of.values()))
    assert 0 not in clients
    assert sorted(numbered) == list(range(1, snapshot["sessions"] + 1))
    assert sorted(numbered.values()) == sorted(expected.values())
    assert snapshot["last_event_time_ms"] == max(int(row[-1]) for row in interactions)
    assert json.loads(read(stack, snapshot["items_uri"] + "out_of_stock.json")) == ["A"]
    assert read(stack, snapshot["items_uri"] + "embeddings.arrow") == b"arrow"
    manifest = json.loads(read(stack, snapshot["manifest_uri"]))
    assert manifest["items"] == sum(row[0] == "demo" for row in golden_tables()["training_items"])


def test_a_bad_delivery_fails_the_gate_with_the_reason(stack: Stack) -> None:
    start = MIDNIGHT_MS + 9 * DAY_MS
    usual = [
        raw_event(
            f"u{day}-{n}", client=f"u{day}-{n // 4}", at_ms=start + day * DAY_MS + n * MINUTE_MS, items=["A"]
        )
        for day in range(6)
        for n in range(150)
    ]
    bad = [
        raw_event(
            f"b{n}", client=f"b{n}", at_ms=start + 6 * DAY_MS + n * MINUTE_MS, items=[], name="view_item"
        )
        for n in range(700)
    ]
    nameless = [{key: value for key, value in event.items() if key != "client_id"} for event in bad[:200]]
    deliver(stack.s3, stack.settings.events_bucket, "bad", [*usual, *bad, *nameless])
    run_to_tables(stack, "v2")
    with connected(stack) as connection:
        verdict = validate({"run_id": "v2"}, stack.settings, stack.credentials, connection, stack.s3)
    assert verdict["passed"] is False
    assert any("lack their id, name, time or client" in failure for failure in verdict["failures"])
    assert any("have no items" in failure for failure in verdict["failures"])
    # The newest day ends at the newest event that three clients share. Each client sent one.
    assert any("Shop demo sent 698 events" in failure for failure in verdict["failures"])


def test_each_shop_is_judged_by_its_own_days(new_stack: Any) -> None:
    own = new_stack("shops")
    now_ms = int(time.time() * 1000)

    def days(
        shop: str, end_ms: int, per_day: dict[int, int], items: list[str] | None = None
    ) -> list[dict[str, Any]]:
        return [
            raw_event(
                f"{day}-{n}", shop=shop, client=f"{day}-{n // 3}", items=items or ["A"],
                at_ms=end_ms - day * DAY_MS - n * MINUTE_MS,
            )
            for day, events in per_day.items()
            for n in range(events)
        ]  # fmt: skip

    usual = dict.fromkeys(range(7), 150)
    events = days("live", now_ms, usual)
    # The newest events of this shop are two days older than those of the live shop.
    events += days("behind", now_ms - 2 * DAY_MS, usual)
    events += days("dataset", MIDNIGHT_MS, usual)
    events += days("halved", now_ms - DAY_MS, usual | {0: 20})
    events += days("new", now_ms, {0: 5})
    events += days("clock-ahead", now_ms, usual)
    events += [
        raw_event(f"ahead-{n}", shop="clock-ahead", at_ms=now_ms + 3 * DAY_MS, items=[]) for n in range(10)
    ]
    deliver(own.s3, own.settings.events_bucket, "shops", events)
    run_to_tables(own, "s1")
    shops = ("behind", "clock-ahead", "dataset", "halved", "live", "new")
    with connected(own) as connection:
        found = {shop: shop_checks(own, connection, shop) for shop in shops}
        verdict = validate(
            {"run_id": "s1", "shop_id": "live"}, own.settings, own.credentials, connection, own.s3
        )
    assert {shop: checks["volume"].verdict for shop, checks in found.items()} == {
        "behind": "passed",
        "clock-ahead": "passed",
        "dataset": "passed",
        "halved": "failed",
        "live": "passed",
        "new": "skipped",
    }
    # The newest day of a shop, also of one without events in the last 24 hours.
    assert found["behind"]["missing items"].reason.startswith("0.0% of 150 events")
    # Another shop's failure stops nothing.
    assert verdict["failures"] == []
    with connected_as_sysadmin(own) as connection:
        kept = warehouse.rows(
            connection, "select distinct SHOP_ID, SLICE from QA.CHECK_RESULTS where CHECK_NAME = 'volume'"
        )
    assert kept == [("live", "shop live")]


def shop_checks(stack: Stack, connection: Any, shop: str) -> dict[str, Check]:
    """Return the data checks of one shop by their names."""
    limits, now = thresholds(), datetime.now(UTC)
    history = limits.history
    bucket = stack.settings.events_bucket
    measures = measure(connection, stack.s3, bucket, shop, now, history.trailing_days, history.judged_days)
    return {check.name: check for check in data_checks(measures, limits)}


CHECK_RESULTS_OF_0_1_0 = """
    create or replace table QA.CHECK_RESULTS (
        RUN_ID varchar, CHECKED_AT timestamp_ntz default sysdate(), KIND varchar, CHECK_NAME varchar, SUBJECT varchar,
        STATUS varchar, VALUE float, THRESHOLD varchar, SENTENCE varchar
    )
"""


def test_set_up_adds_the_columns_of_checks_to_a_stage_of_release_0_1_0(new_stack: Any) -> None:
    own = new_stack("upgraded")
    check = dbt_check(NodeResult("unique_x", "unique", "test", "fail", 0.1, 3, "Got 3 results", "x", "stg"))
    with connected_as_sysadmin(own) as connection, connection.cursor() as cursor:
        cursor.execute(CHECK_RESULTS_OF_0_1_0)
        cursor.execute("insert into QA.CHECK_RESULTS (RUN_ID, STATUS) values ('old', 'passed')")
    values = setup_parameters(replace(read_stage("local"), name="upgraded"), ACCOUNT, own.credentials)
    for _ in range(2):
        with warehouse.connect(own.admin) as connection:
            apply(connection, values)
    with connected(own) as connection, connection.cursor() as cursor:
        cursor.executemany(KEEP_RESULT, [("new", "demo", datetime(2026, 1, 2), *astuple(check))])
    with connected_as_sysadmin(own) as connection:
        found = warehouse.rows(
            connection,
            "select RUN_ID, STATUS, VERDICT, SLICE, REASON from QA.CHECK_RESULTS order by RUN_ID desc",
        )
    assert found == [
        ("old", "passed", None, None, None),
        ("new", None, "failed", "stg.x", "3 rows of stg.x break the test unique (unique_x)."),
    ]


def test_a_shop_without_sessions_cannot_be_exported(stack: Stack) -> None:
    with (
        connected(stack) as connection,
        pytest.raises(EmptySnapshot, match="no session of shop nobody"),
    ):
        export({"run_id": "v3", "shop_id": "nobody"}, stack.settings, connection, stack.s3)


def read(stack: Stack, uri: str) -> bytes:
    bucket, key = uri.removeprefix("s3://").split("/", 1)
    body: bytes = stack.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body
