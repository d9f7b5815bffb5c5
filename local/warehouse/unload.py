"""COPY INTO a location, which fakesnow 0.12.1 does not support. Only Parquet, one file per statement."""

from typing import Any

import fakesnow.copy_into
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp

FILE_NAME = "data_0_0_0.snappy.parquet"


def is_unload(statement: exp.Expr) -> bool:
    """Return True if a COPY writes files instead of a table."""
    target = statement.this.this if isinstance(statement.this, exp.Table) else statement.this
    return isinstance(target, exp.Var) or (isinstance(target, exp.Literal) and target.is_string)


def unload(cursor: Any, statement: exp.Copy) -> str:
    """Write the rows of the query to a file; return SQL that selects Snowflake's result.

    Raises:
        ProgrammingError: files exist at the location, and OVERWRITE is not set.
    """
    options = {param.this.name.upper(): param for param in statement.args.get("params", [])}
    _only_parquet(options)
    url = _url(cursor, statement)
    if (
        not _is_true(options, "OVERWRITE")
        and cursor._duck_conn.execute(f"SELECT 1 FROM glob('{url}*')").fetchone()
    ):
        raise ProgrammingError(
            msg="Files already existing at the unload destination. Use overwrite option to force unloading.",
            errno=1030,
            sqlstate="42601",
        )
    source = statement.args["files"][0]
    query = source.this if isinstance(source, exp.Subquery) else exp.select("*").from_(source.copy())
    rows = cursor._transform(query.copy(), None).sql("duckdb")
    if not _is_true(options, "HEADER"):  # without HEADER, Snowflake names columns by position
        width = len(cursor._duck_conn.execute(f"DESCRIBE {rows}").fetchall())
        names = ", ".join(f'"_COL_{number}"' for number in range(width))
        rows = f"SELECT * FROM ({rows}) AS t({names})"
    if not cursor._duck_conn.execute(f"SELECT 1 FROM ({rows}) LIMIT 1").fetchone():
        return _result(0)  # without rows, no file is written
    (count,) = cursor._duck_conn.execute(
        f"COPY ({rows}) TO '{url}{FILE_NAME}' (FORMAT PARQUET, COMPRESSION SNAPPY)"
    ).fetchone()
    return _result(count)


def _only_parquet(options: dict[str, exp.Expr]) -> None:
    types = [
        each.args["value"].name.upper()
        for each in (options["FILE_FORMAT"].expressions if "FILE_FORMAT" in options else [])
        if each.name.upper() == "TYPE"
    ]
    if types != ["PARQUET"]:
        raise NotImplementedError(
            "the local Snowflake unloads only Parquet: set FILE_FORMAT = (TYPE = PARQUET)"
        )


def _url(cursor: Any, statement: exp.Copy) -> str:
    target: str = statement.this.this.name
    if target.startswith("@"):
        connection = cursor._conn
        return str(
            fakesnow.copy_into.stage_url_from_var(
                target[1:], connection._duck_conn, connection.database, connection.schema,
                connection.table_stages, exp.to_table("unused"),
            )
        )  # fmt: skip
    return target


def _is_true(options: dict[str, exp.Expr], name: str) -> bool:
    return name in options and options[name].expression.sql().upper() == "TRUE"


def _result(rows: int) -> str:
    return f'SELECT {rows} AS "rows_unloaded", 0 AS "input_bytes", 0 AS "output_bytes"'
