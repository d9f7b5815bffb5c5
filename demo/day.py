"""One generated day: the events around each view, crawlers, late arrivals and repeats, as columns."""

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from demo.catalogue import IntArray

BoolArray = npt.NDArray[np.bool_]

DAY_MS = 86_400_000
PAGE_VIEW, SEARCH, VIEW_ITEM_LIST, VIEW_ITEM, ADD_TO_CART, REMOVE_FROM_CART, BEGIN_CHECKOUT, PURCHASE = range(
    8
)
MEDIAN_GAP_MS, LONGEST_GAP_MS, SHORTEST_GAP_MS = 25_000, 20 * 60_000, 200
EVENTS_PER_CRAWLER = 150
CRAWL_STEP_MS = 2_000
# Sessions and events of all days share one numbering; no day has more than this many.
SESSIONS_PER_DAY_MAX, EVENTS_PER_DAY_MAX = 10_000_000, 100_000_000


@dataclass(frozen=True)
class Visits:
    """The sessions that start on one day, with the items they view step by step."""

    client: IntArray  # (sessions,)
    starts_ms: IntArray  # (sessions,)
    views: IntArray  # (sessions, steps): an item number
    active: BoolArray  # (sessions, steps): False after the session's last view


class Rows(NamedTuple):
    """Events before they have an arrival time and a number."""

    time_ms: IntArray
    kind: IntArray
    client: IntArray
    session: IntArray
    item: IntArray


class Action(NamedTuple):
    """An event beside some of the views; the offset orders the events of one step, and the view is at 0."""

    chosen: BoolArray  # (sessions, steps)
    kind: int
    offset: float


