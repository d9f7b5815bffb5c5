"""File formats of stages, which fakesnow 0.12.1 drops from `create stage ... file_format = (...)`, and ALTER of both."""

import json
from typing import Any

import duckdb
from fakesnow.transforms import stage
from fakesnow.transforms.options import parse_options
from sqlglot import exp

from local.warehouse.access.account import Thing

FORMAT_OF_STAGE = """
    SELECT file_format FROM _fs_global._fs_information_schema._fs_stages
    WHERE database_name = ? AND schema_name = ? AND name = ?
"""


def store_file_format(
    duck_conn: duckdb.DuckDBPyConnection, create: exp.Create, database: str | None, schema: str | None
) -> None:
    """Store the file format of a new stage."""
    options = _file_format_of(create)
    table = create.find(exp.Table)
    if not options or not table:
        return
    with duck_conn.cursor() as metadata:
        metadata.execute(
            "UPDATE _fs_global._fs_information_schema._fs_stages SET file_format = ? "
            "WHERE database_name = ? AND schema_name = ? AND name = ?",
            [
                json.dumps(options),
                (table.catalog or database or "").upper(),
                (table.db or schema or "").upper(),
                table.name.upper(),
            ],
        )


def file_format_of_stage(
    duck_conn: duckdb.DuckDBPyConnection, reference: str, database: str | None, schema: str | None
) -> dict[str, Any]:
    """Return the file format of the stage in `@stage/path`; empty if the stage has none."""
    parts = stage.parts_from_var(reference.removeprefix("@").partition("/")[0], database, schema)
    found = duck_conn.execute(FORMAT_OF_STAGE, parts).fetchone()
    return dict(json.loads(found[0])) if found and found[0] else {}


def alter(duck_conn: duckdb.DuckDBPyConnection, thing: Thing, properties: dict[str, Any]) -> None:
    """Set the URL of a stage, or options of a file format. Load metadata belongs to tables and stays."""
    with duck_conn.cursor() as metadata:
        if thing.kind == "STAGE" and "URL" in properties:
            metadata.execute(
                "UPDATE _fs_global._fs_information_schema._fs_stages SET url = ? "
                "WHERE database_name = ? AND schema_name = ? AND name = ?",
                [properties["URL"], *thing.name.split(".")],
            )
        if thing.kind == "FILE FORMAT":
            metadata.execute(
                "UPDATE _fs_global._fs_information_schema._fs_file_formats "
                "SET options = json_merge_patch(options, ?) "
                "WHERE database_name = ? AND schema_name = ? AND name = ?",
                [
                    json.dumps({name: value for name, value in properties.items() if name != "COMMENT"}),
                    *thing.name.split("."),
                ],
            )


def _file_format_of(create: exp.Create) -> dict[str, Any]:
    properties = create.args.get("properties")
    for each in properties.expressions if properties else []:
        if isinstance(each, exp.FileFormatProperty):
            return dict(parse_options(each.expressions))
    return {}
