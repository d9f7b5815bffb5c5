"""Measure one shop's data for the gate: a few aggregates of the warehouse, by day and by cell of senders.

A day here is 24 hours that end at the shop's newest event, not a calendar day. A replayed data set, or a run at noon,
then has no half day at its end that would look like a loss of traffic. The first and the newest event are those that
several clients share: one client with a wrong clock moves no day. The time of a load shows whether the shop has fallen
silent, because only the warehouse writes it.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from functions.platform import warehouse
from functions.platform.contract import CATALOGUE_PREFIX, EVENTS_WITH_ITEMS, RAW_PREFIX
from functions.validate.refusals import Refused, read_refused
from functions.validate.senders import CLIENT_DIGIT, NETWORK_DIGIT, Cell, cell

DAY_MS = 86_400_000
CHARTED_DAYS = 30
# So many clients share a time. A shop with fewer clients shares the times of all.
SHARING_CLIENTS = 3
ITEM_EVENTS = "({})".format(", ".join(f"'{name}'" for name in EVENTS_WITH_ITEMS))
# Networks that are named in the report if they sent more than this share of the newest day's events.
NAMED_SHARE, NAMED_NETWORKS = 0.1, 5


@dataclass
class Tally:
    """The counts of one cell on one day, or of a group of them."""

    events: int = 0
    sessions: int = 0
    names: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)  # field -> events that should have it
    found: Counter[str] = field(default_factory=Counter)  # field -> of these, the events that have it

    def add(self, other: "Tally") -> None:
        """Add the counts of another cell or day."""
        self.events += other.events
        self.sessions += other.sessions
        self.names.update(other.names)
        self.expected.update(other.expected)
        self.found.update(other.found)


@dataclass
class ShopDays:
    """A shop's last days; day 0 ends at its newest event, of whatever time zone."""

    full_days: int
    newest_at: datetime
    last_loaded_at: datetime
    cells: dict[Cell, dict[int, Tally]] = field(default_factory=dict)
    loaded_at: dict[Cell, datetime] = field(default_factory=dict)  # the newest load per cell


class Share(NamedTuple):
    """A part and its whole, as counts of events or rows."""

    part: float
    whole: float


class Network(NamedTuple):
    """A network that sent a large part of the newest day."""

    network_key: str
    events: int
    clients: int
    share: float


@dataclass(frozen=True)
class Measures:
    """The input of every check of one shop."""

    shop_id: str
    now: datetime
    events: int
    unloaded_files: tuple[tuple[str, datetime], ...]  # (file, first failure), oldest first
    shop: ShopDays | None
    unusable: dict[Cell, Share]
    copies: dict[Cell, Share]
    refused: dict[Cell, Share]
    refusals: Refused
    networks: tuple[Network, ...]
    daily_events: tuple[tuple[str, int], ...]  # (date, events), oldest first, for the chart


# Events of the future are excluded: a wrong clock must not move the days. A day of few clients counts only if all
# days are such.
DAYS = """
    select
        sum(EVENTS),
        max(iff(FIRST_EVENT_MS <= %s, least(LAST_EVENT_MS, %s), null)),
        max(iff(CLIENTS >= %s and FIRST_EVENT_MS <= %s, least(LAST_EVENT_MS, %s), null))
    from MARTS.DAILY_KPIS
    where SHOP_ID = %s
"""

# The first and the last times of the clients. The bounds are constants: Snowflake skips micro-partitions by them.
CLIENTS = """
    with clients as (
        select
            CLIENT_KEY, min(EVENT_TIME_MS) as FIRST_MS, max(EVENT_TIME_MS) as NEWEST_MS, max(LOADED_AT) as LOADED_AT
        from STAGING.STG_EVENTS
        where SHOP_ID = %s and not IS_BOT and EVENT_TIME_MS > %s and EVENT_TIME_MS <= %s
        group by CLIENT_KEY
    )

    select FIRST_MS, NEWEST_MS, LOADED_AT
    from clients
    qualify
        row_number() over (order by FIRST_MS) <= %s
        or row_number() over (order by NEWEST_MS desc) <= %s
        or row_number() over (order by LOADED_AT desc) <= %s
"""

CELLS = f"""
    with events as (
        select
            *,
            floor((%s - EVENT_TIME_MS) / 86400000)::int as DAY,
            {NETWORK_DIGIT} as NETWORK,
            {CLIENT_DIGIT} as CLIENT
        from STAGING.STG_EVENTS
        where SHOP_ID = %s and not IS_BOT and EVENT_TIME_MS > %s and EVENT_TIME_MS <= %s
    ),

    starts as (
        select EVENT_KEY
        from INTERMEDIATE.INT_SESSION_EVENTS
        where SHOP_ID = %s and EVENT_TIME_MS > %s and EVENT_TIME_MS <= %s and EVENT_NUMBER = 1
    )

    select
        events.DAY,
        events.NETWORK,
        events.CLIENT,
        events.EVENT_NAME,
        count(*),
        count(starts.EVENT_KEY),
        count(events.STOREFRONT_SESSION_ID),
        count(events.DEVICE),
        count_if(coalesce(array_size(events.ITEMS), 0) > 0),
        count_if(events.ITEMS[0]:price::float > 0),
        count_if(events.VALUE > 0),
        count(events.CURRENCY),
        max(events.LOADED_AT)
    from events
    left join starts on events.EVENT_KEY = starts.EVENT_KEY
    group by 1, 2, 3, 4
"""

