"""The statements of a night in bare DuckDB: the same SQL on a copy of the same file, without Snowflake's protocol and dbt."""

import time
from pathlib import Path
from typing import Any

import duckdb

MEMORY = "4GB"
# Transactions of dbt's threads are interleaved in the record, so each statement is its own here.
REPLAYED = ("SELECT", "WITH", "CREATE", "INSERT", "DELETE", "UPDATE", "MERGE", "DROP", "ALTER")
# Questions about the catalog that fakesnow answers from tables of its own.
CATALOG = ("_fs_global", "information_schema", "duckdb_", "pg_catalog")


def replayed(file: Path, database: str, statements: list[dict[str, Any]]) -> dict[str, Any]:
    """Run the recorded statements of Transform on the file as it was before; return the seconds of both.

    Statements that Snowflake answers from metadata are left out on both sides.
    """
    wanted = [line for line in statements if _is_sql(line)]
    with duckdb.connect(":memory:", config={"lambda_syntax": "ENABLE_SINGLE_ARROW"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        connection.execute(f"SET temp_directory = '{file.parent / 'spill'}'")
        connection.execute(f"ATTACH '{file}' AS \"{database}\"")
        connection.execute(f'USE "{database}"')
        seconds = 0.0
        for line in wanted:
            began_s = time.perf_counter()
            connection.execute(line["sql"]).fetchall()
            seconds += time.perf_counter() - began_s
    stack_s = sum(line["seconds"] for line in wanted)
    return {
        "statements": len(wanted),
        "bare_s": round(seconds, 2),
        "stack_s": round(stack_s, 2),
        "times_the_bare": round(stack_s / max(seconds, 1e-9), 3),
    }


def _is_sql(line: dict[str, Any]) -> bool:
    sql = line["sql"].lstrip("( \n")
    return (
        "seconds" in line
        and not line.get("metadata")
        and sql[:6].upper().startswith(REPLAYED)
        and not any(word in sql.lower() for word in CATALOG)
    )
