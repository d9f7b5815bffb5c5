"""The result of a statement, as fakesnow 0.12.1 keeps it in a cursor."""

import uuid
from typing import Any

from fakesnow.cursor import FakeSnowflakeCursor
from sqlglot import exp


def answer(cursor: FakeSnowflakeCursor, statement: exp.Expr, sql: str, params: Any, rowcount: int) -> None:
    """Make a query of DuckDB the result of a statement. A statement that has a query id keeps it."""
    cursor._duck_conn.execute(sql, params)
    cursor._arrow_table = cursor._duck_conn.to_arrow_table()
    cursor._arrow_table_fetch_index = None
    cursor._rowcount = rowcount
    cursor._sfqid = cursor._sfqid or str(uuid.uuid4())
    cursor._last_sql, cursor._last_params, cursor._last_transformed = sql, params, statement
    cursor._conn.results_cache[cursor._sfqid] = (cursor._arrow_table, rowcount, sql, params, statement)
