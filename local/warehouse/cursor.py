"""The wrapper of every statement: rewrites, unloads, load metadata and errors.

fakesnow 0.12.1 answers an unexpected exception with HTTP 500, which the connector retries for minutes. It also leaves DuckDB's
transaction aborted, so that every later statement of the session fails too.
"""

import re
from typing import Any

import duckdb
import sqlglot
from fakesnow.cursor import FakeSnowflakeCursor
from snowflake.connector.errors import DatabaseError, ProgrammingError
from sqlglot import exp

from local.warehouse import load, unload
from local.warehouse.rewrites import rewrite
from local.warehouse.stages import store_file_format

FIRST_WORD = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)", re.DOTALL)


def install() -> None:
    """Wrap `FakeSnowflakeCursor.execute`."""
    original = FakeSnowflakeCursor.execute

    def execute(self: FakeSnowflakeCursor, command: str, *args: Any, **kwargs: Any) -> FakeSnowflakeCursor:
        try:
            return _execute(original, self, command, *args, **kwargs)
        except Exception as error:
            if isinstance(error, duckdb.Error) or isinstance(error.__cause__, duckdb.Error):
                _roll_back_aborted_transaction(self)
            if isinstance(error, DatabaseError):
                raise
            message = f"{type(error).__name__}: {error}".split("\n")[0]
            raise ProgrammingError(msg=message, errno=9999, sqlstate="XX000") from error

    FakeSnowflakeCursor.execute = execute


def _execute(original: Any, cursor: FakeSnowflakeCursor, command: str, *args: Any, **kwargs: Any) -> Any:
    match = FIRST_WORD.match(command)
    keyword = match[1].lower() if match else ""
    command = rewrite(command, keyword)
    if keyword not in ("copy", "create", "truncate"):
        return original(cursor, command, *args, **kwargs)
    statement = _parsed(command)
    if isinstance(statement, exp.Copy) and unload.is_unload(statement):
        return original(cursor, unload.unload(cursor, statement), *args, **kwargs)
    if isinstance(statement, exp.Create) and _creates_nothing(cursor, statement):
        # fakesnow deletes the load metadata of a table on every CREATE TABLE, even if the table exists.
        # The next COPY would then load every file again.
        table = statement.find(exp.Table)
        assert table is not None
        status = f"{table.name.upper()} already exists, statement succeeded."
        return original(cursor, f"SELECT '{status}' AS \"status\"")
    result = original(cursor, command, *args, **kwargs)
    if isinstance(statement, exp.Create) and str(statement.args.get("kind")).upper() == "STAGE":
        store_file_format(cursor._duck_conn, statement, cursor._conn.database, cursor._conn.schema)
    if isinstance(statement, exp.TruncateTable):
        for table in statement.expressions:
            load.forget(cursor._duck_conn, *_full_name(cursor, table))
        original(cursor, "SELECT 'Statement executed successfully.' AS \"status\"")
    return result


def _parsed(command: str) -> exp.Expr | None:
    try:
        return sqlglot.parse_one(command, read="snowflake")
    except sqlglot.ParseError:
        return None  # fakesnow reports the error


def _creates_nothing(cursor: FakeSnowflakeCursor, statement: exp.Create) -> bool:
    """Return True for `create table if not exists` of a table that exists."""
    if str(statement.args.get("kind")).upper() != "TABLE" or not statement.args.get("exists"):
        return False
    table = statement.find(exp.Table)
    assert table is not None
    found = cursor._duck_conn.execute(
        "SELECT 1 FROM duckdb_tables() "
        "WHERE upper(database_name) = ? AND upper(schema_name) = ? AND table_name = ?",
        list(_full_name(cursor, table)),
    ).fetchone()
    return found is not None


def _full_name(cursor: FakeSnowflakeCursor, table: exp.Table) -> tuple[str, str, str]:
    connection = cursor._conn
    name = table.name if table.this.args.get("quoted") else table.name.upper()
    database, schema = table.catalog or connection.database or "", table.db or connection.schema or ""
    return database.upper(), schema.upper(), name


def _roll_back_aborted_transaction(cursor: FakeSnowflakeCursor) -> None:
    try:
        cursor._duck_conn.rollback()
    except duckdb.Error:
        return  # no transaction was open
