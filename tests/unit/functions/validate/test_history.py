"""The index of runs: the tries of a run, the trends of its checks, and charts with their bounds."""

from datetime import UTC, datetime, timedelta
from typing import Any

from functions.validate.history import CHART_HEIGHT, CHART_WIDTH, Trend, chart, index, read_history
from testing.warehouse_fakes import FakeConnection

NOW = datetime(2026, 11, 29, 3, tzinfo=UTC)


def row(
    run: str, days_ago: int, name: str, value: float | None, verdict: str, kind: str = "data"
) -> tuple[Any, ...]:
    at = (NOW - timedelta(days=days_ago)).replace(tzinfo=None)
    return (run, at, kind, name, "shop <b>", value, 0.5, "<=", verdict)


HISTORY = [
    row("r1", 2, "lost price", 0.1, "passed"),
    row("r1", 2, "unique", 3.0, "failed", "dbt"),
    row("r2", 1, "lost price", 0.9, "failed"),
    row("r2", 0, "lost price", 0.9, "overridden"),
    row("r2", 0, "silence", None, "skipped"),
]


def test_each_try_of_a_run_is_listed_and_the_worst_checks_of_the_last_run_come_first() -> None:
    connection = FakeConnection(("from QA.CHECK_RESULTS", HISTORY))
    runs, trends = read_history(connection, "demo", NOW)
    assert [(run.run_id, run.verdict) for run in runs] == [
        ("r1", "failed"),
        ("r2", "failed"),
        ("r2", "overridden"),
    ]
    assert runs[1].failed == ["lost price"]
    assert [trend.name for trend in trends] == ["lost price", "silence", "unique"]
    since = (connection.statements[0][1] or ("", NOW))[1]
    assert timedelta(days=90) < NOW.replace(tzinfo=None) - since < timedelta(days=365)


def test_the_index_links_every_run_and_escapes_what_it_shows() -> None:
    runs, trends = read_history(FakeConnection(("from QA.CHECK_RESULTS", HISTORY)), "demo", NOW)
    html = index("demo", runs, trends)
    assert html.count('href="../r2.html"') == 4
    assert "<b>" not in html
    assert "http" not in html
    assert "3 values from 0.1 to 0.9, bound 0.5, 2 breaches" in html
    assert "not in the last run" in html


def test_an_index_without_runs_says_so() -> None:
    assert "No run of Validate has ended yet" in index("demo", [], [])


def test_a_chart_stays_within_its_frame_and_marks_the_breaches() -> None:
    points = [
        (0, 0.1, 0.5, "passed"),
        (1, None, 0.5, "skipped"),
        (2, 2.0, 0.5, "failed"),
        (3, -1.0, 0.5, "warned"),
    ]
    drawn = chart(Trend("data", "x", "s", points, "<="), runs=4)
    places = [place for line in drawn["lines"] for place in line]
    assert [len(line) for line in drawn["lines"]] == [1, 2]
    assert all(0 <= x <= CHART_WIDTH and 0 <= y <= CHART_HEIGHT for x, y in places)
    assert [mark[2] for mark in drawn["marks"]] == ["failed", "warned"]
    assert drawn["bound"] == CHART_HEIGHT * 0.75
