from datetime import date
from pathlib import Path

import duckdb
import pytest

from benchmarks.journey import BARE_SQL, statements, times_the_bare, write_raw
from demo.generator import History
from demo.source import generated
from demo.split import Split
from imports.rejects import Rejects


def test_the_bare_sql_makes_the_same_training_sessions_as_the_report_does(tmp_path: Path) -> None:
    dataset = generated(History(events=8_000, seed=11, end=date(2026, 3, 15)))
    split = Split(dataset, None)
    sent = sum(1 for _ in split.training_events(Rejects()))
    assert write_raw(dataset, tmp_path) == sent
    connection = duckdb.connect()
    for _, statement in statements(BARE_SQL.read_text()):
        connection.execute(statement.replace("{raw}", str(tmp_path / "*.gz")))
    rows = connection.execute(
        "SELECT session_key, list(item_id ORDER BY position) FROM training_interactions GROUP BY session_key"
    ).fetchall()
    assert sorted(items for _, items in rows) == sorted(split.training_sessions())


def test_the_bare_sql_names_the_table_that_each_statement_makes() -> None:
    names = [name for name, _ in statements(BARE_SQL.read_text())]
    assert names == ["raw_events", "stg_events", "int_session_events", "training_interactions"]


@pytest.mark.parametrize(
    "text", ["", "-- nothing\n", "CREATE TABLE a AS SELECT 1;\n-- b\nCREATE TABLE b AS SELECT 2"]
)
def test_comments_are_no_statements(text: str) -> None:
    assert [name for name, _ in statements(text)] == (["a", "b"] if "SELECT" in text else [])


def test_the_stack_is_compared_with_bare_duckdb_a_row() -> None:
    stack = {
        "accepted": 1_000,
        "states": {"Load": {"seconds": 2.0}, "Transform": {"seconds": 6.0}, "Train": {"seconds": 9.0}},
    }
    assert times_the_bare(stack, {"raw_rows": 2_000, "seconds": 4.0}) == 4.0
