"""DROP DATABASE: fakesnow 0.12.1 passes it on to DuckDB, which has no such statement."""

import re
from pathlib import Path
from typing import Any

from local.warehouse.access.account import Account, Need, Thing
from local.warehouse.access.privileges import Session

DROP = re.compile(
    r"\s*drop\s+database\s+(?P<if_exists>if\s+exists\s+)?\"?(?P<name>\w+)\"?\s*;?\s*", re.IGNORECASE
)


def drop(command: str, connection: Any, session: Session, account: Account) -> str | None:
    """Drop the database that the statement names, with its file; return Snowflake's message, or None for another statement.

    Raises:
        DatabaseError: the role does not own the database, or there is none.
    """
    match = DROP.fullmatch(command)
    if match is None:
        return None
    name = match["name"].upper()
    found = connection.execute(
        "SELECT database_name, path FROM duckdb_databases() WHERE upper(database_name) = ?", [name]
    ).fetchall()
    if not found and match["if_exists"]:
        return f"Drop statement executed successfully ({name} already dropped)."
    account.require(session.role, [Need(Thing("DATABASE", name), ("OWNERSHIP",))])
    # A database in use, also by this session, cannot be detached.
    connection.execute("USE memory")
    connection.execute(f'DETACH "{found[0][0]}"')
    for file in (Path(found[0][1]), Path(f"{found[0][1]}.wal")):
        file.unlink(missing_ok=True)
    for table in ("_fs_stages", "_fs_file_formats"):
        connection.execute(
            f"DELETE FROM _fs_global._fs_information_schema.{table} WHERE database_name = ?", [name]
        )
    account.drop(Thing("DATABASE", name))
    return f"{name} successfully dropped."
