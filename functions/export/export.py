"""Export: unload a snapshot of the training tables as parquet, and describe it in a manifest."""

import json
import re
from typing import Any

from functions.export.catalogue import write_state
from functions.platform import warehouse
from functions.platform.contract import (
    ARCHIVE_OUT_OF_STOCK,
    EXPORTS_PREFIX,
    INTERACTION_COLUMNS,
    ITEM_COLUMNS,
    SNAPSHOT_EMBEDDINGS,
    STOCK_PREFIX,
    ExportResult,
)
from functions.platform.log import get_logger
from functions.platform.s3_keys import delete_below, embeddings_key
from functions.platform.settings import WarehouseSettings

log = get_logger(__name__)

# The run_id of the state machine. It becomes part of a stage path, which cannot be a bound parameter.
SNAPSHOT_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
# The rows of each table, and their order. SESSION_KEY is 32 characters of text. Training needs a number that groups and
# orders sessions like the key, and a rank never collides (docs/decisions/0039-training-memory.md). NETWORK and CLIENT are
# ranks for the same reason, and they mean nothing outside this snapshot.
ROWS = {
    "interactions": (
        "select *, dense_rank() over (order by SESSION_KEY) as SESSION_ID, "
        "iff(NETWORK_KEY is null, 0, dense_rank() over (order by NETWORK_KEY nulls last)) as NETWORK, "
        "dense_rank() over (order by CLIENT_KEY) as CLIENT "
        "from TRAINING.TRAINING_SAMPLE",
        "order by SESSION_ID, POSITION",
    ),
    "items": ("select * from TRAINING.TRAINING_ITEMS", "order by ITEM_ID"),
}
# Products that the shop's catalogue feed lists as out of stock, or no longer lists.
OUT_OF_STOCK_BY_FEED = """
select items.ITEM_ID
from TRAINING.TRAINING_ITEMS as items
inner join MARTS.PRODUCTS as products on items.SHOP_ID = products.SHOP_ID and items.ITEM_ID = products.ITEM_ID
where items.SHOP_ID = %s and products.IS_AVAILABLE = false
order by items.ITEM_ID
"""
OUT_OF_STOCK_KEY = f"items/{ARCHIVE_OUT_OF_STOCK}"
EMBEDDINGS_KEY = f"items/{SNAPSHOT_EMBEDDINGS}"


class EmptySnapshot(Exception):
    """The shop has no session to train on."""


class StockUnreadable(Exception):
    """The out-of-stock file is not a JSON list of ids. Export stops: continuing would recommend sold-out items."""


def export(event: dict[str, Any], settings: WarehouseSettings, connection: Any, s3: Any) -> ExportResult:
    """Write exports/<run_id>/{interactions,items}/ and manifest.json of one shop: a model serves one shop.

    The catalogue's current state follows, from the same tables.

    Raises:
        EmptySnapshot: the shop has no session to train on.
        StockUnreadable: stock/<shop_id>.json is not a JSON list of ids.
    """
    run_id = event["run_id"]
    if not SNAPSHOT_ID.fullmatch(run_id):
        raise ValueError(f"run_id {run_id!r} cannot be part of a path: use letters, digits, - and _")
    shop_id = event.get("shop_id") or settings.shop
    sessions, last_event_time_ms = _sessions(connection, shop_id)
    if not sessions:
        raise EmptySnapshot(
            f"TRAINING.TRAINING_INTERACTIONS holds no session of shop {shop_id}: send events with two items or more in a "
            "session, then run the pipeline again"
        )
    out_of_stock = _out_of_stock(connection, s3, settings.models_bucket, shop_id)
    prefix = f"{EXPORTS_PREFIX}{run_id}/"
    # A retry may write fewer files, and OVERWRITE leaves those of an earlier try.
    delete_below(s3, settings.models_bucket, prefix)
    interactions = _unload(connection, run_id, "interactions", INTERACTION_COLUMNS, shop_id)
    items = _unload(connection, run_id, "items", ITEM_COLUMNS, shop_id)
    if out_of_stock is not None:
        s3.put_object(
            Bucket=settings.models_bucket,
            Key=prefix + OUT_OF_STOCK_KEY,
            Body=json.dumps(out_of_stock).encode(),
            ContentType="application/json",
        )
    embeddings = embeddings_key(shop_id)
    has_embeddings = _exists(s3, settings.models_bucket, embeddings)
    if has_embeddings:
        # A copy, so that the snapshot stays what the model was trained on.
        source = {"Bucket": settings.models_bucket, "Key": embeddings}
        s3.copy(source, settings.models_bucket, prefix + EMBEDDINGS_KEY)
    base = f"s3://{settings.models_bucket}/{prefix}"
    result: ExportResult = {
        "run_id": run_id,
        "shop_id": shop_id,
        "snapshot_id": run_id,
        "interactions_uri": f"{base}interactions/",
        "items_uri": f"{base}items/",
        "manifest_uri": f"{base}manifest.json",
        "interactions": interactions,
        "sessions": sessions,
        "items": items,
        "last_event_time_ms": last_event_time_ms,
    }
    manifest = {
        **result,
        "out_of_stock": None if out_of_stock is None else len(out_of_stock),
        "embeddings": has_embeddings,
        "interaction_columns": INTERACTION_COLUMNS,
        "item_columns": ITEM_COLUMNS,
    }
    s3.put_object(
        Bucket=settings.models_bucket,
        Key=f"{prefix}manifest.json",
        Body=json.dumps(manifest, indent=2).encode(),
        ContentType="application/json",
    )
    products = write_state(connection, s3, settings, shop_id)
    log.info(
        "exported",
        interactions=interactions,
        sessions=sessions,
        items=items,
        out_of_stock=manifest["out_of_stock"],
        embeddings=has_embeddings,
        products=products,
    )
    return result


