"""The persistent store: one DuckDB file per Snowflake database, and one for metadata of the account.

fakesnow 0.12.1 keeps stages, file formats and comments in memory and does not attach existing databases at its start.
With files, all of them survive. DuckDB's write-ahead log makes the files safe against `kill -9`.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import duckdb
from fakesnow import info_schema, macros
from fakesnow.instance import GLOBAL_DATABASE_NAME, FakeSnow
from fakesnow.transforms import show, stage

from local.warehouse.access.account import Account
from local.warehouse.clock import Shifted, shift_defaults
from local.warehouse.scans import Counted, Counting

# Parameters of a session have no effect here.
IGNORED_STATEMENTS = [r"\s*alter\s+session\s+(set\s+query_tag|unset)\b"]
CACHED_RESULTS = 16


class ResultsCache(OrderedDict[str, tuple[Any, ...]]):
    """A cache of the newest results; fakesnow's own cache keeps every result."""

    def __setitem__(self, query_id: str, result: tuple[Any, ...]) -> None:
        super().__setitem__(query_id, result)
        while len(self) > CACHED_RESULTS:
            self.popitem(last=False)


class StateOutdated(Exception):
    """The databases have no owners, because a version without access control wrote them."""


class Store(FakeSnow):
    """An instance of fakesnow with files in `state`. `FakeSnow.__init__`, which supports only memory, is replaced."""

    def __init__(
        self, state: Path, memory_limit: str = "", counting: Counting | None = None, clock_ahead_s: int = 0
    ) -> None:
        self._counting = counting
        self._clock_ahead_s = clock_ahead_s
        state.mkdir(parents=True, exist_ok=True)
        if any(state.glob("*.db")) and not (state / "account.json").exists():
            raise StateOutdated(
                f"the databases in {state} have no owners, because an older version wrote them: delete that folder, "
                "start again, deploy, and run the pipeline; it loads every event from raw/ again"
            )
        self.account = Account(state / "account.json")
        # As in Snowflake, a connection to a missing database does not create it.
        self.create_database_on_connect = self.create_schema_on_connect = False
        self.db_path = state
        self.nop_regexes = IGNORED_STATEMENTS
        self.results_cache = ResultsCache()
        # sqlglot 30.22 writes lambdas with an arrow, which duckdb 2.0 accepts only in this mode.
        self.duck_conn = duckdb.connect(":memory:", config={"lambda_syntax": "ENABLE_SINGLE_ARROW"})
        self.duck_conn.execute("SET GLOBAL TimeZone = 'UTC'")
        self.duck_conn.execute(f"SET GLOBAL temp_directory = '{state / 'spill'}'")
        if memory_limit:
            self.duck_conn.execute(f"SET GLOBAL memory_limit = '{memory_limit}'")
        self._attach_global(state / "account.meta")
        for file in sorted(state.glob("*.db")):
            self._attach(file)
        if clock_ahead_s:
            shift_defaults(self.duck_conn, clock_ahead_s)
        stage.LOCAL_BUCKET_PATH = str((state / "internal_stages").resolve())

    def _attach_global(self, file: Path) -> None:
        self.duck_conn.execute(f"ATTACH '{file}' AS {GLOBAL_DATABASE_NAME}")
        self.duck_conn.execute(info_schema.fs_global_creation_sql())
        self.duck_conn.execute(show.fs_global_creation_sql())
        # fakesnow drops the file format of a stage; local.warehouse.stages fills this column.
        self.duck_conn.execute(
            "ALTER TABLE _fs_global._fs_information_schema._fs_stages "
            "ADD COLUMN IF NOT EXISTS file_format TEXT"
        )

    def _attach(self, file: Path) -> None:
        name = file.stem
        attach = f"ATTACH '{file}' AS \"{name}\""
        self.duck_conn.execute(self._counting.attached(attach) if self._counting else attach)
        self.duck_conn.execute(info_schema.per_db_creation_sql(name))
        self.duck_conn.execute(macros.creation_sql(name))

    def connect(self, database: str | None = None, schema: str | None = None, **options: Any) -> Any:
        """Open a session. As in Snowflake, the schema PUBLIC is the default of a database."""
        if database and not schema and self._exists(database):
            with self.duck_conn.cursor() as connection:
                connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{database}".PUBLIC')
            schema = "PUBLIC"
        connection = super().connect(database, schema, **options)
        if self._counting:
            connection._duck_conn = Counted(connection._duck_conn, self._counting, database)
        if self._clock_ahead_s:
            connection._duck_conn = Shifted(connection._duck_conn, self._clock_ahead_s)
        return connection

    def _exists(self, database: str) -> bool:
        with self.duck_conn.cursor() as connection:
            names = connection.execute("SELECT upper(database_name) FROM duckdb_databases()").fetchall()
        return (database.upper(),) in names

    def close(self) -> None:
        """Close the database files, which writes everything to them."""
        self.duck_conn.close()


def write_metadata_separately(store: Store) -> None:
    """Write table comments and text lengths in a separate transaction.

    fakesnow 0.12.1 writes them to its global database in the session's transaction. DuckDB 2.0 refuses writes to
    two attached databases in one transaction, so dbt's `begin; create ...; commit` would fail.
    """

    def separately(render: Any) -> Any:
        def write(*arguments: Any) -> str:
            with store.duck_conn.cursor() as metadata:
                metadata.execute(render(*arguments))
            return "SELECT 1"

        return write

    info_schema.insert_table_comment_sql = separately(info_schema.insert_table_comment_sql)
    info_schema.insert_text_lengths_sql = separately(info_schema.insert_text_lengths_sql)
