"""The sessions that a replay asks with: last week's, from the snapshot of the current model, or the model's golden sessions."""

import io
import json
import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from functions.platform.contract import EXPORTS_PREFIX, RECOMMEND_ITEMS_MAX
from functions.platform.model_archive import read_model_archive
from functions.platform.releases import Release
from functions.platform.stored_json import MISSING, find_bytes
from training_jobs.serving.contract import Column

WEEK_MS = 7 * 24 * 60 * 60 * 1000
# Beyond this number of bytes of parquet, no further file is read: the sessions of the others are as good.
READ_MAX_BYTES = 256 * 2**20
SEED = 68


class Sessions(NamedTuple):
    """Sessions of item ids, oldest first, each up to the moment of a request; and where they come from."""

    items: list[list[str]]
    source: str


def sessions_of(release: Release, count: int, s3: Any, bucket: str) -> Sessions:
    """Return at most `count` sessions. The same release gives the same ones."""
    prefix = f"{EXPORTS_PREFIX}{release.snapshot_id}/"
    last_week = _last_week(s3, bucket, prefix)
    if last_week:
        drawn = random.Random(SEED)
        chosen = drawn.sample(last_week, min(count, len(last_week)))
        source = f"sessions of the last week of s3://{bucket}/{prefix}"
        return Sessions([_asked(items, drawn) for items in chosen], source)
    golden = read_model_archive(release.model_data_uri, s3).golden
    return Sessions([list(one["items"]) for one in golden[:count]], "the model's golden sessions")


def _asked(items: Sequence[str], drawn: random.Random) -> list[str]:
    """Return a session up to one of its views, as the SDK sends it: no immediate repeats, the last items only."""
    seen = items[: drawn.randint(1, len(items))]
    distinct = [item for place, item in enumerate(seen) if place == 0 or item != seen[place - 1]]
    return distinct[-RECOMMEND_ITEMS_MAX:]


def _last_week(s3: Any, bucket: str, prefix: str) -> list[list[str]]:
    """Return the sessions of the week before the last event. There are none if the snapshot has expired."""
    stored = find_bytes(s3, bucket, f"{prefix}manifest.json", MISSING)
    last_ms = json.loads(stored).get("last_event_time_ms") if stored is not None else None
    if last_ms is None:
        return []
    by_session: dict[tuple[Any, ...], list[tuple[int, str]]] = {}
    read = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}interactions/"):
        for found in page.get("Contents", []):
            if read >= READ_MAX_BYTES:
                break
            body = s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
            read += len(body)
            for session, position, item_id in _rows(body, last_ms - WEEK_MS):
                by_session.setdefault(session, []).append((position, item_id))
    return [[item for _, item in sorted(rows)] for _, rows in sorted(by_session.items())]


def _rows(body: bytes, since_ms: int) -> Iterable[tuple[tuple[Any, ...], int, str]]:
    """Yield the session, the position and the item of each interaction of a file that is not older."""
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    columns = [Column.SHOP_ID, Column.SESSION_ID, Column.POSITION, Column.ITEM_ID]
    table = parquet.read_table(io.BytesIO(body), columns=[*columns, Column.EVENT_TIME_MS])
    table = table.filter(compute.greater_equal(table[Column.EVENT_TIME_MS], since_ms))
    shops, sessions, positions, items = (table[name].to_pylist() for name in columns)
    for shop, session, position, item in zip(shops, sessions, positions, items, strict=True):
        yield (shop, session), int(position), str(item)
