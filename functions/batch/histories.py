"""Unload the recent history of each client of a shop: the input of a batch."""

import time
from typing import Any, NotRequired, TypedDict

from functions.platform import warehouse
from functions.platform.contract import (
    HISTORY_COLUMNS,
    RECOMMEND_ITEMS_MAX,
    SESSION_ITEM_EVENTS,
    HistoriesResult,
)
from functions.platform.errors import StorageUnavailable
from functions.platform.log import get_logger
from functions.platform.releases import read_record
from functions.platform.s3_keys import CANDIDATES, HISTORIES, batch_prefix, current_key, fallback_key
from functions.platform.settings import WarehouseSettings
from functions.platform.stored_json import MISSING, find_object

log = get_logger(__name__)

DAY_MS = 86_400_000
# The largest batch_days of deploy/stages.toml.
DAYS_MAX = 365
EVENTS = ", ".join(f"'{name}'" for name in SESSION_ITEM_EVENTS)
# Of the events of a history: an item that somebody takes out of a cart today must not exclude a history that was imported.
NEWEST = f"""
select max(EVENT_TIME_MS) from INTERMEDIATE.INT_ITEM_EVENTS
where SHOP_ID = %s and EVENT_TIME_MS <= %s and EVENT_NAME in ({EVENTS})
"""
# The items that a carousel sends as the session: those of the same events, without immediate repeats, the last ones.
HISTORIES_SQL = """
with events as (
    select
        sessions.CLIENT_KEY, sessions.CLIENT_ID, sessions.USER_ID, sessions.SESSION_START_MS, sessions.EVENT_NUMBER,
        items.EVENT_TIME_MS, items.ITEM_INDEX, items.ITEM_ID,
        lag(items.ITEM_ID) over (
            partition by sessions.CLIENT_KEY
            order by sessions.SESSION_START_MS, sessions.EVENT_NUMBER, items.ITEM_INDEX
        ) as PREVIOUS_ITEM_ID
    from INTERMEDIATE.INT_ITEM_EVENTS as items
    inner join INTERMEDIATE.INT_SESSION_EVENTS as sessions on items.EVENT_KEY = sessions.EVENT_KEY
    where
        items.SHOP_ID = %s and items.EVENT_TIME_MS > %s and items.EVENT_TIME_MS <= %s
        and sessions.SHOP_ID = %s and sessions.EVENT_TIME_MS > %s and sessions.EVENT_TIME_MS <= %s
        and items.EVENT_NAME in ({events})
),

newest as (
    select
        CLIENT_KEY, ITEM_ID,
        row_number() over (
            partition by CLIENT_KEY order by SESSION_START_MS desc, EVENT_NUMBER desc, ITEM_INDEX desc
        ) as AGE
    from events
    where PREVIOUS_ITEM_ID is null or PREVIOUS_ITEM_ID != ITEM_ID
    qualify AGE <= {items}
),

histories as (
    select CLIENT_KEY, to_json(array_agg(ITEM_ID) within group (order by AGE desc)) as ITEMS
    from newest
    group by CLIENT_KEY
),

clients as (
    select
        CLIENT_KEY,
        max(CLIENT_ID) as CLIENT_ID,
        max_by(USER_ID, iff(USER_ID is null, null, EVENT_TIME_MS)) as USER_ID,
        max(EVENT_TIME_MS) as LAST_EVENT_TIME_MS
    from events
    group by CLIENT_KEY
)

select {columns}
from clients
inner join histories using (CLIENT_KEY)
"""


class HistoriesEvent(TypedDict):
    """The run and its shop. Without `days`, the histories have the stage's `batch_days`."""

    run_id: str
    shop_id: NotRequired[str]
    days: NotRequired[int]


class ModelLost(Exception):
    """The shop has had a release, and none is on record any more. Nothing could recommend."""


def histories(
    event: HistoriesEvent,
    settings: WarehouseSettings,
    connection: Any,
    s3: Any,
    now_ms: int | None = None,
) -> HistoriesResult:
    """Write batch/<shop>/<run>/histories/: one row per client with an event in the last days of the shop.

    The days end at the shop's newest event, so that an imported history has clients too.

    Returns:
        The number of clients, and the addresses of the files. Before the shop's first release `has_model` is False, there are no
        clients and nothing is written.

    Raises:
        ModelLost: the shop has had a release, and none is on record.
        StorageUnavailable: S3 did not answer.
        ValueError: the run or the shop cannot be part of a path, or the days are not between 1 and DAYS_MAX.
    """
    shop_id = event.get("shop_id") or settings.shop
    days = event.get("days") or settings.batch_days
    if not 1 <= days <= DAYS_MAX:
        raise ValueError(f"the histories cannot have {days} days: use 1 to {DAYS_MAX}")
    prefix = batch_prefix(shop_id, event["run_id"])
    release = read_record(s3, settings.models_bucket, shop_id).current
    made_at_ms = round(time.time() * 1000) if now_ms is None else now_ms
    # Each try has a folder of its own: a try before it may have left files, and Snowflake overwrites only those of equal names.
    folder = f"{prefix}{HISTORIES}{made_at_ms}/"
    clients = 0
    if release is None:
        _require_no_earlier_release(s3, settings.models_bucket, shop_id)
        log.info("the shop has no model yet, so it gets no lists", shop=shop_id)
    else:
        newest_ms = warehouse.one(connection, NEWEST, (shop_id, made_at_ms))[0]
        if newest_ms is not None:
            clients = _unload(connection, folder, shop_id, int(newest_ms) - days * DAY_MS, int(newest_ms))
        log.info("histories unloaded", shop=shop_id, days=days, clients=clients)
    return {
        "run_id": event["run_id"],
        "shop_id": shop_id,
        "has_model": release is not None,
        "clients": clients,
        "made_at_ms": made_at_ms,
        "model_data_uri": release.model_data_uri if release else "",
        "histories_uri": f"s3://{settings.models_bucket}/{folder}",
        "candidates_uri": f"s3://{settings.models_bucket}/{prefix}{CANDIDATES}",
    }


def _require_no_earlier_release(s3: Any, bucket: str, shop_id: str) -> None:
    """Raise ModelLost if the shop has had a release. Its fallback stays when the record is deleted."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        earlier = find_object(s3, bucket, fallback_key(shop_id), MISSING)
    except (ClientError, BotoCoreError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{fallback_key(shop_id)}: {error}") from error
    if earlier is not None:
        raise ModelLost(
            f"shop {shop_id} has had a model, and s3://{bucket}/{current_key(shop_id)} names none: restore that object's last "
            f"version, or publish a model (make run SHOP={shop_id}), then make batch again"
        )


def _unload(connection: Any, folder: str, shop_id: str, after_ms: int, until_ms: int) -> int:
    """Unload the histories, and return the number of clients."""
    query = HISTORIES_SQL.format(
        events=EVENTS,
        items=RECOMMEND_ITEMS_MAX,
        # Snowflake writes a NUMBER as a decimal unless the column is cast to the integer type of the parquet file.
        columns=", ".join(f"{name}::{kind} as {name}" for name, kind in HISTORY_COLUMNS.items()),
    )
    bounds = (shop_id, after_ms, until_ms)
    unloaded = warehouse.one(
        connection,
        f"copy into @TRAINING.BATCH/{folder.partition('/')[2]} from ({query}) "
        "file_format = (type = parquet) header = true overwrite = true",
        (*bounds, *bounds),
    )
    return int(unloaded[0])
