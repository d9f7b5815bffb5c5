"""The shop of the growth benchmark: the raw files of each day, as Firehose delivers them, from a seed.

Visitors return, the catalogue and the visitors grow slowly, sessions cross midnight, and some visitors are crawlers.
Some sessions arrive one day or three days late, and some events arrive twice. Orders and receipts are part of it.
Each day depends only on the seed and its number, so that a run can continue after a stop.
"""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from functions.platform.contract import RAW_PREFIX

FIRST_DAY = datetime(2025, 1, 6, tzinfo=UTC)
DAY_MS, MINUTE_MS = 86_400_000, 60_000
FIRST_MS = int(FIRST_DAY.timestamp() * 1000)
SHAPES = ("flat", "growing", "seasonal")
EVENTS_PER_SESSION = 6.5
LONGEST_SESSION = 40
LATE_ONE_DAY, LATE_THREE_DAYS, COPIES, BOTS = 0.02, 0.003, 0.005, 0.01
NEW_PRODUCTS_A_DAY = 0.002
NEW_VISITORS_A_SESSION = 0.3
# A session's first event is a page view; the others are drawn.
KINDS = (
    ("page_view", 0.12),
    ("view_item", 0.52),
    ("view_item_list", 0.10),
    ("search", 0.08),
    ("add_to_cart", 0.07),
    ("remove_from_cart", 0.02),
    ("recommendation_impression", 0.06),
    ("recommendation_click", 0.03),
)
NAMES = (*(name for name, _ in KINDS), "purchase")
PURCHASE = len(KINDS)
ORDERS = 0.03
WITH_RECEIPTS = tuple(NAMES.index(name) for name in ("recommendation_impression", "recommendation_click"))

Numbers = NDArray[Any]


@dataclass(frozen=True)
class Events:
    """Columns of events."""

    day: Numbers
    number: Numbers
    session: Numbers
    client: Numbers
    bot: Numbers
    kind: Numbers
    item: Numbers
    time_ms: Numbers
    arrival_ms: Numbers

    def take(self, index: Numbers, **replaced: Numbers) -> "Events":
        """Return some of the events, with columns replaced."""
        columns = {name: column[index] for name, column in vars(self).items()}
        return Events(**(columns | replaced))


