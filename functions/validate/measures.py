"""Measure the data for the gate: a few aggregates of the warehouse and of S3.

A day here is 24 hours that end at the shop's newest event, not a calendar day. A replayed data set, or a run at noon,
then has no half day at its end that would look like a loss of traffic. Each shop has its own days. So one shop's
events of today do not empty the days of a shop whose data set ended earlier. The time of the shop's newest load shows
whether it has fallen silent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.platform import warehouse
from functions.platform.contract import EVENTS_WITH_ITEMS, RAW_PREFIX, REJECTED_PREFIX
from functions.validate.currencies import ShopOrders, recent_orders

DAY_MS = 86_400_000
CHARTED_DAYS = 30
ITEM_EVENTS = "({})".format(", ".join(f"'{name}'" for name in EVENTS_WITH_ITEMS))


@dataclass
class ShopDays:
    """A shop's last days; day 0 ends at its newest event, of whatever time zone."""

    shop_id: str
    full_days: int
    newest_at: datetime
    last_loaded_at: datetime
    events: dict[int, int] = field(default_factory=dict)
    sessions: dict[int, int] = field(default_factory=dict)
    names: dict[int, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Measures:
    """The input of every check."""

    now: datetime
    raw_rows: int
    last_loaded_at: datetime | None
    unloaded_files: tuple[tuple[str, datetime], ...]  # (file, first failure), oldest first
    recent_raw_rows: int
    recent_unusable_rows: int
    recent_staged_rows: int
    rejected_bytes: int
    raw_bytes: int
    shops: tuple[ShopDays, ...]
    missing: dict[str, tuple[int, int]]  # field -> (events without it, events that should have it)
    daily_events: tuple[tuple[str, int], ...]  # (date, events), oldest first, for the chart
    orders: dict[str, ShopOrders] = field(default_factory=dict)  # by shop


# Events of the future are excluded: a wrong clock must not move the days.
SHOPS = """
    select SHOP_ID, min(FIRST_EVENT_MS), max(least(LAST_EVENT_MS, %s)), max(LOADED_AT)
    from MARTS.DAILY_KPIS
    where FIRST_EVENT_MS <= %s
    group by SHOP_ID
"""

# Of a large lake, Load tries old files once a week, so eight days contain every file that fails. A file that was deleted
# from S3 fails no more. The load log has a line per file ever, so it is read whole only if a file fails.
FAILED_LATELY = "select count(*) from RAW.LOAD_LOG where LOADED_AT > %s and STATUS = 'LOAD_FAILED'"
UNLOADED = """
    select FILE, min(LOADED_AT) as FIRST_FAILED_AT
    from RAW.LOAD_LOG
    group by FILE
    having count_if(STATUS = 'LOADED') = 0 and max(iff(STATUS = 'LOAD_FAILED', LOADED_AT, null)) > %s
    order by FIRST_FAILED_AT, FILE
    limit 100
"""

# The fields without which staging drops a row.
RECENT_ROWS = """
    select
        count(*),
        count_if(
            payload:shop_id::varchar is null or payload:event_id::varchar is null
            or payload:client_id::varchar is null or payload:event_name::varchar is null
            or coalesce(payload:server.event_time_ms::bigint, payload:server.received_at_ms::bigint) is null
        )
    from RAW.EVENTS
    where LOADED_AT > %s
"""


def measure(
    connection: Any, s3: Any, events_bucket: str, now: datetime, trailing_days: int, judged_days: int
) -> Measures:
    """Query the warehouse and S3. `now` is UTC."""
    raw_rows, last_loaded_at = warehouse.one(connection, "select count(*), max(LOADED_AT) from RAW.EVENTS")
    since = (now - timedelta(days=judged_days)).replace(tzinfo=None)
    recent_raw, recent_unusable = warehouse.one(connection, RECENT_ROWS, (since,))
    recent_staged = warehouse.one(
        connection, "select count(*) from STAGING.STG_EVENTS where LOADED_AT > %s", (since,)
    )[0]
    shops = _shops(connection, int(now.timestamp() * 1000), trailing_days)
    return Measures(
        now=now,
        raw_rows=int(raw_rows),
        last_loaded_at=last_loaded_at.replace(tzinfo=UTC) if last_loaded_at else None,
        unloaded_files=_unloaded_files(connection, now),
        recent_raw_rows=int(recent_raw),
        recent_unusable_rows=int(recent_unusable),
        recent_staged_rows=int(recent_staged),
        rejected_bytes=_bytes_received(s3, events_bucket, REJECTED_PREFIX, now),
        raw_bytes=_bytes_received(s3, events_bucket, RAW_PREFIX, now),
        shops=shops,
        missing=_missing(connection, shops, since),
        daily_events=_daily_events(connection, shops),
        orders=recent_orders(connection, {shop.shop_id: shop.newest_at for shop in shops}, judged_days),
    )


def _unloaded_files(connection: Any, now: datetime) -> tuple[tuple[str, datetime], ...]:
    """Return the files that failed lately and were never loaded, with their first failures."""
    since = (now - timedelta(days=8)).replace(tzinfo=None)
    if not warehouse.one(connection, FAILED_LATELY, (since,))[0]:
        return ()
    files = warehouse.rows(connection, UNLOADED, (since,))
    return tuple((file, failed_at.replace(tzinfo=UTC)) for file, failed_at in files)


def _shops(connection: Any, now_ms: int, trailing_days: int) -> tuple[ShopDays, ...]:
    shops = {
        shop_id: ShopDays(
            shop_id,
            full_days=(int(newest_ms) - int(first_ms)) // DAY_MS,
            newest_at=datetime.fromtimestamp(int(newest_ms) / 1000, UTC),
            last_loaded_at=loaded_at.replace(tzinfo=UTC),
        )
        for shop_id, first_ms, newest_ms, loaded_at in warehouse.rows(connection, SHOPS, (now_ms, now_ms))
    }
    if not shops:
        return ()
    day = "floor((NEWEST_MS - EVENT_TIME_MS) / 86400000)::int as DAY"
    window, parameters = _window("INTERMEDIATE.INT_SESSION_EVENTS", shops.values(), trailing_days + 1)
    for shop_id, of_day, name, events in warehouse.rows(
        connection,
        f"select EVENTS.SHOP_ID, {day}, EVENT_NAME, count(*) {window} group by 1, 2, 3",
        parameters,
    ):
        shop = shops[shop_id]
        shop.events[int(of_day)] = shop.events.get(int(of_day), 0) + int(events)
        shop.names.setdefault(int(of_day), {})[name] = int(events)
    for shop_id, of_day, sessions in warehouse.rows(
        connection,
        f"select EVENTS.SHOP_ID, {day}, count(distinct SESSION_KEY) {window} group by 1, 2",
        parameters,
    ):
        shops[shop_id].sessions[int(of_day)] = int(sessions)
    return tuple(shops[shop_id] for shop_id in sorted(shops))


def _window(table: str, shops: Iterable[ShopDays], days: int) -> tuple[str, tuple[Any, ...]]:
    """Return a FROM clause of each shop's last days, with its parameters.

    The bounds are constants per shop, because Snowflake skips no micro-partition by the columns of a join.
    """
    newest = {shop.shop_id: int(shop.newest_at.timestamp() * 1000) for shop in shops}
    rows = " union all ".join(["select %s as SHOP_ID, %s::bigint as NEWEST_MS"] * len(newest))
    bounds = " or ".join(
        ["(EVENTS.SHOP_ID = %s and EVENT_TIME_MS > %s and EVENT_TIME_MS <= %s)"] * len(newest)
    )
    sql = f"from {table} as EVENTS inner join ({rows}) as SHOPS on EVENTS.SHOP_ID = SHOPS.SHOP_ID where ({bounds})"
    named = [value for shop in newest.items() for value in shop]
    bounded = [
        value
        for shop_id, newest_ms in newest.items()
        for value in (shop_id, newest_ms - days * DAY_MS, newest_ms)
    ]
    return sql, (*named, *bounded)


def _missing(connection: Any, shops: Sequence[ShopDays], since: datetime) -> dict[str, tuple[int, int]]:
    """Return, per field, the events of the shops' newest days without it, and the events that should have it.

    Shops without a load since `since` are left out.
    """
    loaded = [shop for shop in shops if shop.last_loaded_at.replace(tzinfo=None) > since]
    if not loaded:
        return dict.fromkeys(("items", "storefront_session_id", "device"), (0, 0))
    window, parameters = _window("STAGING.STG_EVENTS", loaded, 1)
    events, without_session, without_device, item_events, without_items = warehouse.one(
        connection,
        f"""
        select
            count(*),
            count_if(STOREFRONT_SESSION_ID is null),
            count_if(DEVICE is null),
            count_if(EVENT_NAME in {ITEM_EVENTS}),
            count_if(EVENT_NAME in {ITEM_EVENTS} and coalesce(array_size(ITEMS), 0) = 0)
        {window} and not IS_BOT and LOADED_AT > %s
        """,
        (*parameters, since),
    )
    return {
        "items": (int(without_items), int(item_events)),
        "storefront_session_id": (int(without_session), int(events)),
        "device": (int(without_device), int(events)),
    }


def _daily_events(connection: Any, shops: Sequence[ShopDays]) -> tuple[tuple[str, int], ...]:
    """Return the events per day of the days up to the newest. An event counts on the day that its session starts."""
    if not shops:
        return ()
    newest = max(shop.newest_at for shop in shops).date()
    rows = warehouse.rows(
        connection,
        "select DAY, sum(EVENTS) from MARTS.DAILY_KPIS where DAY > %s and DAY <= %s group by DAY order by DAY",
        (newest - timedelta(days=CHARTED_DAYS), newest),
    )
    return tuple((str(day), int(events)) for day, events in rows)


def _bytes_received(s3: Any, bucket: str, prefix: str, now: datetime) -> int:
    """Return the compressed bytes that Firehose delivered below the prefix yesterday and today."""
    total = 0
    for day in (now - timedelta(days=1), now):
        for page in s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=f"{prefix}{day:%Y/%m/%d}/"
        ):
            total += sum(int(found["Size"]) for found in page.get("Contents", []))
    return total
