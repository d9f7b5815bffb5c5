"""Rows scanned and seconds per statement, in a file of JSON lines, for tests and measurements of what a night costs.

DuckDB skips a row group by the smallest and largest value of its columns, as Snowflake skips a micro-partition.
So its count of scanned rows shows which filters prune. A small row group makes a small test table have many of them.
DuckDB also prunes by values that are found while a join runs. That is disabled here, because Snowflake documents pruning
for constants and not for subqueries: https://docs.snowflake.com/en/user-guide/tables-clustering-micropartitions

A line has the statement (`sql`), `rows`, rows per table (`tables`) and `seconds`. `metadata` marks a statement that Snowflake
answers without a scan. `overhead_s` is the time that only counting takes. COPY's listings have `keys` and `bytes`.
"""

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

PARTITION_ROWS = 2048  # the smallest row group that DuckDB supports
SETTINGS = (
    "SET enable_profiling = 'no_output'",
    "SET profiling_coverage = 'ALL'",
    "SET disabled_optimizers = 'join_filter_pushdown'",
)
# It scans no table, and listing twice would count twice.
LISTING = re.compile(r"\bFROM glob\(", re.IGNORECASE)
SCANNING = ("SELECT", "WITH", "INSERT", "DELETE", "UPDATE", "MERGE", "CREATE", "COPY")
# Snowflake answers these from the metadata of its micro-partitions, without a scan.
FROM_METADATA = re.compile(
    r"\s*SELECT\s+(?:(?:MAX|MIN)\(\s*\w+\s*\)|COUNT\(\*\)|CAST\((?:MAX|MIN)\(\s*\w+\s*\) AS \w+\))"
    r"(?:\s+AS\s+\w+)?\s+FROM\s+[\w.\"]+(?:\s+AS\s+\w+)?\s*(?:/\*.*\*/)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Counting:
    """Where the counts go, and the rows of a row group of new databases."""

    file: Path
    partition_rows: int = PARTITION_ROWS

    def write(self, sql: str, **figures: Any) -> None:
        """Append one line."""
        with self.file.open("a") as out:
            out.write(json.dumps({"sql": sql, "rows": 0, "tables": {}} | figures) + "\n")

    def listed(self, location: str, page: dict[str, Any]) -> None:
        """Append one line for a page of S3's listing."""
        size = int(page["ResponseMetadata"]["HTTPHeaders"].get("content-length", 0))
        self.write(f"LIST s3://{location}", keys=len(page.get("Contents", [])), bytes=size)

    def attached(self, attach: str) -> str:
        """Return an ATTACH statement with small row groups."""
        return f"{attach} (ROW_GROUP_SIZE {self.partition_rows})"


class Counted:
    """A DuckDB connection that records its statements and their scans. Everything else passes through."""

    def __init__(self, duck_conn: Any, counting: Counting, database: str | None) -> None:
        self._duck_conn = duck_conn
        self._counting = counting
        if database:
            # A checkpoint gives updated row groups their exact smallest and largest values. Running transactions refuse it.
            began_s = time.perf_counter()
            with contextlib.suppress(duckdb.Error):
                duck_conn.execute(f'CHECKPOINT "{database}"')
            counting.write("CHECKPOINT", overhead_s=time.perf_counter() - began_s)
        for setting in SETTINGS:
            duck_conn.execute(setting)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._duck_conn, name)

    def execute(self, sql: str, *parameters: Any) -> "Counted":
        """Run a statement and record its scans. A new database gets small row groups."""
        keyword = sql.lstrip("( \n")[:6].upper()
        if keyword == "ATTACH":
            sql = self._counting.attached(sql)
        began_s = time.perf_counter()
        if keyword.startswith(("SELECT", "WITH")) and not LISTING.search(sql):
            # Python's client reads a result lazily, and its profile is incomplete until then: run the query twice.
            self._duck_conn.execute(f"EXPLAIN ANALYZE {sql}", *parameters).fetchall()
            seconds = time.perf_counter() - began_s
            self._record(sql, seconds, overhead_s=seconds)
            self._duck_conn.execute(sql, *parameters)
            return self
        self._duck_conn.execute(sql, *parameters)
        self._record(sql, time.perf_counter() - began_s, overhead_s=0)
        return self

    def _record(self, sql: str, seconds: float, overhead_s: float) -> None:
        times = {"seconds": round(seconds, 4), "overhead_s": round(overhead_s, 4)}
        if FROM_METADATA.fullmatch(sql):
            self._counting.write(sql, metadata=True, **times)
            return
        tables: dict[str, int] = {}
        if sql.lstrip("( \n")[:6].upper().startswith(SCANNING):
            profile = json.loads(self._duck_conn.get_profiling_information(format="json"))
            for table, rows in _scans(profile.get("operator", [])):
                tables[table] = tables.get(table, 0) + rows
        self._counting.write(sql, rows=sum(tables.values()), tables=tables, **times)


def _scans(operators: list[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    """Yield the table and the rows of every scan, without those of fakesnow's own tables."""
    for operator in operators:
        table = str(operator.get("extra_info", {}).get("Table", ""))
        if operator["type"] == "TABLE_SCAN" and table and "_fs_" not in table:
            yield table.split(".", 1)[-1], int(operator.get("rows_scanned", 0))
        yield from _scans(operator.get("children", []))