@dataclass(frozen=True)
class Day:
    """A day's events as columns."""

    arrives_ms: IntArray
    time_ms: IntArray
    kind: IntArray
    client: IntArray
    session: IntArray
    item: IntArray
    number: IntArray
    bot: IntArray

    def take(self, rows: Any) -> "Day":
        """Return the chosen rows in the given order."""
        return Day(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @staticmethod
    def joined(first: "Day", second: "Day") -> "Day":
        """Return the rows of both days, one after the other."""
        return Day(
            **{
                field.name: np.concatenate([getattr(first, field.name), getattr(second, field.name)])
                for field in fields(first)
            }
        )


def events_of(visits: Visits, number: int, day_start_ms: int, items: int, rng: np.random.Generator) -> Day:
    """Make all events of the sessions that start on the day with this number.

    The order of the random draws is part of the result: the same seed must give the same bytes.
    """
    people = _shopper_rows(visits, rng)
    crawlers = _crawler_rows(len(visits.client), day_start_ms, items, rng)
    rows = Rows(*(np.concatenate(columns) for columns in zip(people, crawlers, strict=True)))
    bot = np.concatenate(
        [np.zeros(len(people.kind), dtype=np.int64), np.ones(len(crawlers.kind), dtype=np.int64)]
    )
    day = Day(
        arrives_ms=rows.time_ms + _delays_ms(len(bot), rng),
        time_ms=rows.time_ms,
        kind=rows.kind,
        client=rows.client,
        session=number * SESSIONS_PER_DAY_MAX + rows.session,
        item=rows.item,
        number=number * EVENTS_PER_DAY_MAX + np.arange(len(bot)),
        bot=bot,
    )
    return Day.joined(day, _repeats(day, rng))


def _shopper_rows(visits: Visits, rng: np.random.Generator) -> Rows:
    """Put the shoppers' events in order of session and step, and give each its time."""
    session_of: list[IntArray] = []
    step_of: list[IntArray] = []
    kind_of: list[IntArray] = []
    order_of: list[npt.NDArray[np.float64]] = []
    for action in _actions(visits, rng):
        sessions, steps = np.nonzero(action.chosen)
        session_of.append(sessions)
        step_of.append(steps)
        kind_of.append(np.full(len(sessions), action.kind))
        order_of.append(np.asarray(steps + action.offset, dtype=np.float64))
    session, step = np.concatenate(session_of), np.concatenate(step_of)
    rows = np.lexsort((np.concatenate(order_of), session))
    session, step, kind = session[rows], step[rows], np.concatenate(kind_of)[rows]
    return Rows(
        time_ms=visits.starts_ms[session] + _elapsed_ms(session, rng),
        kind=kind,
        client=visits.client[session],
        session=session,
        item=visits.views[session, step],
    )


def _actions(visits: Visits, rng: np.random.Generator) -> list[Action]:
    """Decide which views come with a landing, a search, a list, a cart or a purchase."""
    sessions, steps = visits.views.shape
    step = np.arange(steps)[None, :]
    draw = rng.random(visits.views.shape)
    carted = visits.active & (rng.random(visits.views.shape) < 0.09)
    has_cart: BoolArray = np.asarray(carted.any(axis=1))
    last_cart = np.where(has_cart, steps - 1 - np.argmax(carted[:, ::-1], axis=1), -1)
    buys: BoolArray = np.asarray(has_cart & (rng.random(sessions) < 0.38))
    at_last_cart: BoolArray = np.equal(step, last_cart[:, None])
    # A session ends at its purchase, but for two more clicks in some of them.
    last_step = np.where(buys, last_cart + np.where(rng.random(sessions) < 0.3, 2, 0), steps)
    active = visits.active & (step <= last_step[:, None])
    removes: BoolArray = np.asarray(~buys & (rng.random(sessions) < 0.25))
    return [
        Action((step == 0) & (draw < 0.30), PAGE_VIEW, -0.3),
        Action(active & (draw > 0.93), SEARCH, -0.2),
        Action(active & (draw > 0.50) & (draw < 0.62), VIEW_ITEM_LIST, -0.1),
        Action(active, VIEW_ITEM, 0.0),
        Action(active & carted, ADD_TO_CART, 0.2),
        Action(at_last_cart & buys[:, None], BEGIN_CHECKOUT, 0.3),
        Action(at_last_cart & buys[:, None], PURCHASE, 0.4),
        Action(at_last_cart & removes[:, None] & active, REMOVE_FROM_CART, 0.3),
    ]


def _elapsed_ms(session: IntArray, rng: np.random.Generator) -> IntArray:
    """Return each event's time since its session began; the events of a session stand together."""
    gaps_ms = np.minimum(rng.lognormal(np.log(MEDIAN_GAP_MS), 1.0, len(session)), LONGEST_GAP_MS)
    gaps_ms = gaps_ms.astype(np.int64) + SHORTEST_GAP_MS
    begins = np.concatenate([[True], session[1:] != session[:-1]])
    gaps_ms[begins] = 0
    total_ms = np.cumsum(gaps_ms)
    lengths = np.diff(np.concatenate([np.nonzero(begins)[0], [len(session)]]))
    return np.asarray(total_ms - np.repeat(total_ms[begins], lengths), dtype=np.int64)


def _crawler_rows(sessions: int, day_start_ms: int, items: int, rng: np.random.Generator) -> Rows:
    """Make the views of crawlers, which visit the items one after another; their sessions follow the shoppers'."""
    crawlers = int(rng.binomial(max(1, sessions // 90), 0.25))
    latest_start_ms = DAY_MS - EVENTS_PER_CRAWLER * 3_000
    starts_ms = day_start_ms + rng.integers(0, latest_start_ms, max(crawlers, 1))
    first_item = rng.integers(0, items, max(crawlers, 1))
    crawler = np.repeat(np.arange(crawlers), EVENTS_PER_CRAWLER)
    step = np.tile(np.arange(EVENTS_PER_CRAWLER), crawlers)
    return Rows(
        time_ms=starts_ms[crawler] + step * CRAWL_STEP_MS + rng.integers(0, 900, len(step)),
        kind=np.full(len(step), VIEW_ITEM),
        client=crawler,
        session=sessions + crawler,
        item=(first_item[crawler] + step) % items,
    )


def _delays_ms(count: int, rng: np.random.Generator) -> IntArray:
    """Return the delay of each event. One in 200 arrives up to six hours late."""
    delays_ms = rng.integers(20, 400, count)
    late = rng.random(count) < 0.005
    delays_ms[late] = rng.integers(600_000, 6 * 3_600_000, int(late.sum()))
    return delays_ms


def _repeats(day: Day, rng: np.random.Generator) -> Day:
    """Send one event in 250 a second time, up to five seconds later."""
    twice = day.take(np.nonzero(rng.random(len(day.number)) < 0.004)[0])
    return replace(twice, arrives_ms=twice.arrives_ms + rng.integers(100, 5_000, len(twice.arrives_ms)))
