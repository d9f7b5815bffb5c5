"""Search a local stack's state for a text: files as they are, decompressed, parquet files decoded, and databases by query."""

import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet


def files_with(text: str, state: Path) -> list[str]:
    """Return each file below `state` that contains the text in any of these forms."""
    needle = text.encode()
    found = []
    for path in sorted(state.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        if any(needle in form for form in _forms(content)):
            found.append(str(path.relative_to(state)))
    return found


def _forms(content: bytes) -> Iterator[bytes]:
    yield content
    if content.startswith(b"\x1f\x8b"):
        # Also a broken file: what can be decompressed.
        decompress = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            yield decompress.decompress(content)
        except zlib.error:
            return
    if content.startswith(b"PAR1") and content.endswith(b"PAR1"):
        yield json.dumps(parquet.read_table(io.BytesIO(content)).to_pylist(), default=str).encode()


def tables_with(text: str, connection: Any, database: str) -> list[str]:
    """Return each table of a database that has the text in a row."""
    with connection.cursor() as cursor:
        tables = cursor.execute(
            "select TABLE_SCHEMA, TABLE_NAME from INFORMATION_SCHEMA.TABLES where TABLE_SCHEMA != 'INFORMATION_SCHEMA'"
        ).fetchall()
        found = []
        for schema, name in tables:
            rows = cursor.execute(f'select * from {database}."{schema}"."{name}"').fetchall()
            if any(text in str(row) for row in rows):
                found.append(f"{schema}.{name}")
    return found