NETWORKS = """
    select
        NETWORK_KEY, count(*) as EVENTS, count(distinct CLIENT_KEY), count(*) / sum(count(*)) over ()
    from STAGING.STG_EVENTS
    where SHOP_ID = %s and not IS_BOT and EVENT_TIME_MS > %s and EVENT_TIME_MS <= %s
    group by NETWORK_KEY
    order by EVENTS desc
    limit %s
"""

# Of a large lake, Load tries old files once a week, so eight days contain every file that fails. A file that was deleted
# from S3 fails no more. The load log has a line per file ever, so it is read whole only if a file fails. A catalogue feed
# is one shop's own. A file below raw/ has the events of many.
FAILED_LATELY = "select count(*) from RAW.LOAD_LOG where LOADED_AT > %s and STATUS = 'LOAD_FAILED'"
UNLOADED = """
    select FILE, min(LOADED_AT) as FIRST_FAILED_AT
    from RAW.LOAD_LOG
    where contains(FILE, %s) or contains(FILE, %s)
    group by FILE
    having count_if(STATUS = 'LOADED') = 0 and max(iff(STATUS = 'LOAD_FAILED', LOADED_AT, null)) > %s
    order by FIRST_FAILED_AT, FILE
    limit 100
"""

# The fields without which staging drops a row. A row without its shop belongs to no shop.
RAW_ROWS = f"""
    with typed as (
        select
            md5(SHOP_ID || chr(31) || coalesce(CLIENT_ID, EVENT_ID, FILENAME)) as CLIENT_KEY,
            md5(SHOP_ID || chr(31) || IP_PREFIX) as NETWORK_KEY,
            IS_TRUSTED,
            iff(EVENT_ID is null or CLIENT_ID is null or EVENT_NAME is null or TIME_MS is null, 1, 0) as IS_UNUSABLE
        from (
            select
                payload:shop_id::varchar as SHOP_ID,
                payload:event_id::varchar as EVENT_ID,
                payload:client_id::varchar as CLIENT_ID,
                payload:event_name::varchar as EVENT_NAME,
                coalesce(payload:server.event_time_ms::bigint, payload:server.received_at_ms::bigint) as TIME_MS,
                payload:server.ip_prefix::varchar as IP_PREFIX,
                coalesce(payload:server.trusted::boolean, false) as IS_TRUSTED,
                FILENAME
            from RAW.EVENTS
            where LOADED_AT > %s
        ) as fields
        where SHOP_ID = %s
    )

    select {NETWORK_DIGIT}, {CLIENT_DIGIT}, count(*), sum(IS_UNUSABLE)
    from typed
    group by 1, 2
"""

STAGED_ROWS = f"""
    select {NETWORK_DIGIT}, {CLIENT_DIGIT}, count(*), count_if(not IS_BOT and RECEIVED_AT_MS >= %s)
    from STAGING.STG_EVENTS
    where LOADED_AT > %s and SHOP_ID = %s
    group by 1, 2
"""


