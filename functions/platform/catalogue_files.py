"""The log of a shop's catalogue: the files below catalogue/, each a whole catalogue or a batch of changes.

Files never change. Their order is the time of receipt, then whole catalogues before changes, then the key. The warehouse
orders the rows alike (sql/models/marts/catalogue_history.sql).
"""

import gzip
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.contract import CATALOGUE_PREFIX

KEY = re.compile(
    rf"{CATALOGUE_PREFIX}(?P<shop>[^/]+)/\d{{4}}/\d\d/\d\d/"
    r"(?P<name>(?P<ms>\d{13})-(?P<lines>\d+)-(?P<fingerprint>[0-9a-f]{16})(?P<changes>\.changes)?)\.jsonl\.gz"
)


class CatalogueFile(NamedTuple):
    """One file. A batch of changes states only the fields that change; a whole catalogue states every product."""

    received_at_ms: int
    is_changes: bool
    key: str
    shop_id: str
    # The key without the shop and the day: it identifies a file of the shop.
    name: str
    lines: int
    fingerprint: str


def new_key(
    shop_id: str, received_at: datetime, lines: int, fingerprint: str, *, is_changes: bool = False
) -> str:
    """Return the key of a file. `fingerprint` is 16 hexadecimal digits over its content."""
    kind = ".changes" if is_changes else ""
    milliseconds = int(received_at.timestamp() * 1000)
    name = f"{milliseconds}-{lines}-{fingerprint}{kind}.jsonl.gz"
    return f"{shop_prefix(shop_id)}{received_at:%Y/%m/%d}/{name}"


def shop_prefix(shop_id: str) -> str:
    """Return the prefix of a shop's files."""
    return f"{CATALOGUE_PREFIX}{quote(shop_id, safe='')}/"


def parsed_key(key: str) -> CatalogueFile | None:
    """Return the file of a key, or None if no import and no PUT /catalogue wrote it."""
    found = KEY.fullmatch(key)
    if found is None:
        return None
    return CatalogueFile(
        int(found["ms"]),
        bool(found["changes"]),
        key,
        unquote(found["shop"]),
        found["name"],
        int(found["lines"]),
        found["fingerprint"],
    )


def files_since(s3: Any, bucket: str, shop_id: str, since_ms: int) -> list[CatalogueFile]:
    """Return the shop's files that were received at `since_ms` or later, in their order."""
    prefix = shop_prefix(shop_id)
    day = datetime.fromtimestamp(since_ms / 1000, UTC)
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, StartAfter=f"{prefix}{day:%Y/%m/%d}/"
    )
    keys = (found["Key"] for page in pages for found in page.get("Contents", []))
    files = (file for key in keys if (file := parsed_key(key)))
    return sorted(file for file in files if file.received_at_ms >= since_ms)


def apply_file(editor: CatalogueEditor, file: CatalogueFile, s3: Any, bucket: str) -> None:
    """Change the state as the file says. To apply the last files of the log once more, in their order, changes nothing."""
    if file.is_changes:
        for line in _lines(s3, bucket, file.key):
            item_id, stamp = line["item_id"], line["feed"]
            editor.change(item_id, line)
            if stamp["deleted"]:
                editor.remove(item_id)
        return
    listed = set()
    for line in _lines(s3, bucket, file.key):
        editor.replace(line["item_id"], line)
        listed.add(line["item_id"])
    editor.remove_others(listed)


def _lines(s3: Any, bucket: str, key: str) -> Iterator[dict[str, Any]]:
    from msgspec import json

    decoder = json.Decoder(dict[str, Any])
    body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    with gzip.GzipFile(fileobj=body) as lines:
        for line in lines:
            yield decoder.decode(line)
