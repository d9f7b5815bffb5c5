"""COPY INTO a table from JSON lines, as Snowflake loads them.

fakesnow 0.12.1 supports neither METADATA$ columns nor PATTERN, ON_ERROR and the file format of a stage.
It treats `force = false` as true, and it reports every file that was loaded before.
Formats other than JSON go to fakesnow's own COPY.
"""

import datetime
import json
import re
from dataclasses import dataclass
from typing import Any

import duckdb
import fakesnow.copy_into
import fakesnow.cursor
import sqlglot
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp

from local.warehouse.s3_files import S3Files
from local.warehouse.stages import file_format_of_stage

MAX_LINE_BYTES = 16 * 1024 * 1024
RESULT_COLUMNS = (
    "file", "status", "rows_parsed", "rows_loaded", "error_limit", "errors_seen",
    "first_error", "first_error_line", "first_error_character", "first_error_column_name",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """Copy options that fakesnow does not support or treats wrongly."""

    on_error: str = "ABORT_STATEMENT"
    pattern: str | None = None
    force: bool = False


@dataclass(frozen=True)
class FileResult:
    """One row of COPY's result."""

    url: str
    status: str
    rows: int = 0
    error: str | None = None
    error_line: int | None = None

    def values(self) -> tuple[Any, ...]:
        """Return the values of `RESULT_COLUMNS`."""
        limit = None if self.status == "LOAD_SKIPPED" else 1
        return (
            self.url, self.status, self.rows, self.rows, limit, 1 if self.error else 0,
            self.error, self.error_line, None, None,
        )  # fmt: skip


def install(files: S3Files) -> None:
    """Route COPY of JSON to this module, other formats to fakesnow."""
    original = fakesnow.copy_into.copy_into

    def copy_into(
        duck_conn: duckdb.DuckDBPyConnection,
        database: str | None,
        schema: str | None,
        expr: exp.Copy,
        table_stages: Any,
        params: Any = None,
    ) -> str:
        options = _take_options(expr, duck_conn, database, schema)
        known = fakesnow.copy_into._params(expr, params, duck_conn, database, schema)
        if not isinstance(known.file_format, fakesnow.copy_into.ReadJSON):
            return str(original(duck_conn, database, schema, expr, table_stages, params))
        table = fakesnow.copy_into._extract_table(expr.this)
        source = fakesnow.copy_into._from_source(expr)
        if source.startswith("@"):
            source = fakesnow.copy_into.stage_url_from_var(
                source[1:], duck_conn, database, schema, table_stages, table
            )
        if known.files:
            urls = fakesnow.copy_into._source_urls(source, known.files)
        else:
            urls = fakesnow.copy_into._source_glob(source, duck_conn)
        if options.pattern:
            urls = [url for url in urls if re.fullmatch(options.pattern, url.split("://", 1)[-1])]
        target = (table.catalog or database or "", table.db or schema or "", table.name)
        named = bool(known.files)
        etags = {url: files.etag(url, listed=not named) for url in urls}
        return _load(duck_conn, expr, etags, target, options, named)

    fakesnow.copy_into.copy_into = copy_into
    fakesnow.cursor.copy_into = copy_into


def forget(duck_conn: duckdb.DuckDBPyConnection, database: str, schema: str, table: str) -> None:
    """Delete the load metadata of a table, as TRUNCATE does, so that its files can be loaded again."""
    history = f"{database}._fs_information_schema._fs_load_history"
    duck_conn.execute(f"DELETE FROM {history} WHERE SCHEMA_NAME = ? AND TABLE_NAME = ?", [schema, table])


def _take_options(
    expr: exp.Copy, duck_conn: duckdb.DuckDBPyConnection, database: str | None, schema: str | None
) -> Options:
    """Remove the options that fakesnow cannot parse from the statement, and add the file format of the stage."""
    taken: dict[str, Any] = {}
    kept = []
    for param in expr.args.get("params", []):
        match param.this.name.upper():
            case "ON_ERROR":
                taken["on_error"] = param.expression.name.upper()
            case "PATTERN":
                taken["pattern"] = param.expression.name
            case "FORCE":
                taken["force"] = param.expression.sql().upper() == "TRUE"
                kept += [param] if taken["force"] else []
            case _:
                kept.append(param)
    if taken.get("on_error", "ABORT_STATEMENT") not in ("ABORT_STATEMENT", "SKIP_FILE"):
        raise NotImplementedError(
            f"ON_ERROR = {taken['on_error']} is not supported by the local Snowflake. "
            "Use ABORT_STATEMENT or SKIP_FILE."
        )
    source = fakesnow.copy_into._from_source(expr)
    if source.startswith("@") and not any(param.this.name.upper() == "FILE_FORMAT" for param in kept):
        file_format = file_format_of_stage(duck_conn, source, database, schema)
        if file_format:
            options = ", ".join(f"{key} = {_literal(value)}" for key, value in file_format.items())
            with_format = sqlglot.parse_one(
                f"copy into t from @s file_format = ({options})", read="snowflake"
            )
            kept += with_format.args["params"]
    expr.set("params", kept)
    return Options(**taken)


def _literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (bool, int)) else f"'{value}'"


