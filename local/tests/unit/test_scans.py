"""The count of scanned rows: constants prune, subqueries do not, and metadata is no scan."""

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from local.warehouse.scans import PARTITION_ROWS, Counted, Counting

DAYS, ROWS_A_DAY = 10, 2 * PARTITION_ROWS


@pytest.fixture
def scanned(tmp_path: Path) -> Callable[[str], int]:
    """Return a function that runs a statement and returns the rows it scans."""
    file = tmp_path / "scans.jsonl"
    counted = Counted(duckdb.connect(), Counting(file), None)
    counted.execute(f"ATTACH '{tmp_path / 'D.db'}' AS D")
    counted.execute("USE D")
    counted.execute(
        f"CREATE TABLE EVENTS AS SELECT range // {ROWS_A_DAY} AS DAY, md5(range::VARCHAR) AS EVENT_KEY "
        f"FROM range({DAYS * ROWS_A_DAY})"
    )
    counted.execute("CREATE TABLE CHANGED AS SELECT 3 AS DAY")

    def run(sql: str) -> int:
        file.write_text("")
        counted.execute(sql).fetchall()
        return sum(json.loads(line)["tables"].get("main.EVENTS", 0) for line in file.read_text().splitlines())

    return run


def test_a_constant_skips_the_other_days(scanned: Callable[[str], int]) -> None:
    assert scanned("SELECT count(*) FROM EVENTS WHERE DAY = 3 AND EVENT_KEY > ''") == ROWS_A_DAY
    assert scanned("DELETE FROM EVENTS WHERE DAY BETWEEN 3 AND 4 AND md5(EVENT_KEY) = ''") == 2 * ROWS_A_DAY


def test_neither_a_random_key_nor_a_subquery_skips_a_row(scanned: Callable[[str], int]) -> None:
    everything = DAYS * ROWS_A_DAY
    assert scanned(f"SELECT count(*) FROM EVENTS WHERE EVENT_KEY = '{'8' * 32}'") == everything
    assert scanned("SELECT count(*) FROM EVENTS WHERE DAY IN (SELECT DAY FROM CHANGED)") == everything


def test_the_largest_value_of_a_column_comes_from_metadata(scanned: Callable[[str], int]) -> None:
    assert scanned("SELECT MAX(DAY) FROM EVENTS /* a comment */") == 0
    assert scanned("SELECT MAX(DAY) FROM EVENTS WHERE EVENT_KEY > ''") == DAYS * ROWS_A_DAY
