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
from functions.platform.log import get_logger
from functions.platform.releases import read_record
from functions.platform.s3_keys import CANDIDATES, HISTORIES, batch_prefix
from functions.platform.settings import WarehouseSettings

log = get_logger(__name__)

DAY_MS = 86_400_000
NEWEST = (
    "select max(EVENT_TIME_MS) from INTERMEDIATE.INT_ITEM_EVENTS where SHOP_ID = %s and EVENT_TIME_MS <= %s"
)
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


class NoModel(Exception):
    """No model of the shop is on record, so there is nothing that could recommend."""


def histories(
    event: HistoriesEvent,
    settings: WarehouseSettings,
    connection: Any,
    s3: Any,
    now_ms: int | None = None,
) -> HistoriesResult:
    """Write batch/<shop>/<run>/histories/: one row per client with an event in the last days of the shop.

    The days end at the shop's newest event, so that an imported history has clients too.

    Raises:
        NoModel: no model of the shop is on record.
        ValueError: the run or the shop cannot be part of a path.
    """
    shop_id = event.get("shop_id") or settings.shop
    days = event.get("days") or settings.batch_days
    prefix = batch_prefix(shop_id, event["run_id"])
    release = read_record(s3, settings.models_bucket, shop_id).current
    if release is None:
        raise NoModel(
            f"no model of shop {shop_id} is on record: train and publish one (make run SHOP={shop_id}), then make batch again"
        )
    made_at_ms = round(time.time() * 1000) if now_ms is None else now_ms
    newest_ms = warehouse.one(connection, NEWEST, (shop_id, made_at_ms))[0]
    clients = 0
    if newest_ms is not None:
        clients = _unload(connection, prefix, shop_id, int(newest_ms) - days * DAY_MS, int(newest_ms))
    log.info("histories unloaded", shop=shop_id, days=days, clients=clients)
    base = f"s3://{settings.models_bucket}/{prefix}"
    return {
        "run_id": event["run_id"],
        "shop_id": shop_id,
        "clients": clients,
        "made_at_ms": made_at_ms,
        "model_data_uri": release.model_data_uri,
        "histories_uri": f"{base}{HISTORIES}",
        "candidates_uri": f"{base}{CANDIDATES}",
    }


def _unload(connection: Any, prefix: str, shop_id: str, after_ms: int, until_ms: int) -> int:
    """Unload the histories, and return the number of clients."""
    query = HISTORIES_SQL.format(
        events=", ".join(f"'{name}'" for name in SESSION_ITEM_EVENTS),
        items=RECOMMEND_ITEMS_MAX,
        # Snowflake writes a NUMBER as a decimal unless the column is cast to the integer type of the parquet file.
        columns=", ".join(f"{name}::{kind} as {name}" for name, kind in HISTORY_COLUMNS.items()),
    )
    bounds = (shop_id, after_ms, until_ms)
    unloaded = warehouse.one(
        connection,
        f"copy into @TRAINING.BATCH/{prefix.partition('/')[2]}{HISTORIES} from ({query}) "
        "file_format = (type = parquet) header = true overwrite = true",
        (*bounds, *bounds),
    )
    return int(unloaded[0])
