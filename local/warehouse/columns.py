"""The columns of a result, as DuckDB returned them.

fakesnow 0.12.1 parses and plans each statement again for its columns. That costs a fifth of the server's processor time.
"""

from typing import Any

from fakesnow.cursor import FakeSnowflakeCursor
from sqlglot import exp

# A row of DuckDB's DESCRIBE: name, type, nullable, key, default, extra.
Column = tuple[str, str, str, None, None, None]


def install() -> None:
    """Keep the columns of each result, and answer with them."""
    execute, describe = FakeSnowflakeCursor._execute, FakeSnowflakeCursor._describe_last_sql

    def _execute(self: FakeSnowflakeCursor, transformed: exp.Expr, params: Any = None) -> None:
        self.columns = None
        execute(self, transformed, params)
        # RESULT_SCAN repeats an earlier result without a statement of DuckDB.
        if not transformed.args.get("result_scan_sfqid"):
            self.columns = columns(self._duck_conn.description)

    def _describe_last_sql(self: FakeSnowflakeCursor) -> list[Any]:
        found: list[Any] = describe(self) if self.columns is None else self.columns
        return found

    FakeSnowflakeCursor._execute = _execute
    FakeSnowflakeCursor._describe_last_sql = _describe_last_sql


def columns(description: list[tuple[Any, ...]]) -> list[Column]:
    """Return the columns as DESCRIBE lists them. DB-API's description has their names and types."""
    return [(name, str(duckdb_type), "YES", None, None, None) for name, duckdb_type, *_ in description]
