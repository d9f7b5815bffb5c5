"""Unload a snapshot of the training tables and describe it in a manifest."""

import json
import re
from typing import Any

from functions.platform import warehouse
from functions.platform.log import get_logger
from functions.platform.settings import WarehouseSettings

log = get_logger(__name__)

# A Step Functions execution name; it becomes part of a stage path, which cannot be a bound parameter.
SNAPSHOT_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
# Snowflake writes a NUMBER as a decimal unless it is cast to the integer type that parquet shall have.
INTERACTION_COLUMNS = {
    "SHOP_ID": "varchar",
    "SESSION_KEY": "varchar",
    "POSITION": "int",
    "ITEM_ID": "varchar",
    "EVENT_NAME": "varchar",
    "EVENT_TIME_MS": "bigint",
}
ITEM_COLUMNS = {
    "SHOP_ID": "varchar",
    "ITEM_ID": "varchar",
    "ITEM_NAME": "varchar",
    "ITEM_CATEGORY": "varchar",
    "ITEM_BRAND": "varchar",
    "PRICE": "float",
    "FIRST_SEEN_MS": "bigint",
    "LAST_SEEN_MS": "bigint",
    "INTERACTIONS": "int",
    "PURCHASES": "int",
}


# Events do not say what is in stock, so the shop lays the list of what is not beside them.
STOCK_KEY = "stock/{}.json"
OUT_OF_STOCK = "items/out_of_stock.json"


class EmptySnapshot(Exception):
    """There is nothing to train on."""


class StockUnreadable(Exception):
    """The shop's list of what is out of stock is none; without it, what cannot be bought would be shown again."""


def export(event: dict[str, Any], settings: WarehouseSettings, connection: Any, s3: Any) -> dict[str, Any]:
    """Write exports/<run_id>/{interactions,items}/ and manifest.json of one shop: a model serves one shop.

    Raises:
        EmptySnapshot: no session of the shop can be learnt from.
        StockUnreadable: stock/<shop_id>.json is no JSON list of ids.
    """
    run_id = event["run_id"]
    if not SNAPSHOT_ID.fullmatch(run_id):
        raise ValueError(f"run_id {run_id!r} cannot be part of a path: use letters, digits, - and _")
    shop_id = event.get("shop_id") or settings.shop_id
    sessions, last_event_time_ms = _sessions(connection, shop_id)
    if not sessions:
        raise EmptySnapshot(
            f"TRAINING.TRAINING_INTERACTIONS holds no session of shop {shop_id}: send events with two items or more in a "
            "session, then run the pipeline again"
        )
    out_of_stock = _out_of_stock(s3, settings.models_bucket, shop_id)
    prefix = f"exports/{run_id}/"
    _empty(s3, settings.models_bucket, prefix)
    interactions = _unload(connection, run_id, "interactions", INTERACTION_COLUMNS, shop_id)
    items = _unload(connection, run_id, "items", ITEM_COLUMNS, shop_id)
    if out_of_stock is not None:
        s3.put_object(
            Bucket=settings.models_bucket,
            Key=prefix + OUT_OF_STOCK,
            Body=json.dumps(out_of_stock).encode(),
            ContentType="application/json",
        )
    base = f"s3://{settings.models_bucket}/{prefix}"
    result = {
        "run_id": run_id,
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
        "shop_id": shop_id,
        "out_of_stock": None if out_of_stock is None else len(out_of_stock),
        "interaction_columns": INTERACTION_COLUMNS,
        "item_columns": ITEM_COLUMNS,
    }
    s3.put_object(
        Bucket=settings.models_bucket,
        Key=f"{prefix}manifest.json",
        Body=json.dumps(manifest, indent=2).encode(),
        ContentType="application/json",
    )
    log.info(
        "exported",
        interactions=interactions,
        sessions=sessions,
        items=items,
        out_of_stock=manifest["out_of_stock"],
    )
    return result


def _sessions(connection: Any, shop_id: str) -> tuple[int, int | None]:
    sessions, last_event_time_ms = warehouse.one(
        connection,
        "select count(distinct SESSION_KEY), max(EVENT_TIME_MS)::bigint "
        "from TRAINING.TRAINING_INTERACTIONS where SHOP_ID = %s",
        (shop_id,),
    )
    return int(sessions), int(last_event_time_ms) if last_event_time_ms is not None else None


def _out_of_stock(s3: Any, bucket: str, shop_id: str) -> list[str] | None:
    """The ids in the shop's list; None where it gives none."""
    key = STOCK_KEY.format(shop_id)
    # Listed first: S3 tells who may not list that a missing key is forbidden.
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
    if not any(found["Key"] == key for page in pages for found in page.get("Contents", [])):
        return None
    try:
        ids = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except ValueError as error:
        raise StockUnreadable(f"s3://{bucket}/{key} is no JSON ({error}): put it there again") from error
    if not isinstance(ids, list) or not all(isinstance(item_id, str) for item_id in ids):
        raise StockUnreadable(f's3://{bucket}/{key} is no list of ids such as ["boot-7", "boot-9"]')
    return ids


def _unload(connection: Any, snapshot_id: str, table: str, columns: dict[str, str], shop_id: str) -> int:
    selected = ", ".join(f"{name}::{kind} as {name}" for name, kind in columns.items())
    order = "SESSION_KEY, POSITION" if table == "interactions" else "ITEM_ID"
    unloaded = warehouse.one(
        connection,
        f"copy into @TRAINING.EXPORTS/{snapshot_id}/{table}/ "
        f"from (select {selected} from TRAINING.TRAINING_{table.upper()} where SHOP_ID = %s order by {order}) "
        "file_format = (type = parquet) header = true overwrite = true",
        (shop_id,),
    )
    return int(unloaded[0])


def _empty(s3: Any, bucket: str, prefix: str) -> None:
    """A retry may write fewer files than the try before it; OVERWRITE leaves the others."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        keys = [{"Key": found["Key"]} for found in page.get("Contents", [])]
        if keys:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})
