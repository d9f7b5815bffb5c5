"""Contract of the local Snowflake: each test fails if a moved pin changes an answer."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from snowflake.connector.errors import ProgrammingError

from local.services import start
from local.testing import kill, warehouse_service
from local.tests.integration.warehouse.conftest import Snowflake, rows

pytestmark = pytest.mark.local_stack

# Statement -> rows: the statements that fakesnow alone answers wrongly, and those that dbt models rely on.
ANSWERS: list[tuple[str, list[tuple[Any, ...]]]] = [
    ("select parse_json('{\"a\":{\"b\":\"x\"}}'):a.b::varchar", [("x",)]),
    ("select parse_json('{\"a\":null}'):missing::varchar", [(None,)]),
    ("select f.index::int, f.value:i::varchar from (select parse_json('[{\"i\":\"x\"},{\"i\":\"y\"}]') v) t, "
     "lateral flatten(input => t.v) f order by 1", [(0, "x"), (1, "y")]),
    ("select f.value:i::varchar from (select parse_json('[]') v) t, lateral flatten(input => t.v, outer => true) f",
     [(None,)]),
    ("select f.value::varchar from (select parse_json('{\"a\":[1]}') v) t, lateral flatten(input => t.v, path => 'a') f",
     [("1",)]),
    ("select sum(column1)::int from values (1), (2)", [(3,)]),
    ("select max_by(column1, column2) from values ('a', 1), ('b', 2)", [("b",)]),
    ("select max_by(column1, iff(column1 is null, null, column2)) from values ('a', 1), (null, 2)", [("a",)]),
    ("select to_timestamp_ntz(1767312000001, 3)::varchar", [("2026-01-02 00:00:00.001",)]),
    ("select column1 from values (1), (2) qualify row_number() over (order by column1 desc) = 1", [(2,)]),
    ("select md5('c' || chr(31) || '1')", [("632fe399a174ae2e58020dea282edb57",)]),
    ("select dateadd('hour', -3, '2026-01-02'::timestamp_ntz)::varchar", [("2026-01-01 21:00:00",)]),
    ("select count_if(column1 > 1) from values (1), (2)", [(1,)]),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "expected"), ANSWERS)
def test_a_statement_is_answered_as_snowflake_answers_it(
    snowflake_server: Snowflake, statement: str, expected: list[tuple[Any, ...]]
) -> None:
    with snowflake_server.connect() as connection:
        assert rows(connection, statement) == expected


def test_flatten_numbers_the_elements_of_many_arrays_in_their_own_order(snowflake_server: Snowflake) -> None:
    thousands = ",".join(str(3 * at) for at in range(3000))
    with snowflake_server.connect() as connection:
        for statement in (
            f"create or replace table QA.N as select value::int as n from table(flatten(input => parse_json('[{thousands}]')))",
            "create or replace table QA.A as select n, parse_json('[' || n || ',' || (n + 1)::varchar || ']') as a from QA.N",
        ):
            rows(connection, statement)
        counted = "select count(*) from QA.A as A, lateral flatten(input => A.a) f where f.value::int - A.n != f.index::int"
        assert rows(connection, counted) == [(0,)]


def test_dbts_merge_takes_unqualified_values_from_the_source(snowflake_server: Snowflake) -> None:
    with snowflake_server.connect() as connection:
        for statement in (
            "create or replace table QA.TARGET (id int, n int)",
            "create or replace table QA.SOURCE (id int, n int)",
            "insert into QA.TARGET values (1, 1)",
            "insert into QA.SOURCE values (1, 10), (2, 20)",
            "begin",
            "merge into QA.TARGET as d using QA.SOURCE as s on s.id = d.id "
            "when matched then update set n = s.n when not matched then insert (id, n) values (id, n)",
            "commit",
        ):
            rows(connection, statement)
        assert rows(connection, "select id, n from QA.TARGET order by id") == [(1, 10), (2, 20)]


def test_merge_counts_its_rows_per_action(snowflake_server: Snowflake) -> None:
    merge = (
        "merge into QA.COUNTED as d using (select column1 as id from values (1), (2), (3)) as s on s.id = d.id "
        "when matched and d.id = 1 then delete when matched then update set n = 0 "
        "when not matched then insert (id, n) values (s.id, 7)"
    )
    with snowflake_server.connect() as connection, connection.cursor() as cursor:
        rows(connection, "create or replace table QA.COUNTED (id int, n int)")
        rows(connection, "insert into QA.COUNTED values (1, 5), (2, 5), (9, 5)")
        (counts,) = cursor.execute(merge).fetchall()
        names = [column.name for column in cursor.description]
        assert (cursor.rowcount, dict(zip(names, map(int, counts), strict=True))) == (
            3,
            {"number of rows inserted": 1, "number of rows updated": 1, "number of rows deleted": 1},
        )
        assert rows(connection, "select id, n from QA.COUNTED order by id") == [(2, 0), (3, 7), (9, 5)]


def test_merge_refuses_two_source_rows_for_one_target_row(snowflake_server: Snowflake) -> None:
    """https://docs.snowflake.com/en/sql-reference/sql/merge#nondeterministic-results-for-update-and-delete."""
    with snowflake_server.connect() as connection:
        rows(connection, "create or replace table QA.TWICE (id int, n int)")
        rows(connection, "insert into QA.TWICE values (1, 5)")
        with pytest.raises(ProgrammingError, match="more than once"):
            rows(
                connection,
                "merge into QA.TWICE as d using (select 1 as id, column1 as n from values (6), (7)) as s on s.id = d.id "
                "when matched then update set n = s.n",
            )
        assert rows(connection, "select * from QA.TWICE") == [(1, 5)]


