"""Measure the data for the gate: a few aggregates of the warehouse and of S3.

A day here is 24 hours that end at the shop's newest event, not a calendar day. A replayed data set, or a run at noon,
then has no half day at its end that would look like a loss of traffic. Each shop has its own days. So one shop's
events of today do not empty the days of a shop whose data set ended earlier. The time of the shop's newest load shows
whether it has fallen silent.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.platform import warehouse
from functions.platform.contract import EVENTS_WITH_ITEMS, RAW_PREFIX, REJECTED_PREFIX

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


# Events of the future are excluded: a wrong clock must not move the days.
SHOPS = """
    select SHOP_ID, min(EVENT_TIME_MS) as FIRST_MS, max(EVENT_TIME_MS) as NEWEST_MS
    from INTERMEDIATE.INT_SESSION_EVENTS
    where EVENT_TIME_MS <= %s
    group by SHOP_ID
"""

# Files that failed in the last two days and were never loaded. A file that was deleted from S3 fails no more.
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
    now_ms = int(now.timestamp() * 1000)
    return Measures(
        now=now,
        raw_rows=int(raw_rows),
        last_loaded_at=last_loaded_at.replace(tzinfo=UTC) if last_loaded_at else None,
        unloaded_files=tuple(
            (file, failed_at.replace(tzinfo=UTC))
            for file, failed_at in warehouse.rows(
                connection, UNLOADED, ((now - timedelta(days=2)).replace(tzinfo=None),)
            )
        ),
        recent_raw_rows=int(recent_raw),
        recent_unusable_rows=int(recent_unusable),
        recent_staged_rows=int(recent_staged),
        rejected_bytes=_bytes_received(s3, events_bucket, REJECTED_PREFIX, now),
        raw_bytes=_bytes_received(s3, events_bucket, RAW_PREFIX, now),
        shops=_shops(connection, now_ms, trailing_days),
        missing=_missing(connection, now_ms, since),
        daily_events=_daily_events(connection, now_ms),
    )


def _shops(connection: Any, now_ms: int, trailing_days: int) -> tuple[ShopDays, ...]:
    loaded = dict(
        warehouse.rows(
            connection,
            "select SHOP_ID, max(LOADED_AT) from STAGING.STG_EVENTS where not IS_BOT group by SHOP_ID",
        )
    )
    shops: dict[str, ShopDays] = {}
    for shop_id, first_ms, newest_ms in warehouse.rows(connection, SHOPS, (now_ms,)):
        shops[shop_id] = ShopDays(
            shop_id,
            full_days=(int(newest_ms) - int(first_ms)) // DAY_MS,
            newest_at=datetime.fromtimestamp(int(newest_ms) / 1000, UTC),
            last_loaded_at=loaded[shop_id].replace(tzinfo=UTC),
        )
    day = "floor((NEWEST_MS - EVENT_TIME_MS) / 86400000)::int as DAY"
    of_window = f"""
        from INTERMEDIATE.INT_SESSION_EVENTS as EVENTS
        inner join ({SHOPS}) as SHOPS on EVENTS.SHOP_ID = SHOPS.SHOP_ID
        where EVENT_TIME_MS <= NEWEST_MS and EVENT_TIME_MS > NEWEST_MS - %s
    """
    window = (now_ms, (trailing_days + 1) * DAY_MS)
    for shop_id, of_day, name, events in warehouse.rows(
        connection,
        f"select EVENTS.SHOP_ID, {day}, EVENT_NAME, count(*) {of_window} group by 1, 2, 3",
        window,
    ):
        shop = shops[shop_id]
        shop.events[int(of_day)] = shop.events.get(int(of_day), 0) + int(events)
        shop.names.setdefault(int(of_day), {})[name] = int(events)
    for shop_id, of_day, sessions in warehouse.rows(
        connection,
        f"select EVENTS.SHOP_ID, {day}, count(distinct SESSION_KEY) {of_window} group by 1, 2",
        window,
    ):
        shops[shop_id].sessions[int(of_day)] = int(sessions)
    return tuple(shops[shop_id] for shop_id in sorted(shops))


def _missing(connection: Any, now_ms: int, since: datetime) -> dict[str, tuple[int, int]]:
    """Return, per field, the events of the shops' newest days without it, and the events that should have it.

    Shops without a load since `since` are left out.
    """
    events, without_session, without_device, item_events, without_items = warehouse.one(
        connection,
        f"""
        select
            count(*),
            count_if(STOREFRONT_SESSION_ID is null),
            count_if(DEVICE is null),
            count_if(EVENT_NAME in {ITEM_EVENTS}),
            count_if(EVENT_NAME in {ITEM_EVENTS} and coalesce(array_size(ITEMS), 0) = 0)
        from STAGING.STG_EVENTS as EVENTS
        inner join ({SHOPS}) as SHOPS on EVENTS.SHOP_ID = SHOPS.SHOP_ID
        where
            not IS_BOT and LOADED_AT > %s
            and EVENT_TIME_MS <= NEWEST_MS and EVENT_TIME_MS > NEWEST_MS - %s
        """,
        (now_ms, since, DAY_MS),
    )
    return {
        "items": (int(without_items), int(item_events)),
        "storefront_session_id": (int(without_session), int(events)),
        "device": (int(without_device), int(events)),
    }


def _daily_events(connection: Any, now_ms: int) -> tuple[tuple[str, int], ...]:
    newest_ms = warehouse.one(connection, f"select max(NEWEST_MS) from ({SHOPS})", (now_ms,))[0] or now_ms
    rows = warehouse.rows(
        connection,
        "select EVENT_TIME::date as DAY, count(*) from INTERMEDIATE.INT_SESSION_EVENTS "
        "where EVENT_TIME_MS <= %s and EVENT_TIME_MS > %s group by 1 order by 1",
        (int(newest_ms), int(newest_ms) - CHARTED_DAYS * DAY_MS),
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
