"""Rewrites of Snowflake's statements for the local warehouse."""

import duckdb
import pytest
import sqlglot

from local.warehouse.rewrites import rewrite


@pytest.mark.parametrize(
    ("digits", "number"), [("0", 0), ("ff", 255), ("ffffffffffffffff", 2**64 - 1), ("2F01c0b8ed036080", 0x2F01C0B8ED036080)]
)  # fmt: skip
def test_hexadecimal_numbers_are_read(digits: str, number: int) -> None:
    """https://docs.snowflake.com/en/sql-reference/functions/to_decimal has the format X for hexadecimal digits."""
    rewritten = rewrite(f"select to_number('{digits}', '{'X' * 16}') as n", "select")
    [translated] = sqlglot.transpile(rewritten, read="snowflake", write="duckdb")
    assert duckdb.connect().execute(translated).fetchall() == [(number,)]


@pytest.mark.parametrize("statement", ["select to_number('12')", "select to_number('1,200', '9,999')"])
def test_other_formats_are_left_as_they_are(statement: str) -> None:
    assert rewrite(statement, "select") == statement
