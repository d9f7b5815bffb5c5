"""Skipped passes: fakesnow's result is the same without them."""

import inspect
import re
from types import SimpleNamespace
from typing import Any

import fakesnow.transforms
import pytest
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.dialect import parse_one
from fakesnow.variables import Variables
from sqlglot import exp

from local.warehouse import passes
from local.warehouse.passes import Passes, changed_classes

# Before local.warehouse.passes replaces it in this process.
TRANSFORM = FakeSnowflakeCursor._transform
COPYING = {
    name: getattr(fakesnow.transforms, name)
    for name in ("upper_case_unquoted_identifiers", "extract_comment_on_table")
}
PASSES = list(dict.fromkeys(re.findall(r"transforms\.(\w+)", inspect.getsource(TRANSFORM))))
STATEMENTS = [
    "select a:b::varchar, split(c, ','), to_timestamp(d, 3), sum(e), array_agg(f) over (partition by g) from t",
    "select f.value:i::varchar from t, lateral flatten(input => t.v) f where upper(f.value:x) = 'Y' order by 1 limit 3",
    "select trim(a), to_variant(b), object_construct('k', c), try_parse_json(d), to_date(e), 1::number(38, 0) from values (1, 2)",
    "select dateadd('day', 1, '2026-01-02'::date), datediff('day', '2026-01-01', a), sha2(b), random() from t sample (10)",
    "select * from identifier('T') qualify row_number() over (order by a) = 1",
    "create or replace transient table s.t (a int comment 'x', b varchar(10), c variant) comment = 'y'",
    "create table t (a int) as select 1 as b",
    "create table t clone u",
    "alter table t add column c varchar(3)",
    "alter table t cluster by (a)",
    "drop schema s",
    "use schema s",
    "show tables in schema s",
    "show primary keys in table t",
    "set x = 1",
    "merge into t using (select 1 as a) as s on t.a = s.a when matched then update set b = s.a",
    "update t set a = convert_timezone('UTC', current_timestamp())::timestamp_ntz where b in (select c from d)",
    "select * from information_schema.tables",
]


@pytest.mark.parametrize("name", PASSES)
def test_the_classes_of_every_pass_are_known(name: str) -> None:
    """Without them, a pass always runs: a new version of fakesnow has a transform of another form."""
    assert changed_classes(getattr(fakesnow.transforms, name).__code__)


def test_a_statement_has_none_of_the_classes_of_most_passes() -> None:
    statement = Recorded(parse_one("select a from t where b > 1"))
    few = Passes(statement)  # type: ignore[arg-type]
    for name in PASSES:
        few.transform(getattr(fakesnow.transforms, name), copy=False)
    assert 0 < statement.passes < len(PASSES) / 4


class Recorded:
    """A statement that counts its passes and does not change."""

    def __init__(self, tree: exp.Expr) -> None:
        self.walk, self.passes = tree.walk, 0

    def transform(self, _function: Any, **_options: Any) -> "Recorded":
        """Count one pass."""
        self.passes += 1
        return self


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_without_the_skipped_passes_is_the_same(statement: str) -> None:
    connection = SimpleNamespace(
        database="D", schema="S", db_path=None, variables=Variables(), table_stages=None
    )
    cursor: Any = SimpleNamespace(_conn=connection, _duck_conn=None)
    whole = TRANSFORM(cursor, parse_one(statement), None)
    few: Any = TRANSFORM(cursor, Passes(parse_one(statement)), None)
    assert few.tree.sql(dialect="duckdb") == whole.sql(dialect="duckdb")
    assert few.tree.args.keys() == whole.args.keys()


@pytest.mark.parametrize("name", COPYING)
@pytest.mark.parametrize(
    "statement",
    [*STATEMENTS, "comment on table s.t is 'x'", "alter table t set comment = 'y'", "create table t (a int)"],
)
def test_a_transform_in_place_gives_what_fakesnow_s_copy_is(name: str, statement: str) -> None:
    copied = parse_one(statement).transform(COPYING[name], copy=False)
    in_place = parse_one(statement).transform(getattr(passes, name), copy=False)
    assert in_place == copied
    assert in_place.args.get("table_comment") == copied.args.get("table_comment")
