"""The queries for the rows behind a test, and what of a row is shown."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from functions.platform.dbt import NodeResult
from functions.validate.failing_rows import _failing_row, _rows_of_test, _time_of_ms, judged_rows
from testing.warehouse_fakes import FakeConnection

TABLE = (
    "(select * from DB.STAGING.STG_EVENTS where staged_at > '1970-01-01' and shop_id = 's') as dbt_subquery"
)


def result(check: str, compiled: str, column: str = "event_key") -> NodeResult:
    return NodeResult("name", check, "test", "fail", 0.1, 3, "", column, "stg_events", compiled=compiled)


@pytest.mark.parametrize(
    ("check", "compiled", "condition"),
    [
        ("not_null", f"select event_key\nfrom {TABLE}\nwhere event_key is null", "event_key is null"),
        (
            "unique",
            f"select event_key as unique_field from {TABLE} group by 1",
            "event_key in (select unique_field from (",
        ),
        (
            "accepted_values",
            f"select event_key as value_field from {TABLE}",
            "event_key in (select value_field from (",
        ),
        (
            "relationships",
            f"select event_key as from_field from {TABLE}",
            "event_key in (select from_field from (",
        ),
    ],
)
def test_a_test_of_dbt_that_selects_one_column_is_asked_for_whole_rows(
    check: str, compiled: str, condition: str
) -> None:
    sql = _rows_of_test(result(check, compiled)) or ""
    assert sql.startswith(f"select * from {TABLE} where {condition}")


def test_an_expectation_and_a_query_select_their_rows_themselves() -> None:
    for check in ("expect_column_values_to_be_between", "training_sessions_are_sequences"):
        assert _rows_of_test(result(check, "select * from x;")) == "select * from (select * from x) as broken"
    assert _rows_of_test(result("not_null", "")) is None


def test_the_rows_that_a_test_judged_are_counted_in_its_table() -> None:
    connection = FakeConnection(("count(*)", [(200,)]))
    assert judged_rows(connection, result("not_null", f"select x from {TABLE} where x is null")) == 200
    assert connection.statements[0][0] == f"select count(*) from {TABLE}"
    assert judged_rows(connection, result("a_query", "select 1")) == 0


def shown(row: dict[str, Any], column: str) -> str | None:
    return _failing_row("events", row, column, {}, {}).note


def test_a_number_is_shown_and_a_text_is_not() -> None:
    assert shown({"value": -5.0}, "VALUE") == "VALUE = -5"
    assert shown({"revenue": Decimal("1.50")}, "revenue") == "revenue = 1.50"
    assert shown({"search_term": "ann@example.com"}, "search_term") is None
    assert shown({"title": None}, "title") == "title is null"


def test_a_row_of_a_feed_has_the_address_of_its_line() -> None:
    row = _failing_row(
        "events", {"catalogue_row_key": "catalogue/demo/a-b.gz-17", "imported_at_ms": 0}, "", {}, {}
    )
    assert (row.file, row.line, row.at) == (
        "s3://events/catalogue/demo/a-b.gz",
        17,
        "1970-01-01T00:00:00+00:00",
    )


def test_a_row_of_an_event_has_the_event_and_its_line_and_no_person() -> None:
    events = {"k": ("e-1", "purchase", 1000, "sku", datetime(2026, 1, 1))}
    row = _failing_row("events", {"event_key": "k", "client_id": "ann"}, "", events, {"k": ("raw/a.gz", 3)})
    assert (row.file, row.line, row.event_id, row.item_id) == ("s3://events/raw/a.gz", 3, "e-1", "sku")
    assert "ann" not in repr(row)


def test_a_time_beyond_the_calendar_is_left_to_the_raw_line() -> None:
    assert _time_of_ms(10**18) is None
    assert _time_of_ms(-(10**15)) is None
    assert _time_of_ms(None) is None