def test_describe_lists_the_columns_of_tables_and_views_with_snowflake_s_types(
    snowflake_server: Snowflake,
) -> None:
    columns = {
        "A": ("int not null", "NUMBER(38,0)", "N"),
        "B": ("varchar(10)", "VARCHAR(10)", "Y"),
        "C": ("varchar", "VARCHAR(16777216)", "Y"),
        "D": ("number(10, 2)", "NUMBER(10,2)", "Y"),
        "E": ("float", "FLOAT", "Y"),
        "F": ("timestamp_ntz", "TIMESTAMP_NTZ(9)", "Y"),
        "G": ("timestamp_tz", "TIMESTAMP_TZ(9)", "Y"),
        "H": ("boolean", "BOOLEAN", "Y"),
        "I": ("date", "DATE", "Y"),
        "J": ("variant", "VARIANT", "Y"),
        "K": ("binary", "BINARY(8388608)", "Y"),
        "L": ("time", "TIME(9)", "Y"),
    }
    declared = ", ".join(f"{name} {declaration}" for name, (declaration, *_) in columns.items())
    with snowflake_server.connect() as connection, connection.cursor() as cursor:
        rows(connection, f"create or replace table QA.DESCRIBED ({declared})")
        rows(connection, "create or replace view QA.SEEN as select A, D from QA.DESCRIBED")
        described = cursor.execute("describe table QA.DESCRIBED").fetchall()
        assert [(row[0], row[1], row[3]) for row in described] == [
            (name, type_, null) for name, (_, type_, null) in columns.items()
        ]
        assert [column.name for column in cursor.description][:5] == [
            "name",
            "type",
            "kind",
            "null?",
            "default",
        ]
        assert [row[:2] for row in rows(connection, "describe view CONTRACT.QA.SEEN")] == [
            ("A", "NUMBER(38,0)"), ("D", "NUMBER(10,2)"),
        ]  # fmt: skip
        with pytest.raises(ProgrammingError, match="does not exist"):
            rows(connection, "describe table QA.NEVER_THERE")


def test_two_sessions_may_merge_at_the_same_time(snowflake_server: Snowflake) -> None:
    def merge(number: int) -> None:
        with snowflake_server.connect() as connection:
            for _ in range(5):
                rows(
                    connection,
                    f"merge into QA.MERGED_{number} as d using (select 1 as id) as s on s.id = d.id "
                    "when not matched then insert (id) values (s.id)",
                )

    with snowflake_server.connect() as connection:
        for number in range(4):
            rows(connection, f"create or replace table QA.MERGED_{number} (id int)")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(merge, range(4)))
    with snowflake_server.connect() as connection:
        assert [rows(connection, f"select * from QA.MERGED_{number}") for number in range(4)] == [[(1,)]] * 4


