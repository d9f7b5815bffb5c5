"""The end of deleted rows: Snowflake removes their bytes when Time Travel and Fail-safe are over, DuckDB never does.

DuckDB marks rows as deleted and keeps their blocks. A freed block keeps its bytes until something else uses it.
The local Snowflake has no Time Travel, so it removes the bytes at the end of the session that deleted the rows.
It does so only after a role has deleted rows of a table that it does not own. That is an erasure: dbt owns its tables.
"""

import logging
import threading

import duckdb

log = logging.getLogger(__name__)

# Rows of the filler are uncompressed, so that their number determines the number of blocks.
FILLER_BYTES = 4000


class Purge:
    """The databases with rows to remove."""

    def __init__(self, duck_conn: duckdb.DuckDBPyConnection) -> None:
        self._duck_conn = duck_conn
        self._waiting: set[str] = set()
        self._lock = threading.Lock()

    def add(self, database: str) -> None:
        """Remove the deleted rows of a database at the end of the session."""
        self._waiting.add(database.upper())

    def run(self) -> None:
        """Remove the bytes of deleted rows. A database in which another session writes waits for the next end of a session."""
        with self._lock:
            for database in sorted(self._waiting):
                try:
                    self._purge(database)
                except duckdb.Error as error:
                    log.warning(
                        "deleted rows of %s keep their bytes until a later session ends: %s", database, error
                    )
                    continue
                self._waiting.discard(database)

    def _purge(self, database: str) -> None:
        with self._duck_conn.cursor() as connection:
            connection.execute(f'USE "{database}"')
            tables = connection.execute(
                "SELECT schema_name, table_name, sql, comment FROM duckdb_tables() "
                "WHERE upper(database_name) = ? AND NOT temporary",
                [database],
            ).fetchall()
            for schema, table, definition, comment in tables:
                _write_again(connection, f'"{schema}"."{table}"', definition, comment)
            # The first checkpoint frees the old blocks, and the second one makes them usable.
            for _ in range(2):
                connection.execute(f'CHECKPOINT "{database}"')
            _overwrite_free_blocks(connection, database)


def _write_again(
    connection: duckdb.DuckDBPyConnection, table: str, definition: str, comment: str | None
) -> None:
    """Replace a table by a new one with its rows. In the old one, new rows would join the row group of deleted ones."""
    connection.begin()
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE _kept AS SELECT * FROM {table}")
        connection.execute(f"DROP TABLE {table}")
        connection.execute(definition)
        connection.execute(f"INSERT INTO {table} SELECT * FROM temp._kept")
        if comment is not None:
            connection.execute(f"COMMENT ON TABLE {table} IS {_literal(comment)}")
        connection.execute("DROP TABLE temp._kept")
        connection.commit()
    except duckdb.Error:
        connection.rollback()
        raise


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _overwrite_free_blocks(connection: duckdb.DuckDBPyConnection, database: str) -> None:
    """Use every free block for a table of zeros, and drop the table."""
    free, block_bytes = connection.execute(
        "SELECT free_blocks, block_size FROM pragma_database_size() WHERE upper(database_name) = ?",
        [database],
    ).fetchall()[0]
    filler, rows = f'"{database}".main._filler', (free + 2) * block_bytes // FILLER_BYTES
    connection.execute("SET force_compression = 'uncompressed'")
    try:
        connection.execute(
            f"CREATE OR REPLACE TABLE {filler} AS SELECT repeat('0', {FILLER_BYTES}) AS zeros FROM range({rows})"
        )
        connection.execute(f'CHECKPOINT "{database}"')
        connection.execute(f"DROP TABLE {filler}")
    finally:
        connection.execute("RESET force_compression")
    for _ in range(2):
        connection.execute(f'CHECKPOINT "{database}"')