def _sessions(connection: Any, shop_id: str) -> tuple[int, int | None]:
    """Return the number of sessions, and the time of the last event in milliseconds."""
    sessions, last_event_time_ms = warehouse.one(
        connection,
        "select count(distinct SESSION_KEY), max(EVENT_TIME_MS)::bigint "
        "from TRAINING.TRAINING_SAMPLE where SHOP_ID = %s",
        (shop_id,),
    )
    return int(sessions), int(last_event_time_ms) if last_event_time_ms is not None else None


def _out_of_stock(connection: Any, s3: Any, bucket: str, shop_id: str) -> list[str] | None:
    """Return the ids that the shop's file or its catalogue feed lists as out of stock, or None if there are none.

    An empty file gives an empty list.
    """
    listed = _out_of_stock_file(s3, bucket, shop_id)
    by_feed = [item_id for (item_id,) in warehouse.rows(connection, OUT_OF_STOCK_BY_FEED, (shop_id,))]
    return listed if not by_feed else list(dict.fromkeys([*(listed or []), *by_feed]))


def _out_of_stock_file(s3: Any, bucket: str, shop_id: str) -> list[str] | None:
    """Return the ids of the shop's out-of-stock file, or None if the shop has no such file."""
    key = f"{STOCK_PREFIX}{shop_id}.json"
    if not _exists(s3, bucket, key):
        return None
    try:
        ids = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except ValueError as error:
        raise StockUnreadable(f"s3://{bucket}/{key} is no JSON ({error}): put it there again") from error
    if not isinstance(ids, list) or not all(isinstance(item_id, str) for item_id in ids):
        raise StockUnreadable(f's3://{bucket}/{key} is no list of ids such as ["boot-7", "boot-9"]')
    return ids


def _exists(s3: Any, bucket: str, key: str) -> bool:
    # Listed, not read: of a missing key the latter needs s3:ListBucket too, or S3 answers 403 instead of 404.
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
    return any(found["Key"] == key for page in pages for found in page.get("Contents", []))


def _unload(connection: Any, snapshot_id: str, table: str, columns: dict[str, str], shop_id: str) -> int:
    """Unload one table, and return its number of rows."""
    # Snowflake writes a NUMBER as a decimal unless the column is cast to the integer type of the parquet file.
    selected = ", ".join(f"{name}::{kind} as {name}" for name, kind in columns.items())
    rows, order = ROWS[table]
    unloaded = warehouse.one(
        connection,
        f"copy into @TRAINING.EXPORTS/{snapshot_id}/{table}/ "
        f"from (select {selected} from ({rows} where SHOP_ID = %s) {order}) "
        "file_format = (type = parquet) header = true overwrite = true",
        (shop_id,),
    )
    return int(unloaded[0])