def test_a_qualified_temporary_table_is_found_by_its_full_name(snowflake_server: Snowflake) -> None:
    with snowflake_server.connect() as connection:
        rows(connection, "create or replace temporary table CONTRACT.QA.T1 as select 1 as a")
        assert rows(connection, "select a from CONTRACT.QA.T1") == [(1,)]


def test_a_failed_statement_is_an_immediate_error_and_the_session_continues(
    snowflake_server: Snowflake,
) -> None:
    with snowflake_server.connect() as connection:
        with pytest.raises(ProgrammingError, match="NOWHERE"):
            rows(connection, "select * from QA.NOWHERE")
        assert rows(connection, "select 1") == [(1,)]


def test_an_unknown_database_is_not_created_by_connecting(snowflake_server: Snowflake) -> None:
    with snowflake_server.connect() as connection, pytest.raises(ProgrammingError):
        rows(connection, "select * from NO_SUCH_DATABASE.RAW.EVENTS")


def test_copy_skips_a_bad_file_and_loads_it_after_its_repair(snowflake_server: Snowflake) -> None:
    deliver(snowflake_server, "copy-good", [{"id": "e1"}])
    snowflake_server.s3.put_object(
        Bucket="events", Key="raw/2026/01/02/00/copy-bad.gz", Body=gzip.compress(b'{"a": 1}\n{bad\n')
    )
    copy = (
        "copy into QA.LINES from (select $1, metadata$filename, metadata$file_row_number from @RAW.FILES) "
        "file_format = (format_name = 'RAW.JSON_LINES') pattern = '.*copy-.*' on_error = {}"
    )

    def statuses(connection: Any) -> dict[str, str]:
        return {row[0].rsplit("/")[-1]: row[1] for row in rows(connection, copy.format("skip_file"))}

    with snowflake_server.connect() as connection:
        rows(connection, "create or replace table QA.LINES (p variant, f varchar, n number)")
        with pytest.raises(ProgrammingError, match="Error parsing JSON"):
            rows(connection, copy.format("abort_statement"))
        assert rows(connection, "select count(*) from QA.LINES") == [(0,)]

        first = statuses(connection)
        deliver(snowflake_server, "copy-bad", [{"id": "e2"}, {"id": "e3"}])
        second = statuses(connection)
        third = rows(connection, copy.format("skip_file"))
        lines = rows(connection, "select f, n from QA.LINES order by f, n")

        assert first == {"copy-good.gz": "LOADED", "copy-bad.gz": "LOAD_FAILED"}
        assert second == {"copy-bad.gz": "LOADED"}
        assert third == [("Copy executed with 0 files processed.",)]
        assert lines == [
            ("raw/2026/01/02/00/copy-bad.gz", 1),
            ("raw/2026/01/02/00/copy-bad.gz", 2),
            ("raw/2026/01/02/00/copy-good.gz", 1),
        ]
        rows(connection, "create table if not exists QA.LINES (p variant)")
        assert rows(connection, copy.format("skip_file")) == third
        rows(connection, "truncate table QA.LINES")
        assert len(rows(connection, copy.format("skip_file"))) == 2


def test_copy_loads_a_file_again_whose_content_changed(snowflake_server: Snowflake) -> None:
    copy = (
        "copy into QA.CHANGED from (select $1, metadata$file_row_number from @RAW.FILES) "
        "file_format = (format_name = 'RAW.JSON_LINES') pattern = '.*changed.*'"
    )
    force = copy.replace("pattern = '.*changed.*'", "files = ('2026/01/02/00/changed.gz') force = true")
    deliver(snowflake_server, "changed", [{"id": "e1"}, {"id": "e2"}])
    with snowflake_server.connect() as connection:
        rows(connection, "create or replace table QA.CHANGED (p variant, n number)")
        assert [row[1] for row in rows(connection, copy)] == ["LOADED"]
        deliver(snowflake_server, "changed", [{"id": "e2"}])
        assert [row[1] for row in rows(connection, copy)] == ["LOADED"]
        assert rows(connection, "select count(*) from QA.CHANGED") == [(3,)]
        deliver(snowflake_server, "changed", [{"id": "e3"}])
        assert [row[1] for row in rows(connection, force)] == ["LOADED"]
        assert rows(connection, copy) == [("Copy executed with 0 files processed.",)]


