"""The persistent store: one DuckDB file per Snowflake database, plus one for what spans databases.

fakesnow 0.12.1 keeps stages, file formats and comments in memory and attaches no existing database when it
starts, so a restarted server forgets them. DuckDB's write-ahead log makes the files safe against `kill -9`.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import duckdb
from fakesnow import info_schema, macros
from fakesnow.instance import GLOBAL_DATABASE_NAME, FakeSnow
from fakesnow.transforms import show, stage

# What an account holds beside data. Accepted and ignored: this machine has one user and no billing.
ACCOUNT_STATEMENTS = [
    r"\s*(create|alter|drop)\s+(or\s+replace\s+)?(warehouse|role|user|storage\s+integration|resource\s+monitor)\b",
    r"\s*(grant|revoke)\b",
    r"\s*alter\s+session\s+(set\s+query_tag|unset)\b",
]
CACHED_RESULTS = 16


class ResultsCache(OrderedDict[str, tuple[Any, ...]]):
    """The newest results only; fakesnow's cache keeps every result for ever."""

    def __setitem__(self, query_id: str, result: tuple[Any, ...]) -> None:
        super().__setitem__(query_id, result)
        while len(self) > CACHED_RESULTS:
            self.popitem(last=False)


class Store(FakeSnow):
    """fakesnow's instance over files in `state`. Replaces `FakeSnow.__init__`, which only knows memory."""

    def __init__(self, state: Path, memory_limit: str = "") -> None:
        state.mkdir(parents=True, exist_ok=True)
        # As in Snowflake, connecting to a database that does not exist does not create it.
        self.create_database_on_connect = self.create_schema_on_connect = False
        self.db_path = state
        self.nop_regexes = ACCOUNT_STATEMENTS
        self.results_cache = ResultsCache()
        # sqlglot 30.22 still writes lambdas with an arrow, which duckdb 2.0 reads only in this mode.
        self.duck_conn = duckdb.connect(":memory:", config={"lambda_syntax": "ENABLE_SINGLE_ARROW"})
        self.duck_conn.execute("SET GLOBAL TimeZone = 'UTC'")
        self.duck_conn.execute(f"SET GLOBAL temp_directory = '{state / 'spill'}'")
        if memory_limit:
            self.duck_conn.execute(f"SET GLOBAL memory_limit = '{memory_limit}'")
        self._attach_global(state / "account.meta")
        for file in sorted(state.glob("*.db")):
            self._attach(file)
        stage.LOCAL_BUCKET_PATH = str((state / "internal_stages").resolve())

    def _attach_global(self, file: Path) -> None:
        self.duck_conn.execute(f"ATTACH '{file}' AS {GLOBAL_DATABASE_NAME}")
        self.duck_conn.execute(info_schema.fs_global_creation_sql())
        self.duck_conn.execute(show.fs_global_creation_sql())
        # fakesnow forgets a stage's file format; local.warehouse.stages fills this column.
        self.duck_conn.execute(
            "ALTER TABLE _fs_global._fs_information_schema._fs_stages "
            "ADD COLUMN IF NOT EXISTS file_format TEXT"
        )

    def _attach(self, file: Path) -> None:
        name = file.stem
        self.duck_conn.execute(f"ATTACH '{file}' AS \"{name}\"")
        self.duck_conn.execute(info_schema.per_db_creation_sql(name))
        self.duck_conn.execute(macros.creation_sql(name))

    def connect(self, database: str | None = None, schema: str | None = None, **options: Any) -> Any:
        """A session; as in Snowflake, a database without a named schema means its schema PUBLIC."""
        if database and not schema and self._exists(database):
            with self.duck_conn.cursor() as connection:
                connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{database}".PUBLIC')
            schema = "PUBLIC"
        return super().connect(database, schema, **options)

    def _exists(self, database: str) -> bool:
        with self.duck_conn.cursor() as connection:
            names = connection.execute("SELECT upper(database_name) FROM duckdb_databases()").fetchall()
        return (database.upper(),) in names

    def close(self) -> None:
        """Write everything to the database files."""
        self.duck_conn.close()


def write_metadata_apart(store: Store) -> None:
    """Write table comments and text lengths in a transaction of their own.

    fakesnow 0.12.1 writes them to its global database from the session's transaction; duckdb 2.0 refuses to
    write two attached databases in one transaction, which breaks dbt's `begin; create ...; commit`.
    """

    def apart(render: Any) -> Any:
        def write(*arguments: Any) -> str:
            with store.duck_conn.cursor() as metadata:
                metadata.execute(render(*arguments))
            return "SELECT 1"

        return write

    info_schema.insert_table_comment_sql = apart(info_schema.insert_table_comment_sql)
    info_schema.insert_text_lengths_sql = apart(info_schema.insert_text_lengths_sql)
