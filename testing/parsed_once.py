"""dbt's manifest for tests with many databases: parsed once per process, and renamed for each database.

Parsing takes seconds. A Lambda has one database, so the product parses for it.
"""

from collections.abc import Callable
from typing import Any

from dbt_common.behavior_flags import BehaviorFlagRendered

from functions.platform import dbt
from functions.platform.warehouse import Credentials


def rename(manifest: Any, before: str, database: str) -> None:
    """Write `database` instead of `before` in each name of a manifest."""
    for node in (*manifest.nodes.values(), *manifest.sources.values()):
        node.database = database
        if node.relation_name:
            node.relation_name = node.relation_name.replace(before, database)


def install() -> None:
    """Make `run_dbt` parse once in this process, whatever the database."""
    parsed: Any = dbt._manifest
    dbt._manifest = _parsed_once(parsed.__wrapped__)
    # For the source of each flag, every command reads the files of all functions on the stack.
    flags: Any = BehaviorFlagRendered
    flags._default_source = staticmethod(lambda: "")


def _parsed_once(parse: Callable[[Credentials], Any]) -> Any:
    manifest: Any = None
    database = ""

    def of(credentials: Credentials) -> Any:
        nonlocal manifest, database
        if manifest is None:
            manifest = parse(credentials)
        else:
            rename(manifest, database, credentials.database)
        database = credentials.database
        return manifest

    return of