def test_rows_that_another_role_deleted_leave_no_bytes_after_its_session(snowflake_server: Snowflake) -> None:
    database = snowflake_server.stack.state / "warehouse"

    def bytes_of(text: bytes) -> int:
        return sum(path.read_bytes().count(text) for path in database.glob("CONTRACT.db*"))

    with snowflake_server.connect() as connection:
        rows(connection, "create or replace table QA.PERSONS (name varchar, number number default 5)")
        rows(connection, "insert into QA.PERSONS (name) values ('deleted-person-1'), ('deleted-person-2')")
        rows(connection, "insert into QA.PERSONS (name) values ('other-person-1')")
        for statement in (
            "create role if not exists ERASER",
            "grant usage on database CONTRACT to role ERASER",
            "grant usage on schema CONTRACT.QA to role ERASER",
            "grant usage on warehouse COMPUTE to role ERASER",
            "grant select, delete on table CONTRACT.QA.PERSONS to role ERASER",
            "grant role ERASER to user ADMINISTRATOR",
        ):
            rows(connection, statement)
    assert bytes_of(b"deleted-person-") > 0
    with snowflake_server.connect() as connection:
        rows(connection, "use role ERASER")
        rows(connection, "delete from QA.PERSONS where startswith(name, 'deleted')")
    assert bytes_of(b"deleted-person-") == 0
    with snowflake_server.connect() as connection:
        rows(connection, "insert into QA.PERSONS (name) values ('third')")
        assert rows(connection, "select name, number from QA.PERSONS order by name") == [
            ("other-person-1", 5),
            ("third", 5),
        ]


def test_unload_overwrites_only_on_request_and_writes_no_file_without_rows(
    snowflake_server: Snowflake,
) -> None:
    unload = "copy into @EXPORTED.FILES/{}/ from (select {}) file_format = (type = parquet) header = true {}"
    with snowflake_server.connect() as connection:
        assert rows(connection, unload.format("one", "1 as a", ""))[0][0] == 1
        with pytest.raises(ProgrammingError, match="already existing"):
            rows(connection, unload.format("one", "1 as a", ""))
        assert rows(connection, unload.format("one", "2 as a", "overwrite = true"))[0][0] == 1
        assert rows(connection, unload.format("none", "1 as a where false", ""))[0][0] == 0
    listed = snowflake_server.s3.list_objects_v2(Bucket="exports", Prefix="out/")
    assert [found["Key"] for found in listed["Contents"]] == ["out/one/data_0_0_0.snappy.parquet"]


def test_tables_and_load_metadata_survive_a_kill(snowflake_server: Snowflake) -> None:
    deliver(snowflake_server, "kill", [{"id": "k1"}, {"id": "k2"}])
    copy = (
        "copy into RAW.EVENTS (PAYLOAD, FILENAME, ROW_NUMBER) "
        "from (select $1, metadata$filename, metadata$file_row_number from @RAW.FILES) "
        "file_format = (format_name = 'RAW.JSON_LINES') pattern = '.*kill.*'"
    )
    process = warehouse_service(snowflake_server.stack)
    with snowflake_server.connect() as connection:
        rows(connection, "create table RAW.EVENTS (PAYLOAD variant, FILENAME varchar, ROW_NUMBER number)")
        assert rows(connection, copy)[0][3] == 2
        kill(process)
    start([process], lambda _: None)
    with snowflake_server.connect() as connection:
        assert rows(connection, "select count(*) from RAW.EVENTS") == [(2,)]
        assert rows(connection, copy) == [("Copy executed with 0 files processed.",)]


