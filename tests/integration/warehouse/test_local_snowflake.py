"""The statements that Tugboat needs of the local warehouse: a row fails if a new pin changes its answer."""

import gzip
from dataclasses import replace
from typing import Any

import pytest
from snowflake.connector.errors import ProgrammingError

from functions.platform import warehouse
from local.processes import free_port
from sql.setup.apply import apply, parameters
from tests.integration.warehouse.conftest import ACCOUNT, Server, Stack, connected
from tests.integration.warehouse.events import deliver, raw_event

# statement -> rows. One line per statement that fakesnow alone answers wrongly, or that our SQL needs.
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


@pytest.fixture(scope="module")
def stack(new_stack: Any) -> Stack:
    made: Stack = new_stack("contract")
    return made


@pytest.mark.parametrize(("statement", "expected"), ANSWERS)
def test_a_statement_is_answered_as_snowflake_answers_it(
    stack: Stack, statement: str, expected: list[tuple[Any, ...]]
) -> None:
    with connected(stack) as connection:
        assert warehouse.rows(connection, statement) == expected


def test_dbts_merge_takes_unqualified_values_from_the_source(stack: Stack) -> None:
    with connected(stack) as connection:
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
            warehouse.rows(connection, statement)
        assert warehouse.rows(connection, "select id, n from QA.TARGET order by id") == [(1, 10), (2, 20)]


def test_a_qualified_temporary_table_is_found_by_its_full_name(stack: Stack) -> None:
    with connected(stack) as connection:
        database = stack.credentials.database
        warehouse.rows(connection, f"create or replace temporary table {database}.QA.T1 as select 1 as a")
        assert warehouse.rows(connection, f"select a from {database}.QA.T1") == [(1,)]


def test_a_failed_statement_is_an_error_at_once_and_the_session_goes_on(stack: Stack) -> None:
    with connected(stack) as connection:
        with pytest.raises(ProgrammingError, match="NOWHERE"):
            warehouse.rows(connection, "select * from QA.NOWHERE")
        assert warehouse.rows(connection, "select 1") == [(1,)]


def test_an_unknown_database_is_not_created_by_connecting(stack: Stack) -> None:
    with connected(stack) as connection, pytest.raises(ProgrammingError):
        warehouse.rows(connection, "select * from NO_SUCH_DATABASE.RAW.EVENTS")


def test_copy_skips_a_bad_file_and_tries_it_again_when_it_is_repaired(stack: Stack) -> None:
    bucket = stack.settings.events_bucket
    deliver(stack.s3, bucket, "copy-good", [raw_event("e1")])
    stack.s3.put_object(
        Bucket=bucket, Key="raw/2026/01/02/00/copy-bad.gz", Body=gzip.compress(b'{"a": 1}\n{bad\n')
    )
    copy = (
        "copy into QA.LINES from (select $1, metadata$filename, metadata$file_row_number from @RAW.EVENT_FILES) "
        "file_format = (format_name = 'RAW.EVENT_LINES') pattern = '.*copy-.*' on_error = {}"
    )
    with connected(stack) as connection:
        warehouse.rows(connection, "create or replace table QA.LINES (p variant, f varchar, n number)")
        with pytest.raises(ProgrammingError, match="Error parsing JSON"):
            warehouse.rows(connection, copy.format("abort_statement"))
        assert warehouse.one(connection, "select count(*) from QA.LINES") == (0,)

        first = {
            row[0].rsplit("/")[-1]: row[1] for row in warehouse.rows(connection, copy.format("skip_file"))
        }
        deliver(stack.s3, bucket, "copy-bad", [raw_event("e2"), raw_event("e3")])
        second = {
            row[0].rsplit("/")[-1]: row[1] for row in warehouse.rows(connection, copy.format("skip_file"))
        }
        third = warehouse.rows(connection, copy.format("skip_file"))
        lines = warehouse.rows(connection, "select f, n from QA.LINES order by f, n")

        assert first == {"copy-good.gz": "LOADED", "copy-bad.gz": "LOAD_FAILED"}
        assert second == {"copy-bad.gz": "LOADED"}
        assert third == [("Copy executed with 0 files processed.",)]
        assert lines == [
            ("raw/2026/01/02/00/copy-bad.gz", 1),
            ("raw/2026/01/02/00/copy-bad.gz", 2),
            ("raw/2026/01/02/00/copy-good.gz", 1),
        ]
        warehouse.rows(connection, "create table if not exists QA.LINES (p variant)")
        assert warehouse.rows(connection, copy.format("skip_file")) == third
        warehouse.rows(connection, "truncate table QA.LINES")
        assert len(warehouse.rows(connection, copy.format("skip_file"))) == 2


def test_unload_refuses_to_overwrite_unasked_and_writes_no_file_without_rows(stack: Stack) -> None:
    unload = (
        "copy into @TRAINING.EXPORTS/{}/ from (select {}) file_format = (type = parquet) header = true {}"
    )
    with connected(stack) as connection:
        assert warehouse.one(connection, unload.format("one", "1 as a", ""))[0] == 1
        with pytest.raises(ProgrammingError, match="already existing"):
            warehouse.rows(connection, unload.format("one", "1 as a", ""))
        assert warehouse.one(connection, unload.format("one", "2 as a", "overwrite = true"))[0] == 1
        assert warehouse.one(connection, unload.format("none", "1 as a where false", ""))[0] == 0
    listed = stack.s3.list_objects_v2(Bucket=stack.settings.models_bucket, Prefix="exports/")
    assert [found["Key"] for found in listed["Contents"]] == ["exports/one/data_0_0_0.snappy.parquet"]


def test_everything_survives_a_kill(
    tmp_path: Any, s3_url: str, server: Server, credentials: warehouse.Credentials, stack: Stack
) -> None:
    deliver(stack.s3, stack.settings.events_bucket, "kill", [raw_event("k1"), raw_event("k2")])
    own = Server(tmp_path / "state", s3_url, free_port())
    own.start()
    access = replace(credentials, port=own.port, database="TUGBOAT_CONTRACT")
    copy = (
        "copy into RAW.EVENTS (PAYLOAD, FILENAME, ROW_NUMBER) "
        "from (select $1, metadata$filename, metadata$file_row_number from @RAW.EVENT_FILES) "
        "file_format = (format_name = 'RAW.EVENT_LINES') pattern = '.*kill.*'"
    )
    try:
        with warehouse.connect(access) as connection:
            apply(connection, parameters(access, "contract", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/tugboat"))
            assert warehouse.one(connection, copy)[3] == 2
            own.kill()
        own.start()
        with warehouse.connect(access) as connection:
            assert warehouse.one(connection, "select count(*) from RAW.EVENTS") == (2,)
            assert warehouse.rows(connection, copy) == [("Copy executed with 0 files processed.",)]
    finally:
        own.stop()
