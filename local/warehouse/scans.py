"""Rows scanned per statement, in a file of JSON lines, for tests of what a night costs.

DuckDB skips a row group by the smallest and largest value of its columns, as Snowflake skips a micro-partition.
So its count of scanned rows shows which filters prune. A small row group makes a small test table have many of them.
DuckDB also prunes by values that are found while a join runs. That is disabled here, because Snowflake documents pruning
for constants and not for subqueries: https://docs.snowflake.com/en/user-guide/tables-clustering-micropartitions
"""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

PARTITION_ROWS = 2048  # the smallest row group that DuckDB supports
SETTINGS = (
    "SET enable_profiling = 'no_output'",
    "SET profiling_coverage = 'ALL'",
    "SET disabled_optimizers = 'join_filter_pushdown'",
)
# Snowflake answers these from the metadata of its micro-partitions, without a scan.
FROM_METADATA = re.compile(
    r"\s*SELECT\s+(?:(?:MAX|MIN)\(\s*\w+\s*\)|COUNT\(\*\)|CAST\((?:MAX|MIN)\(\s*\w+\s*\) AS \w+\))"
    r"(?:\s+AS\s+\w+)?\s+FROM\s+[\w.\"]+(?:\s+AS\s+\w+)?\s*(?:/\*.*\*/)?",
    re.IGNORECASE,
)


class Counted:
    """A DuckDB connection that records the scans of its statements. Everything else passes through."""

    def __init__(self, duck_conn: Any, file: Path, database: str | None) -> None:
        self._duck_conn = duck_conn
        self._file = file
        if database:
            # A checkpoint gives updated row groups their exact smallest and largest values. Running transactions refuse it.
            with contextlib.suppress(duckdb.Error):
                duck_conn.execute(f'CHECKPOINT "{database}"')
        for setting in SETTINGS:
            duck_conn.execute(setting)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._duck_conn, name)

    def execute(self, sql: str, *parameters: Any) -> "Counted":
        """Run a statement and record its scans. A new database gets small row groups."""
        keyword = sql.lstrip("( \n")[:6].upper()
        if keyword == "ATTACH":
            sql = f"{sql} (ROW_GROUP_SIZE {PARTITION_ROWS})"
        if keyword.startswith(("SELECT", "WITH")):
            # Python's client reads a result lazily, and its profile is incomplete until then: run the query twice.
            self._duck_conn.execute(f"EXPLAIN ANALYZE {sql}", *parameters).fetchall()
            self._record(sql)
            self._duck_conn.execute(sql, *parameters)
            return self
        self._duck_conn.execute(sql, *parameters)
        if keyword.startswith(("INSERT", "DELETE", "UPDATE", "MERGE", "CREATE", "COPY")):
            self._record(sql)
        return self

    def _record(self, sql: str) -> None:
        if FROM_METADATA.fullmatch(sql):
            return
        profile = json.loads(self._duck_conn.get_profiling_information(format="json"))
        tables: dict[str, int] = {}
        for table, rows in _scans(profile.get("operator", [])):
            tables[table] = tables.get(table, 0) + rows
        if tables:
            with self._file.open("a") as out:
                out.write(json.dumps({"sql": sql, "rows": sum(tables.values()), "tables": tables}) + "\n")


def _scans(operators: list[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    """Yield the table and the rows of every scan, without those of fakesnow's own tables."""
    for operator in operators:
        table = str(operator.get("extra_info", {}).get("Table", ""))
        if operator["type"] == "TABLE_SCAN" and table and "_fs_" not in table:
            yield table.split(".", 1)[-1], int(operator.get("rows_scanned", 0))
        yield from _scans(operator.get("children", []))