def test_a_session_is_checked_under_its_role_also_after_a_kill(snowflake_server: Snowflake) -> None:
    process = warehouse_service(snowflake_server.stack)
    with snowflake_server.connect() as connection:
        rows(connection, "create or replace table QA.SECRET (a int)")
        rows(connection, "create role if not exists NOBODY")
        rows(connection, "grant role NOBODY to user ADMINISTRATOR")
        kill(process)
    start([process], lambda _: None)
    with snowflake_server.connect() as connection:
        rows(connection, "use role NOBODY")
        assert rows(connection, "select current_role()") == [("NOBODY",)]
        with pytest.raises(ProgrammingError, match=r"002003(.|\n)*does not exist or not authorized"):
            rows(connection, "select a from CONTRACT.QA.SECRET")
        rows(connection, "use role ACCOUNTADMIN")
        rows(connection, "grant usage on database CONTRACT to role NOBODY")
        rows(connection, "grant usage on schema CONTRACT.QA to role NOBODY")
        rows(connection, "grant usage on warehouse COMPUTE to role NOBODY")
        rows(connection, "grant select on table CONTRACT.QA.SECRET to role NOBODY")
        rows(connection, "use role NOBODY")
        assert rows(connection, "select a from CONTRACT.QA.SECRET") == []
        with pytest.raises(ProgrammingError, match=r"003001 \(42501\)"):
            rows(connection, "insert into CONTRACT.QA.SECRET values (1)")


def test_settings_of_warehouses_and_monitors_are_kept(snowflake_server: Snowflake) -> None:
    with snowflake_server.connect() as connection:
        rows(
            connection,
            "create resource monitor if not exists BRAKE with credit_quota = 5 triggers on 100 percent do suspend",
        )
        rows(connection, "alter resource monitor BRAKE set credit_quota = 7")
        rows(connection, "alter warehouse COMPUTE set warehouse_size = 'SMALL' resource_monitor = BRAKE")
        with connection.cursor() as cursor:
            (shown,) = cursor.execute("show warehouses like 'COMPUTE'").fetchall()
            warehouse = dict(zip((column.name for column in cursor.description), shown, strict=True))
            (monitor,) = cursor.execute("show resource monitors").fetchall()
    assert (warehouse["warehouse_size"], warehouse["resource_monitor"], warehouse["owner"]) == (
        "SMALL",
        "BRAKE",
        "ACCOUNTADMIN",
    )
    assert {"7", "100% SUSPEND"} <= set(monitor)


def test_a_dropped_database_is_gone_with_its_tables_and_can_be_made_again(
    snowflake_server: Snowflake,
) -> None:
    with snowflake_server.connect() as connection:
        for statement in ("create database GONE", "create schema GONE.S", "create table GONE.S.T (a int)"):
            rows(connection, statement)
    with snowflake_server.connect("GONE") as connection:
        rows(connection, "insert into S.T values (1)")
        rows(connection, "drop database GONE")
        rows(connection, "drop database if exists GONE")
        rows(connection, "drop warehouse if exists NEVER_THERE")
        with pytest.raises(ProgrammingError, match=r"002003|002043|does not exist"):
            rows(connection, "drop database GONE")
    with snowflake_server.connect() as connection:
        with pytest.raises(ProgrammingError, match="does not exist"):
            rows(connection, "select * from GONE.S.T")
        for statement in ("create database GONE", "create schema GONE.S", "create table GONE.S.T (a int)"):
            rows(connection, statement)
        assert rows(connection, "select * from GONE.S.T") == []
        rows(connection, "drop database GONE")


def deliver(snowflake_server: Snowflake, name: str, events: list[dict[str, Any]]) -> None:
    """Write events to S3 as one gzipped file of JSON lines."""
    lines = "".join(json.dumps(event) + "\n" for event in events)
    key = f"raw/2026/01/02/00/{name}.gz"
    snowflake_server.s3.put_object(Bucket="events", Key=key, Body=gzip.compress(lines.encode()))