def _load(
    duck_conn: duckdb.DuckDBPyConnection,
    expr: exp.Copy,
    etags: dict[str, str | None],
    target: tuple[str, str, str],
    options: Options,
    named: bool,
) -> str:
    database, schema, table = target
    loaded_before = loaded_by_copy(duck_conn, database, schema, table)
    results = []
    # A separate connection, because a bad file must not abort the session's transaction. In contrast to Snowflake,
    # the rollback of an explicit transaction therefore does not undo a COPY.
    with duck_conn.cursor() as connection:
        connection.begin()
        for url, etag in etags.items():
            if loaded_before.get(url, "never") in (etag, None) and not options.force:
                # Snowflake reports a skipped file only if the statement listed it.
                results += [FileResult(url, "LOAD_SKIPPED", error="File was loaded before.")] if named else []
                continue
            results.append(_load_file(connection, expr, url, etag, target))
            if results[-1].status == "LOADED" and options.on_error == "ABORT_STATEMENT":
                continue  # all files or none: the commit is below
            if options.on_error == "ABORT_STATEMENT":
                connection.rollback()
                raise ProgrammingError(msg=str(results[-1].error), errno=100069, sqlstate="22P02")
            connection.commit() if results[-1].status == "LOADED" else connection.rollback()
            connection.begin()
        connection.commit()
    if not results:
        return _result(duck_conn, "SELECT 'Copy executed with 0 files processed.' AS status")
    rows = exp.values([result.values() for result in results], alias="t", columns=RESULT_COLUMNS)
    return _result(duck_conn, exp.select("*").from_(rows).sql(dialect="duckdb"))


def _load_file(
    connection: duckdb.DuckDBPyConnection,
    expr: exp.Copy,
    url: str,
    etag: str | None,
    target: tuple[str, str, str],
) -> FileResult:
    """Load one file and store its load metadata."""
    database, schema, table = target
    result = insert_file(connection, expr, url, target)
    if result.status != "LOADED":
        return result
    rows = result.rows
    loaded_at = datetime.datetime.now(datetime.UTC).isoformat()
    connection.execute(
        f"INSERT INTO {database}._fs_information_schema._fs_load_history "
        "(SCHEMA_NAME, FILE_NAME, TABLE_NAME, LAST_LOAD_TIME, STATUS, ROW_COUNT, ROW_PARSED, ERROR_COUNT, ERROR_LIMIT) "
        "VALUES (?, ?, ?, ?, 'LOADED', ?, ?, 0, 1)",
        [schema, url, table, loaded_at, rows, rows],
    )
    connection.execute(
        f"INSERT INTO {_etags(connection, database)} VALUES (?, ?, ?, ?, ?)",
        [schema, table, url, loaded_at, etag],
    )
    return FileResult(url, "LOADED", rows=rows)


def insert_file(
    connection: duckdb.DuckDBPyConnection, expr: exp.Copy, url: str, target: tuple[str, str, str]
) -> FileResult:
    """Insert the rows of one file, without load metadata."""
    try:
        (rows,) = connection.execute(_insert(expr, url, target).sql(dialect="duckdb")).fetchall()[0]
    except (duckdb.InvalidInputException, duckdb.IOException, duckdb.ConversionException) as error:
        message, line = _as_snowflake(error, url)
        return FileResult(url, "LOAD_FAILED", error=message, error_line=line)
    return FileResult(url, "LOADED", rows=rows)


