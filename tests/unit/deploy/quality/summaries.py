"""A summary of a run with one check of each verdict."""

from functions.validate.summary import (
    CheckResult,
    ColumnProfile,
    Day,
    Distribution,
    Expectation,
    FailingRow,
    Freshness,
    ModelProfile,
    Override,
    Refusals,
    Summary,
    Value,
    Verdict,
)

BETWEEN = "expect_column_values_to_be_between"


def data_check(name: str, verdict: Verdict, **more: object) -> CheckResult:
    """Return a check of the data."""
    value = None if verdict == "skipped" else 0.4
    fields = (
        "data",
        name,
        "shop o'neill",
        "the days before",
        900,
        100,
        value,
        0.6,
        ">=",
        verdict,
        "Few events.",
    )
    return CheckResult(*fields, **more)  # type: ignore[arg-type]


def dbt_check(
    kind: str, type_: str, column: str, arguments: dict[str, object], verdict: Verdict
) -> CheckResult:
    """Return a test of the dbt project."""
    breaks = verdict != "passed"
    row = FailingRow(
        "s3://events/raw/2026/11/29/03/a-long-name.gz",
        17,
        "e-1",
        "purchase",
        "i1",
        "2026-11-29T03:00:00+00:00",
        "value = -5",
    )
    return CheckResult(
        *(
            kind,
            f"{type_}_{column}",
            f"stg_events.{column}",
            "absolute",
            200 if breaks else 0,
            0,
            4 if breaks else 0,
        ),  # type: ignore[arg-type]
        *(0, "==", verdict, "Rows <b>break</b> it."),
        expectation=Expectation(type_, "stg_events", column, arguments),
        rows=[row] if breaks else [],
    )


def summary(run_id: str = "20261129-0a1b2c3d4e5f", shop_id: str = "demo") -> Summary:
    """Return a summary."""
    checks = [
        data_check("volume", "failed"),
        data_check(
            "silence",
            "overridden",
            override=Override("ann", "2026-11-29T04:00:00", "a <i>holiday</i>"),
            limit="0.6, set by bob",
        ),
        data_check("event mix", "skipped"),
        data_check("freshness", "passed"),
        dbt_check("expectation", BETWEEN, "value", {"min_value": 0, "row_condition": "true"}, "warned"),
        dbt_check("dbt", "unique", "event_key", {}, "passed"),
        dbt_check("dbt", "accepted_values", "event_name", {"values": "{{ var('event_names') }}"}, "passed"),
        dbt_check(
            "dbt", "relationships", "session_key", {"to": "ref('sessions')", "field": "session_key"}, "passed"
        ),
        dbt_check("dbt", "not_null", "client_key", {}, "passed"),
    ]
    day = Distribution(1000, 20, 2, most_frequent=[Value("mobile", 0.8), Value("toaster", 0.2)])
    prices = Distribution(1000, 20, 90, 1.0, 99.5, [2.0, 25.0, 50.0, 75.0, 98.0])
    profile = ModelProfile(
        *("stg_events", 1000, 7000, 7),
        [
            ColumnProfile("device", "category", day, day, 1.2),
            ColumnProfile("price", "number", prices, prices, None),
        ],
    )
    return Summary(
        run_id=run_id,
        shop_id=shop_id,
        checked_at="2026-11-29T03:10:00Z",
        verdict="failed",
        counts={"failed": 1, "overridden": 1, "warned": 1, "skipped": 1, "passed": 5},
        checks=checks,
        events=9000,
        daily_events=[Day("2026-11-28", 900), Day("2026-11-29", 100)],
        refusals=Refusals(3, {"field_invalid": 3}, is_sample=False),
        freshness=Freshness("2026-11-29T02:59:00Z", "2026-11-29T03:00:00Z", "2026-11-29T03:05:00Z", None),
        profiles=[profile],
    )
