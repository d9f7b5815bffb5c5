"""A clock that is ahead of the machine's, or behind it, so that a measurement plays many days within an hour.

DuckDB has no setting for its clock, so the statements and the defaults of columns get the difference.
"""

import re
from typing import Any

import duckdb

# The second form is the first one, as DuckDB stores it in the default of a column.
NOW = re.compile(
    r"\(CURRENT_TIMESTAMP \+ INTERVAL '-?\d+ seconds'\)"
    r"|\(CURRENT_TIMESTAMP \+ CAST\('-?\d+ seconds' AS INTERVAL\)\)"
    r"|\bCURRENT_TIMESTAMP\b",
    re.IGNORECASE,
)


class Shifted:
    """A DuckDB connection whose statements use another time. Everything else passes through."""

    def __init__(self, duck_conn: Any, ahead_s: int) -> None:
        self._duck_conn = duck_conn
        self._ahead_s = ahead_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._duck_conn, name)

    def execute(self, sql: str, *parameters: Any) -> "Shifted":
        """Run a statement with the shifted time."""
        self._duck_conn.execute(shifted(sql, self._ahead_s), *parameters)
        return self


def shifted(sql: str, ahead_s: int) -> str:
    """Return the SQL with each current time, shifted earlier or not, replaced by the shifted one."""
    return NOW.sub(f"(CURRENT_TIMESTAMP + INTERVAL '{ahead_s} seconds')", sql)


def shift_defaults(duck_conn: duckdb.DuckDBPyConnection, ahead_s: int) -> None:
    """Shift the defaults of all columns that contain the current time: COPY fills them in without a statement of ours."""
    columns = duck_conn.execute(
        "SELECT database_name, schema_name, table_name, column_name, column_default FROM duckdb_columns() "
        "WHERE NOT internal AND column_default ILIKE '%current_timestamp%'"
    ).fetchall()
    for database, schema, table, column, default in columns:
        duck_conn.execute(
            f'ALTER TABLE "{database}"."{schema}"."{table}" ALTER COLUMN "{column}" '
            f"SET DEFAULT {shifted(default, ahead_s)}"
        )