@dataclass(frozen=True)
class Shop:
    """A shop with about `events` events per day. `shape` is the course of its traffic over `days` days."""

    events: int = 1_000_000
    seed: int = 1
    shape: str = "flat"
    days: int = 60
    shop_id: str = "demo"

    def sessions(self, day: int) -> int:
        """Return the number of sessions that start on a day, counted from 1."""
        factor = 1.0
        if self.shape == "growing":
            factor = 0.5 + (day - 1) / max(1, self.days - 1)
        if self.shape == "seasonal":
            week, year = np.sin(2 * np.pi * day / 7), np.sin(2 * np.pi * day / 365)
            factor = float(1 + 0.25 * week + 0.4 * year)
        return max(2, int(self.events / EVENTS_PER_SESSION * factor))

    def products(self, day: int) -> int:
        """Return the size of the catalogue on a day."""
        start = int(200 + 20 * np.sqrt(self.events))
        return start + int(start * NEW_PRODUCTS_A_DAY * day)

    def files(self, day: int, files: int) -> Iterator[tuple[str, bytes, int]]:
        """Yield key, content and number of lines of the raw files that arrive on a day."""
        arrived = self.arrivals(day)
        start = FIRST_DAY + timedelta(days=day - 1)
        bounds = np.arange(files + 1) * (DAY_MS // files) + int(start.timestamp() * 1000)
        splits = np.searchsorted(arrived.arrival_ms, bounds)
        for file in range(files):
            lines = self.lines(arrived.take(np.arange(splits[file], splits[file + 1])))
            if lines:
                at = start + timedelta(milliseconds=file * (DAY_MS // files))
                name = hashlib.sha256(f"{self.seed}-{day}-{file}".encode()).hexdigest()[:32]
                key = f"{RAW_PREFIX}{at:%Y/%m/%d/%H}/events-1-{at:%Y-%m-%d-%H-%M-%S}-{name}.gz"
                yield key, gzip.compress("".join(lines).encode(), compresslevel=1, mtime=0), len(lines)

    def arrivals(self, day: int) -> Events:
        """Return the events that arrive on a day, in order of arrival."""
        first_ms = FIRST_MS + (day - 1) * DAY_MS
        parts = []
        # Three days late, and past midnight.
        for of_day in range(max(1, day - 4), day + 1):
            made = _made(self, of_day)
            arrives = (made.arrival_ms >= first_ms) & (made.arrival_ms < first_ms + DAY_MS)
            parts.append(made.take(np.flatnonzero(arrives)))
        joined = Events(
            **{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])}
        )
        return joined.take(np.argsort(joined.arrival_ms, kind="stable"))

    def lines(self, events: Events) -> list[str]:
        """Return the lines that collect writes for these events."""
        columns = (column.tolist() for column in vars(events).values())
        return [self._line(*row) for row in zip(*columns, strict=True)]

    def _line(
        self, day: int, number: int, session: int, client: int, bot: bool, kind: int, item: int, time_ms: int,
        arrival_ms: int,
    ) -> str:  # fmt: skip
        event_id, session_id = f"{day:x}-{number:x}", f"s{day:x}-{session:x}"
        name = NAMES[kind]
        more = ""
        receipts = ""
        if name == "search":
            more = f'"search_term":"brand {item % 60}",'
        elif name == "view_item_list":
            more = f'"item_list_id":"category-{item % 40}",'
        elif name != "page_view":
            quantity = ',"quantity":1' if name in ("add_to_cart", "purchase") else ""
            more = f'"items":[{{{_item(item)}{quantity}}}],'
        if name == "purchase":
            more += f'"transaction_id":"t-{session_id}","value":{_price(item)},"currency":"EUR",'
        if kind in WITH_RECEIPTS or (name == "purchase" and session % 4 == 0):
            recommended = f"r-{day:x}-{session:x}"
            receipts = (
                f',"receipts":[{{"verdict":"valid","recommendation_id":"{recommended}","model_version":"m{day // 7}",'
                f'"variant":"encoder","issued_at_ms":{FIRST_MS + (day - 1) * DAY_MS},'
                f'"items":[{{"item_id":"i{item}","slot":{item % 8}}}]}}]'
            )
            if name != "purchase":
                more += f'"recommendation_id":"{recommended}",'
        user = f'"user_id":"u{client}",' if client % 5 == 0 and not bot else ""
        return (
            f'{{"schema_version":1,"event_id":"{event_id}","event_name":"{name}","shop_id":"{self.shop_id}",'
            f'"client_id":"{"b" if bot else "c"}{client}","session_id":"{session_id}","client_time_ms":{time_ms},{user}{more}'
            f'"page_location":"https://shop.example/p/{item}",'
            f'"server":{{"received_at_ms":{arrival_ms},"source":"events","ip_prefix":"192.0.2.0/24","device":"mobile",'
            f'"is_bot":{"true" if bot else "false"},"request_id":"{event_id}","event_time_ms":{time_ms}{receipts}}}}}\n'
        )


@lru_cache(maxsize=5)
def _made(shop: Shop, day: int) -> Events:
    """Return the events of the sessions that start on a day."""
    draw = np.random.default_rng([shop.seed, day])
    sessions = shop.sessions(day)
    start_ms = FIRST_MS + (day - 1) * DAY_MS
    starts_ms = start_ms + (draw.random(sessions) + draw.random(sessions)) / 2 * DAY_MS
    length = np.minimum(draw.geometric(1 / EVENTS_PER_SESSION, sessions), LONGEST_SESSION)
    # Of the visitors so far, newer ones come more often.
    visitors = shop.sessions(1) * (3 + NEW_VISITORS_A_SESSION * (day - 1)) + 10
    clients = (visitors * np.sqrt(draw.random(sessions))).astype(np.int64)
    bots = draw.random(sessions) < BOTS
    delay = draw.random(sessions)
    late_ms = np.where(
        delay < LATE_THREE_DAYS, 3 * DAY_MS, np.where(delay < LATE_THREE_DAYS + LATE_ONE_DAY, DAY_MS, 0)
    )
    of = np.repeat(np.arange(sessions), length)
    events = len(of)
    first = np.repeat(np.cumsum(length) - length, length)
    step = np.arange(events) - first
    waits = draw.exponential(0.75 * MINUTE_MS, events)
    passed = np.cumsum(waits)
    time_ms = (starts_ms[of] + passed - passed[first]).astype(np.int64)
    kind = np.searchsorted(np.cumsum([weight for _, weight in KINDS])[:-1], draw.random(events))
    kind[step == 0] = 0
    ends = np.cumsum(length) - 1
    kind[ends[(draw.random(sessions) < ORDERS) & (length > 2)]] = PURCHASE
    # Popularity follows Zipf's law, and newer products are more popular.
    products = shop.products(day)
    item = products - np.minimum(products ** draw.random(events), products).astype(np.int64)
    made = Events(
        day=np.full(events, day),
        number=np.arange(events),
        session=of,
        client=clients[of],
        bot=bots[of],
        kind=kind,
        item=item,
        time_ms=time_ms,
        arrival_ms=time_ms + 250 + late_ms[of],
    )
    again = np.flatnonzero(draw.random(events) < COPIES)
    copies = made.take(again, arrival_ms=made.arrival_ms[again] + draw.integers(1000, 7_200_000, len(again)))
    index = np.arange(events + len(again))
    return Events(
        **{name: np.concatenate([vars(made)[name], vars(copies)[name]])[index] for name in vars(made)}
    )


@lru_cache(maxsize=200_000)
def _item(item: int) -> str:
    return (
        f'"item_id":"i{item}","item_name":"Product {item}","item_category":"category-{item % 40}",'
        f'"item_brand":"brand {item % 60}","price":{_price(item)}'
    )


def _price(item: int) -> float:
    return 5 + item % 97 + 0.5
