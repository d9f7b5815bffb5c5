"""DESCRIBE TABLE from the one table.

fakesnow 0.12.1 parses a long query over the columns of all databases for it. dbt describes two tables per incremental model.
With a dozen databases, that query takes 30 ms of processor time.
"""

from typing import Any

import duckdb
from fakesnow.cursor import FakeSnowflakeCursor
from sqlglot import exp

from local.warehouse.results import answer

LENGTHS = """
    SELECT ext_column_name, ext_character_maximum_length FROM _fs_global._fs_information_schema._fs_columns_ext
    WHERE ext_table_catalog = ? AND ext_table_schema = ? AND ext_table_name = ?
"""
LONGEST_TEXT = 16_777_216
TYPES = {
    "BIGINT": "NUMBER(38,0)",
    "DOUBLE": "FLOAT",
    "TIMESTAMP": "TIMESTAMP_NTZ(9)",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP_TZ(9)",
    "TIME": "TIME(9)",
    "BLOB": "BINARY(8388608)",
    "JSON": "VARIANT",
}
# The columns of https://docs.snowflake.com/en/sql-reference/sql/desc-table, as fakesnow returns them.
RESULT = """
    SELECT
        unnest(?::VARCHAR[]) AS "name", unnest(?::VARCHAR[]) AS "type", 'COLUMN' AS "kind", unnest(?::VARCHAR[]) AS "null?",
        unnest(?::VARCHAR[]) AS "default", 'N' AS "primary key", 'N' AS "unique key", NULL::VARCHAR AS "check",
        NULL::VARCHAR AS "expression", NULL::VARCHAR AS "comment", NULL::VARCHAR AS "policy name",
        NULL::JSON AS "privacy domain"
"""


def install() -> None:
    """Answer DESCRIBE TABLE and DESCRIBE VIEW here, and leave all other statements to fakesnow."""
    execute = FakeSnowflakeCursor._execute

    def _execute(self: FakeSnowflakeCursor, transformed: exp.Expr, params: Any = None) -> None:
        if not (isinstance(transformed, exp.Describe) and _describe(self, transformed)):
            execute(self, transformed, params)

    FakeSnowflakeCursor._execute = _execute


def _describe(cursor: FakeSnowflakeCursor, statement: exp.Describe) -> bool:
    """Describe a table or a view; return False if this is something else, or if it does not exist."""
    table = statement.this
    if str(statement.args.get("kind")).upper() not in ("TABLE", "VIEW") or not isinstance(table, exp.Table):
        return False
    name = [table.catalog or cursor._conn.database, table.db or cursor._conn.schema, table.name]
    if name[1] == "_FS_INFORMATION_SCHEMA":
        return False
    full_name = ".".join(exp.to_identifier(part, quoted=True).sql("duckdb") for part in name)
    try:
        rows = cursor._duck_conn.execute(f"DESCRIBE {full_name}").fetchall()
    except duckdb.Error:
        return False  # fakesnow reports the error
    lengths = dict(cursor._duck_conn.execute(LENGTHS, name).fetchall())
    columns = [
        [row[0] for row in rows],
        [snowflake_type(row[1], lengths.get(row[0])) for row in rows],
        ["Y" if row[2] == "YES" else "N" for row in rows],
        [row[4] for row in rows],
    ]
    answer(cursor, statement, RESULT, columns, len(rows))
    return True


def snowflake_type(duckdb_type: str, length: int | None) -> str:
    """Return Snowflake's name of a type of DuckDB. `length` is that of a text, if it was declared."""
    if duckdb_type == "VARCHAR":
        return f"VARCHAR({length or LONGEST_TEXT})"
    if duckdb_type.startswith("DECIMAL"):
        return duckdb_type.replace("DECIMAL", "NUMBER")
    return TYPES.get(duckdb_type, duckdb_type)