def measure(
    connection: Any,
    s3: Any,
    events_bucket: str,
    shop_id: str,
    now: datetime,
    trailing_days: int,
    judged_days: int,
) -> Measures:
    """Query the warehouse and S3 for one shop. `now` is UTC.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    now_ms = int(now.timestamp() * 1000)
    found = (now_ms, now_ms, SHARING_CLIENTS, now_ms, now_ms, shop_id)
    events, newest_ms, shared_ms = warehouse.one(connection, DAYS, found)
    shop = None
    if newest_ms is not None:
        shop = _shop(connection, shop_id, int(shared_ms or newest_ms), trailing_days)
    since = (now - timedelta(days=judged_days)).replace(tzinfo=None)
    # Firehose names files by their day, so refusals are counted from midnight on.
    yesterday = (now - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    raw = {
        cell(network, client): (int(rows), int(unusable))
        for network, client, rows, unusable in warehouse.rows(connection, RAW_ROWS, (since, shop_id))
    }
    staged = {
        cell(network, client): (int(rows), int(recent))
        for network, client, rows, recent in warehouse.rows(
            connection, STAGED_ROWS, (int(yesterday.timestamp() * 1000), since, shop_id)
        )
    }
    refusals = read_refused(s3, events_bucket, shop_id, (yesterday, now))
    return Measures(
        shop_id=shop_id,
        now=now,
        events=int(events or 0),
        unloaded_files=_unloaded_files(connection, shop_id, now),
        shop=shop,
        unusable={at: Share(unusable, rows) for at, (rows, unusable) in raw.items()},
        copies=_copies(raw, staged),
        refused=_refused(refusals, {at: recent for at, (_, recent) in staged.items()}),
        refusals=refusals,
        networks=_networks(connection, shop_id, shop) if shop else (),
        daily_events=_daily_events(connection, shop_id, shop) if shop else (),
    )


def _copies(raw: dict[Cell, tuple[int, int]], staged: dict[Cell, tuple[int, int]]) -> dict[Cell, Share]:
    """Return the copies among the usable rows. The copies of an event can come from another cell than the first."""
    copies = {}
    for at, (rows, unusable) in raw.items():
        usable = rows - unusable
        copies[at] = Share(max(0, usable - staged.get(at, (0, 0))[0]), usable)
    return copies


def _refused(refusals: Refused, accepted: dict[Cell, int]) -> dict[Cell, Share]:
    refused = refusals.by_cell
    return {
        at: Share(refused.get(at, 0.0), refused.get(at, 0.0) + accepted.get(at, 0))
        for at in refused.keys() | accepted.keys()
    }


def _unloaded_files(connection: Any, shop_id: str, now: datetime) -> tuple[tuple[str, datetime], ...]:
    """Return the files that failed lately and were never loaded, with their first failures."""
    since = (now - timedelta(days=8)).replace(tzinfo=None)
    if not warehouse.one(connection, FAILED_LATELY, (since,))[0]:
        return ()
    places = (f"/{RAW_PREFIX}", f"/{CATALOGUE_PREFIX}{shop_id}/")
    files = warehouse.rows(connection, UNLOADED, (*places, since))
    return tuple((file, failed_at.replace(tzinfo=UTC)) for file, failed_at in files)


def _shop(connection: Any, shop_id: str, newest_ms: int, trailing_days: int) -> ShopDays | None:
    """Return the shop's days up to the newest event that several clients share, or None without any event."""
    # Two more days: the first day is not full, and the newest event is later than the shared one.
    bounds = (shop_id, newest_ms - (trailing_days + 3) * DAY_MS, newest_ms)
    clients = warehouse.rows(connection, CLIENTS, (*bounds, *[SHARING_CLIENTS] * 3))
    if not clients:
        return None
    at = min(SHARING_CLIENTS, len(clients)) - 1
    first_ms = sorted(int(first) for first, _, _ in clients)[at]
    newest_ms = sorted((int(newest) for _, newest, _ in clients), reverse=True)[at]
    loaded_at = sorted((loaded for _, _, loaded in clients), reverse=True)[at]
    shop = ShopDays(
        full_days=(newest_ms - first_ms) // DAY_MS,
        newest_at=datetime.fromtimestamp(newest_ms / 1000, UTC),
        last_loaded_at=loaded_at.replace(tzinfo=UTC),
    )
    bounds = (shop_id, newest_ms - (trailing_days + 1) * DAY_MS, newest_ms)
    for day, network, client, name, events, sessions, *counts, loaded_at in warehouse.rows(
        connection, CELLS, (newest_ms, *bounds, *bounds)
    ):
        of_cell = cell(network, client)
        with_session, with_device, with_items, with_price, with_value, with_currency = map(int, counts)
        tally = Tally(int(events), int(sessions), Counter({name: int(events)}))
        tally.expected.update(storefront_session_id=tally.events, device=tally.events)
        tally.found.update(storefront_session_id=with_session, device=with_device)
        if name in EVENTS_WITH_ITEMS:
            tally.expected.update(items=tally.events, price=tally.events)
            tally.found.update(items=with_items, price=with_price)
        if name == "purchase":
            tally.expected.update(value=tally.events, currency=tally.events)
            tally.found.update(value=with_value, currency=with_currency)
        shop.cells.setdefault(of_cell, {}).setdefault(int(day), Tally()).add(tally)
        loaded_at = loaded_at.replace(tzinfo=UTC)
        shop.loaded_at[of_cell] = max(loaded_at, shop.loaded_at.get(of_cell, loaded_at))
    return shop


def _networks(connection: Any, shop_id: str, shop: ShopDays) -> tuple[Network, ...]:
    """Return the networks that sent a large part of the newest day."""
    newest_ms = int(shop.newest_at.timestamp() * 1000)
    found = warehouse.rows(connection, NETWORKS, (shop_id, newest_ms - DAY_MS, newest_ms, NAMED_NETWORKS))
    return tuple(
        Network(network_key, int(events), int(clients), float(share))
        for network_key, events, clients, share in found
        if network_key is not None and share > NAMED_SHARE
    )


def _daily_events(connection: Any, shop_id: str, shop: ShopDays) -> tuple[tuple[str, int], ...]:
    """Return the events per day of the days up to the newest. An event counts on the day that its session starts."""
    newest = shop.newest_at.date()
    rows = warehouse.rows(
        connection,
        "select DAY, sum(EVENTS) from MARTS.DAILY_KPIS where SHOP_ID = %s and DAY > %s and DAY <= %s "
        "group by DAY order by DAY",
        (shop_id, newest - timedelta(days=CHARTED_DAYS), newest),
    )
    return tuple((str(day), int(events)) for day, events in rows)
