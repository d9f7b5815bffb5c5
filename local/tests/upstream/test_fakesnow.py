"""Defects of fakesnow 0.12.1, without the patches of local/warehouse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import fakesnow
import pytest
import snowflake.connector
from snowflake.connector.errors import ProgrammingError


@pytest.fixture
def cursor() -> Iterator[Any]:
    with fakesnow.patch(), snowflake.connector.connect(database="D", schema="S") as connection:
        yield connection.cursor()


@pytest.fixture
def folder(tmp_path: Path, cursor: Any) -> Path:
    (tmp_path / "a.json").write_text(json.dumps({"a": 1}) + "\n")
    cursor.execute(f"create stage FILES url = 'file://{tmp_path}/'")
    cursor.execute("create table T (v variant)")
    return tmp_path


COPY = "copy into T from @FILES file_format = (type = json)"


def test_flatten_ignores_outer(cursor: Any) -> None:
    cursor.execute(
        "select f.value from (select parse_json('[]') v) t, lateral flatten(input => t.v, outer => true) f"
    )
    assert cursor.fetchall() == []


def test_flatten_ignores_path(cursor: Any) -> None:
    cursor.execute(
        "select f.value::varchar from (select parse_json('{\"a\":[1]}') v) t, "
        "lateral flatten(input => t.v, path => 'a') f"
    )
    assert cursor.fetchall() != [("1",)]


def test_flatten_numbers_elements_in_the_order_of_a_join(cursor: Any) -> None:
    thousands = ",".join(str(3 * at) for at in range(3000))
    cursor.execute(
        f"create table N as select value::int as n from table(flatten(input => parse_json('[{thousands}]')))"
    )
    cursor.execute(
        "create table A as select n, parse_json('[' || n || ',' || (n + 1)::varchar || ']') as a from N"
    )
    cursor.execute(
        "select count(*) from A, lateral flatten(input => A.a) f where f.value::int - A.n != f.index::int"
    )
    assert cursor.fetchall() != [(0,)]


@pytest.mark.parametrize("option", ["on_error = skip_file", "pattern = '.*'"])
def test_copy_does_not_support(cursor: Any, folder: Path, option: str) -> None:
    with pytest.raises((NotImplementedError, ProgrammingError, ValueError)):
        cursor.execute(f"{COPY} {option}")


def test_copy_treats_force_false_as_true(cursor: Any, folder: Path) -> None:
    for _ in range(2):
        cursor.execute(f"{COPY} force = false")
    assert cursor.execute("select count(*) from T").fetchall() == [(2,)]


def test_create_table_if_not_exists_deletes_load_metadata(cursor: Any, folder: Path) -> None:
    cursor.execute(COPY)
    cursor.execute("create table if not exists T (v variant)")
    cursor.execute(COPY)
    assert cursor.execute("select count(*) from T").fetchall() == [(2,)]


def test_copy_has_no_unload(cursor: Any, folder: Path) -> None:
    with pytest.raises(AssertionError, match="is not a From"):
        cursor.execute("copy into @FILES/out/ from (select 1 as a) file_format = (type = parquet)")


def test_merge_with_unqualified_values_is_ambiguous(cursor: Any) -> None:
    cursor.execute("create table TARGET (id int)")
    cursor.execute("create table SOURCE (id int)")
    with pytest.raises(ProgrammingError, match=r"[Aa]mbiguous"):
        cursor.execute(
            "merge into TARGET as d using SOURCE as s on s.id = d.id "
            "when not matched then insert (id) values (id)"
        )


def test_a_qualified_temporary_table_cannot_be_created(cursor: Any) -> None:
    with pytest.raises(ProgrammingError, match="TEMPORARY table names"):
        cursor.execute("create temporary table D.S.T1 as select 1 as a")


def test_a_comment_in_a_transaction_writes_two_databases(cursor: Any) -> None:
    cursor.execute("begin")
    with pytest.raises((ProgrammingError, duckdb.Error), match="attached database"):
        cursor.execute("create table T2 (a varchar(10)) comment = 'c'")


def test_copy_has_no_metadata_columns(cursor: Any, folder: Path) -> None:
    cursor.execute("create table N (f varchar)")
    with pytest.raises((ProgrammingError, duckdb.Error, NotImplementedError)):
        cursor.execute("copy into N from (select metadata$filename from @FILES) file_format = (type = json)")


def test_a_stage_drops_its_file_format(cursor: Any, folder: Path) -> None:
    cursor.execute(f"create stage TYPED url = 'file://{folder}/' file_format = (type = json)")
    (folder / "a.json").write_text(json.dumps({"a": 1, "b": 2}) + "\n")
    with pytest.raises(ProgrammingError):
        cursor.execute("copy into T from @TYPED")


def test_a_failed_statement_leaves_the_transaction_aborted(cursor: Any) -> None:
    cursor.execute("begin")
    with pytest.raises(ProgrammingError):
        cursor.execute("select cast('x' as int)")
    with pytest.raises((ProgrammingError, duckdb.Error), match="aborted"):
        cursor.execute("select 1")
