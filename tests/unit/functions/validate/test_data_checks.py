"""The gate: each fault fails its check, and a check without enough data is skipped."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from functions.platform.dbt import NodeResult
from functions.validate.currencies import ShopOrders
from functions.validate.data_checks import (
    data_checks,
    dbt_check,
    population_stability_index,
)
from functions.validate.measures import Measures, ShopDays, measure
from functions.validate.page import page
from functions.validate.rules import RULES, Check
from functions.validate.thresholds import Thresholds, thresholds
from testing.fakes import FakeS3
from testing.warehouse_fakes import FakeConnection

NOW = datetime(2026, 1, 10, tzinfo=UTC)
MIX = {"page_view": 400, "view_item": 500, "add_to_cart": 100}


def shop(
    full_days: int = 8,
    newest: dict[str, int] | None = None,
    sessions_now: int = 200,
    hours_since_load: float = 1,
    newest_at: datetime | None = None,
) -> ShopDays:
    names = {day: dict(MIX) for day in range(1, 8)} | {0: newest if newest is not None else dict(MIX)}
    return ShopDays(
        "demo",
        full_days=full_days,
        newest_at=newest_at or NOW - timedelta(hours=hours_since_load),
        last_loaded_at=NOW - timedelta(hours=hours_since_load),
        events={day: sum(counts.values()) for day, counts in names.items()},
        sessions=dict.fromkeys(range(1, 8), 200) | {0: sessions_now},
        names=names,
    )


GOOD = Measures(
    now=NOW,
    raw_rows=9000,
    last_loaded_at=NOW - timedelta(hours=1),
    unloaded_files=(),
    recent_raw_rows=9000,
    recent_unusable_rows=20,
    recent_staged_rows=8950,
    rejected_bytes=100,
    raw_bytes=1_000_000,
    shops=(shop(),),
    missing={"items": (0, 600), "storefront_session_id": (0, 1000), "device": (0, 1000)},
    daily_events=(("2026-01-09", 1000),),
    orders={"demo": ShopOrders("EUR", orders=100, confirmed=50)},
)


def failed(measures: Measures) -> list[str]:
    return [check.name for check in data_checks(measures, thresholds()) if check.verdict == "failed"]


def verdicts(measures: Measures) -> dict[str, str]:
    return {check.name: check.verdict for check in data_checks(measures, thresholds())}


def test_a_usual_day_passes_every_check() -> None:
    assert set(verdicts(GOOD).values()) == {"passed"}


@pytest.mark.parametrize(
    ("measures", "name"),
    [
        (replace(GOOD, last_loaded_at=NOW - timedelta(hours=49)), "freshness"),
        (replace(GOOD, last_loaded_at=None, raw_rows=0), "freshness"),
        (replace(GOOD, rejected_bytes=500_000), "rejected events"),
        (replace(GOOD, recent_unusable_rows=1000), "unusable rows"),
        (replace(GOOD, recent_staged_rows=100), "repeated rows"),
        (replace(GOOD, missing=GOOD.missing | {"items": (60, 600)}), "missing items"),
        (replace(GOOD, shops=(shop(newest={"view_item": 100}, sessions_now=20),)), "volume"),
        (replace(GOOD, shops=(shop(newest={name: 4 * n for name, n in MIX.items()}),)), "volume"),
        (replace(GOOD, shops=(shop(hours_since_load=49),)), "silence"),
        (replace(GOOD, shops=(shop(sessions_now=1000),)), "events per session"),
        (replace(GOOD, shops=(shop(newest={"page_view": 990, "view_item": 10}),)), "event mix"),
    ],
)
def test_a_fault_fails_its_check(measures: Measures, name: str) -> None:
    assert name in failed(measures)


def test_every_check_is_a_row_of_the_table_and_every_row_is_checked() -> None:
    checks = data_checks(GOOD, thresholds())
    assert {check.name for check in checks} == RULES.keys()
    for check in checks:
        assert check.slice.startswith(RULES[check.name].slice)
        assert check.against == RULES[check.name].against


@pytest.mark.parametrize(
    ("newest", "comparator", "bound"), [({"view_item": 100}, ">=", 0.3), ({"view_item": 9000}, "<=", 3.0)]
)
def test_a_ratio_is_compared_with_the_bound_on_its_side(
    newest: dict[str, int], comparator: str, bound: float
) -> None:
    checks = data_checks(replace(GOOD, shops=(shop(newest=newest),)), thresholds())
    [volume] = [check for check in checks if check.name == "volume"]
    assert (volume.comparator, volume.bound, volume.verdict) == (comparator, bound, "failed")
    assert (volume.n, volume.minimum_n) == (1000, 100)


def test_without_history_a_shop_is_not_compared() -> None:
    found = verdicts(replace(GOOD, shops=(shop(full_days=3),)))
    assert found["volume"] == found["event mix"] == found["events per session"] == "skipped"
    assert found["silence"] == "skipped"


def test_a_shop_that_stopped_sending_is_judged_for_one_week() -> None:
    tapering = {"view_item": 30}
    within = verdicts(replace(GOOD, shops=(shop(newest=tapering, sessions_now=20, hours_since_load=6 * 24),)))
    after = verdicts(replace(GOOD, shops=(shop(newest=tapering, sessions_now=20, hours_since_load=8 * 24),)))
    assert (within["silence"], within["volume"]) == ("failed", "failed")
    assert {after[name] for name in ("silence", "volume", "events per session", "event mix")} == {"skipped"}


def test_a_data_set_of_years_ago_is_not_silent() -> None:
    replayed = shop(hours_since_load=60, newest_at=datetime(2014, 9, 30, tzinfo=UTC))
    found = verdicts(replace(GOOD, shops=(replayed,)))
    assert (found["silence"], found["volume"]) == ("skipped", "passed")


def test_a_shop_that_sends_little_may_be_silent() -> None:
    few = replace(shop(hours_since_load=60), events=dict.fromkeys(range(8), 5))
    assert verdicts(replace(GOOD, shops=(few,)))["silence"] == "skipped"


def test_a_skipped_check_says_why() -> None:
    checks = data_checks(replace(GOOD, shops=(shop(full_days=3),)), thresholds())
    sentence = next(check.reason for check in checks if check.name == "volume")
    assert sentence == "Skipped: not enough history: 2 full days before the newest, 4 needed."


def test_a_new_event_kind_of_a_shop_is_no_fault() -> None:
    newest = MIX | {"search": 900, "recommendation_impression": 5000}
    assert "event mix" not in failed(replace(GOOD, shops=(shop(newest=newest),)))


def test_equal_mixes_have_index_zero_and_a_vanished_kind_a_large_one() -> None:
    assert population_stability_index({"a": 1, "b": 1}, {"a": 5, "b": 5}) == 0
    assert population_stability_index({"a": 1, "b": 1}, {"a": 2}) > 1


def test_a_failed_dbt_test_is_a_sentence_with_its_rows_and_column() -> None:
    result = NodeResult("unique_stg_x", "unique", "test", "fail", 0.1, 3, "Got 3 results", "x", "stg")
    assert dbt_check(result).reason == "3 rows of stg.x break the test unique (unique_stg_x)."


def test_a_dbt_test_that_could_not_run_fails_with_its_message() -> None:
    result = NodeResult("unique_stg_x", "unique", "test", "error", 0.1, 0, "no such table", "x", "stg")
    check = dbt_check(result)
    assert check.verdict == "failed"
    assert "could not run: no such table" in check.reason


def test_the_report_escapes_its_content_and_loads_nothing() -> None:
    check = Check(
        *("data", "volume", "shop <b>", "the days before", 800, 100, 0.1, 0.3, ">=", "failed"),
        reason="Shop <script>alert(1)</script> is silent.",
    )
    html = page("run-1", NOW, [check], [("2026-01-09", 5), ("2026-01-10", 0)])
    assert "<script>" not in html
    assert "shop &lt;b&gt;" in html
    assert "http" not in html
    assert html.count("<rect") == 2
    assert "&gt;= 0.3" in html
    assert "800 of 100" in html


def test_an_empty_warehouse_is_measured_without_error() -> None:
    connection = FakeConnection(
        ("where LOADED_AT > %s\n", [(0, 0)]),
        ("max(LOADED_AT) from RAW.EVENTS", [(0, None)]),
        ("from RAW.LOAD_LOG", [(0,)]),
        ("from STAGING.STG_EVENTS where LOADED_AT", [(0,)]),
        ("MARTS.DAILY_KPIS", []),
    )
    measures = measure(connection, FakeS3(), "events", NOW, trailing_days=7, judged_days=7)
    assert failed(measures) == ["freshness"]
    assert "No events yet" in page("run-1", NOW, data_checks(measures, thresholds()), measures.daily_events)


@pytest.mark.parametrize(
    "change",
    [
        {"volumes": {}},
        {"rejected": {"largest_share": 2, "fewest_bytes": 1}},
        {"volume": {"lowest_ratio": 1.5, "highest_ratio": 3, "fewest_events_a_day": 1}},
    ],
)
def test_a_misspelt_threshold_or_one_outside_its_bounds_fails_at_start(change: dict[str, object]) -> None:
    written = msgspec.to_builtins(thresholds())
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**written, **change}, Thresholds)


def test_a_file_may_fail_for_two_weeks() -> None:
    recent = ("s3://events/raw/b.gz", NOW - timedelta(days=13))
    old = ("s3://events/raw/a.gz", NOW - timedelta(days=15))
    assert failed(replace(GOOD, unloaded_files=(recent,))) == []
    checks = data_checks(replace(GOOD, unloaded_files=(old, recent)), thresholds())
    sentence = next(check.reason for check in checks if check.name == "unloaded files")
    assert failed(replace(GOOD, unloaded_files=(old, recent))) == ["unloaded files"]
    assert sentence.startswith("2 files fail to load, the first for 15 days: s3://events/raw/a.gz.")
