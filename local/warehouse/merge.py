"""MERGE as one statement of DuckDB.

fakesnow 0.12.1 takes a MERGE apart into up to five statements with a temporary table. That costs ten times the processor
time, and a target row that several source rows match is updated by any of them. Snowflake refuses such a MERGE, as DuckDB does.
In the parts, an unqualified value of a NOT MATCHED branch is ambiguous. In the whole, it is a column of the source.
"""

from collections import Counter
from typing import Any

import fakesnow.transforms
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.transforms.merge import operations
from sqlglot import exp

from local.warehouse.results import answer

# The words of DuckDB's `merge_action`, by those of Snowflake's result columns.
ACTIONS = {"inserted": "INSERT", "updated": "UPDATE", "deleted": "DELETE"}


def install() -> None:
    """Leave MERGE as it is, and count its rows per action."""
    execute = FakeSnowflakeCursor._execute

    def whole(statement: exp.Expr) -> list[exp.Expr]:
        return [statement]

    def _execute(self: FakeSnowflakeCursor, transformed: exp.Expr, params: Any = None) -> None:
        if isinstance(transformed, exp.Merge):
            transformed.set("returning", exp.Returning(expressions=[exp.column("merge_action")]))
        execute(self, transformed, params)
        if isinstance(transformed, exp.Merge):
            _count(self, transformed)

    fakesnow.transforms.merge = whole
    FakeSnowflakeCursor._execute = _execute


def _count(cursor: FakeSnowflakeCursor, merge: exp.Merge) -> None:
    """Replace the actions in the cursor's result by Snowflake's columns, one per kind of action in the statement."""
    done = Counter(cursor._arrow_table.column(0).to_pylist())
    counts = {
        f"number of rows {kind}": done[ACTIONS[kind]]
        for kind, clauses in operations(merge).items()
        if clauses
    }
    sql = "SELECT " + ", ".join(f'{count}::BIGINT AS "{name}"' for name, count in counts.items())
    answer(cursor, merge, sql, None, sum(counts.values()))
