"""The wrapper of every statement: access control, rewrites, unloads, load metadata and errors.

fakesnow 0.12.1 answers an unexpected exception with HTTP 500, which the connector retries for minutes. It also leaves DuckDB's
transaction aborted, so that every later statement of the session fails too.
"""

import re
from typing import Any

import duckdb
import fakesnow.cursor
import fakesnow.server
from fakesnow.cursor import FakeSnowflakeCursor
from snowflake.connector.errors import DatabaseError, ProgrammingError
from sqlglot import exp

from local.warehouse import databases, load, unload
from local.warehouse.access import privileges, statements
from local.warehouse.access.account import Account
from local.warehouse.access.privileges import Session
from local.warehouse.access.storage import StorageAccess
from local.warehouse.parsing import Parser
from local.warehouse.pipes import Pipes
from local.warehouse.purge import Purge
from local.warehouse.rewrites import rewrite
from local.warehouse.stages import alter, store_file_format

FIRST_WORD = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)", re.DOTALL)


def install(account: Account, storage: StorageAccess, pipes: Pipes, purge: Purge) -> None:
    """Wrap `FakeSnowflakeCursor.execute`, and check each parsed statement before fakesnow transforms it."""
    original = FakeSnowflakeCursor.execute
    names_are_complete = FakeSnowflakeCursor.check_db_and_schema
    parser = Parser()
    fakesnow.server.parse_one = parser.ahead
    fakesnow.cursor.parse_one = parser.parse

    def check_db_and_schema(self: FakeSnowflakeCursor, expression: exp.Expr) -> None:
        names_are_complete(self, expression)
        _authorize(self, expression, account, storage, purge)

    def execute(self: FakeSnowflakeCursor, command: str, *args: Any, **kwargs: Any) -> FakeSnowflakeCursor:
        try:
            return _execute(original, self, parser, account, pipes, command, *args, **kwargs)
        except Exception as error:
            if isinstance(error, duckdb.Error) or isinstance(error.__cause__, duckdb.Error):
                _roll_back_aborted_transaction(self)
            if isinstance(error, DatabaseError):
                raise
            message = f"{type(error).__name__}: {error}".split("\n")[0]
            raise ProgrammingError(msg=message, errno=9999, sqlstate="XX000") from error

    FakeSnowflakeCursor.execute = execute
    FakeSnowflakeCursor.check_db_and_schema = check_db_and_schema


def session_of(cursor: FakeSnowflakeCursor) -> Session:
    """Return the session of a cursor, with the current database and schema."""
    connection = cursor._conn
    session: Session = connection.access
    session.database, session.schema = connection.database or "", connection.schema or ""
    return session


def _execute(
    original: Any,
    cursor: FakeSnowflakeCursor,
    parser: Parser,
    account: Account,
    pipes: Pipes,
    command: str,
    *args: Any,
    **kwargs: Any,
) -> Any:
    about_pipes = pipes.execute(command, session_of(cursor))
    if about_pipes is not None:
        return original(cursor, _as_select(about_pipes))
    command = pipes.rewrite(command, session_of(cursor))
    if statements.is_account_statement(command):
        result = statements.execute(command, session_of(cursor), account)
        if result.altered:
            alter(cursor._duck_conn, *result.altered)
        return original(cursor, _as_select(result))
    if dropped := databases.drop(command, cursor._duck_conn, session_of(cursor), account):
        return original(cursor, _as_select(statements.Result(rows=[(dropped,)])))
    match = FIRST_WORD.match(command)
    keyword = match[1].lower() if match else ""
    rewritten = rewrite(command, keyword)
    cursor.creates_temporary = keyword == "create" and rewritten != command
    cursor.effect = None
    outcome = _run(original, cursor, parser, account, keyword, rewritten, *args, **kwargs)
    if cursor.effect:
        cursor.effect(account)
    return outcome


def _authorize(
    cursor: FakeSnowflakeCursor,
    statement: exp.Expr,
    account: Account,
    storage: StorageAccess,
    purge: Purge,
) -> None:
    """Check the statement under the session's role, and keep what it changes about owners until it has succeeded."""
    session = session_of(cursor)
    _fill_in(statement, session)
    temporary = getattr(cursor, "creates_temporary", False)
    account.require(session.role, privileges.needs(statement, session, account, temporary))
    if isinstance(statement, exp.Delete) and isinstance(statement.this, exp.Table):
        table = account.relation(session.full_name(statement.this))
        if account.objects[table].owner != session.role:
            purge.add(table.name.partition(".")[0])
    if isinstance(statement, exp.Copy):
        for stage in privileges.stages(statement, session):
            storage.open(account, stage)
    if isinstance(statement, exp.Create) and str(statement.args.get("kind")).upper() == "STAGE":
        statements.check_location(account, privileges.stage_properties(statement))
    cursor.effect = privileges.effects(statement, session, account)


def _fill_in(statement: exp.Expr, session: Session) -> None:
    """Replace `current_role()` and the like, which fakesnow does not know, by the session's values."""
    values: dict[type, str] = {
        exp.CurrentAccount: "LOCAL",
        exp.CurrentRegion: "AWS_US_EAST_1",
        exp.CurrentRole: session.role,
        exp.CurrentUser: session.user,
        exp.CurrentWarehouse: session.warehouse,
    }
    found: list[exp.Expr] = list(statement.find_all(*values))
    for node in found:
        node.replace(exp.Literal.string(values[type(node)]))


def _as_select(result: statements.Result) -> str:
    """Return a query that has this result."""
    rows = [
        ", ".join(
            f'{"NULL" if value is None else exp.Literal.string(str(value)).sql("snowflake")} AS "{name}"'
            for name, value in zip(result.columns, row, strict=True)
        )
        for row in result.rows
    ]
    empty = ", ".join(f'NULL AS "{name}"' for name in result.columns)
    return " UNION ALL ".join(f"SELECT {row}" for row in rows) or f"SELECT {empty} WHERE FALSE"


def _run(
    original: Any,
    cursor: FakeSnowflakeCursor,
    parser: Parser,
    account: Account,
    keyword: str,
    command: str,
    *args: Any,
    **kwargs: Any,
) -> Any:
    if keyword not in ("copy", "create", "truncate"):
        return original(cursor, command, *args, **kwargs)
    statement = parser.peek(command)
    if isinstance(statement, exp.Copy) and unload.is_unload(statement):
        cursor.check_db_and_schema(statement)
        return original(cursor, unload.unload(cursor, statement), *args, **kwargs)
    if isinstance(statement, exp.Create) and _creates_nothing(cursor, statement):
        cursor.check_db_and_schema(statement)
        effect, cursor.effect = cursor.effect, None
        effect(account)
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