def loaded_by_copy(
    connection: duckdb.DuckDBPyConnection, database: str, schema: str, table: str
) -> dict[str, str | None]:
    """Return the addresses of the files that COPY loaded into a table, with the checksum of each."""
    history = f"{database}._fs_information_schema._fs_load_history"
    # Snowflake loads a file again whose checksum has changed:
    # https://docs.snowflake.com/en/sql-reference/sql/copy-into-table#copy-options-copyoptions
    etags = _etags(connection, database)
    rows = connection.execute(
        f"SELECT h.FILE_NAME, e.ETAG FROM {history} AS h LEFT JOIN {etags} AS e "
        "ON h.SCHEMA_NAME = e.SCHEMA_NAME AND h.TABLE_NAME = e.TABLE_NAME AND h.FILE_NAME = e.FILE_NAME "
        "AND h.LAST_LOAD_TIME = e.LAST_LOAD_TIME "
        "WHERE h.SCHEMA_NAME = ? AND h.TABLE_NAME = ? AND h.STATUS = 'LOADED' ORDER BY h.LAST_LOAD_TIME",
        [schema, table],
    ).fetchall()
    return dict(rows)


def _etags(connection: duckdb.DuckDBPyConnection, database: str) -> str:
    """Return the name of the table with the checksums of loaded files, and create it.

    It is a table of its own, because fakesnow inserts into its load history by position.
    """
    schema = f"{database}._fs_information_schema"
    # The state of an earlier release has them in the history.
    connection.execute(f"ALTER TABLE {schema}._fs_load_history DROP COLUMN IF EXISTS ETAG")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {schema}._load_etags "
        "(SCHEMA_NAME VARCHAR, TABLE_NAME VARCHAR, FILE_NAME VARCHAR, LAST_LOAD_TIME TIMESTAMPTZ, ETAG VARCHAR)"
    )
    return f"{schema}._load_etags"


def _insert(expr: exp.Copy, url: str, target: tuple[str, str, str]) -> exp.Insert:
    source = expr.args["files"][0]
    whole_line = [exp.Parameter(this=exp.Literal.number(1))]
    selected = source.this.expressions if isinstance(source, exp.Subquery) else whole_line
    lines = exp.maybe_parse(
        f"SELECT json AS _line, row_number() OVER () AS _number FROM read_json_objects('{url}', "
        "format = 'newline_delimited', hive_partitioning = false, "
        f"maximum_object_size = {MAX_LINE_BYTES})",
        into=exp.Select,
        dialect="duckdb",
    ).subquery("_lines")

    started = datetime.datetime.now(datetime.UTC).isoformat()

    def metadata(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Parameter) and node.name == "1":
            return exp.column("_line")
        if isinstance(node, exp.Column):
            match node.name.upper():
                case "METADATA$FILENAME":  # the path below the bucket
                    return exp.Literal.string(url.split("://", 1)[-1].split("/", 1)[-1])
                case "METADATA$FILE_ROW_NUMBER":
                    return exp.column("_number")
                case "METADATA$START_SCAN_TIME":
                    return exp.cast(exp.Literal.string(started), exp.DataType.Type.TIMESTAMPTZ)
        return node

    values = [each.copy().transform(metadata) for each in selected]
    # The full name, because the separate connection lacks the current schema of the session.
    table = exp.table_(target[2], db=target[1], catalog=target[0], quoted=True)
    columns = expr.this.expressions if isinstance(expr.this, exp.Schema) else []
    into = exp.Schema(this=table, expressions=[column.copy() for column in columns]) if columns else table
    return exp.Insert(this=into, expression=exp.Select(expressions=values).from_(lines))


def _as_snowflake(error: duckdb.Error, url: str) -> tuple[str, int | None]:
    text = str(error).split("\n")[0].removeprefix("Invalid Input Error: ")
    line = re.search(r"in line (\d+)", text)
    return f"Error parsing JSON: {text} (file {url})", int(line[1]) if line else None


def _result(duck_conn: duckdb.DuckDBPyConnection, sql: str) -> str:
    duck_conn.execute(sql)
    return sql
