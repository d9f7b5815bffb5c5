"""Generate the item views of shoppers, one day at a time, all sessions of the day at once."""

from dataclasses import dataclass

import numpy as np

from demo.catalogue import LINES, Catalogue, FloatArray, IntArray
from demo.day import DAY_MS, BoolArray, Day, Visits, events_of

EVENTS_PER_SESSION = 6.1  # measured over the whole mixture, crawlers included; only sizes the days
LONGEST_SESSION = 30

# Shares of a shopper's next steps. WALK continues along the price order of the cell. OTHER_LINE switches within the category.
# RETURN repeats the previous item. GOES_WITH takes the same line in a matching category. PROMOTION follows a promotion.
WALK, OTHER_LINE, RETURN, GOES_WITH, PROMOTION = 0.52, 0.10, 0.10, 0.13, 0.15
STRIDES, STRIDE_SHARES = np.array([1, 2, 3]), (0.60, 0.28, 0.12)


@dataclass(frozen=True)
class Shop:
    """The part of the shop that all days share."""

    catalogue: Catalogue
    seed: int
    days: int
    sessions_per_day: FloatArray
    clients: int
    client_leaf: IntArray  # (clients, 2): favourite categories
    client_line: IntArray
    goes_with: IntArray  # (leaves, 2)
    leaf_phase: FloatArray


def make_shop(catalogue: Catalogue, events: int, days: int, seed: int) -> Shop:
    """Make clients with tastes, matching categories, and the number of sessions per day."""
    rng = np.random.default_rng([seed, 2])
    sessions = events / EVENTS_PER_SESSION
    weekly = 1.0 + 0.18 * np.sin(2 * np.pi * (np.arange(days) + rng.uniform(0, 7)) / 7)
    busy = weekly * rng.normal(1.0, 0.04, days)
    clients = max(20, int(sessions * 0.6))
    leaves = catalogue.leaves
    return Shop(
        catalogue=catalogue,
        seed=seed,
        days=days,
        sessions_per_day=sessions * busy / busy.sum(),
        clients=clients,
        client_leaf=rng.choice(leaves, size=(clients, 2), p=_skewed(leaves, rng)),
        client_line=rng.integers(0, len(LINES), clients),
        goes_with=(np.arange(leaves)[:, None] + rng.integers(1, leaves, (leaves, 2))) % leaves,
        leaf_phase=rng.uniform(0, 2 * np.pi, leaves),
    )


def _skewed(n: int, rng: np.random.Generator) -> FloatArray:
    weights = rng.permutation(1.0 / (np.arange(n) + 4.0))
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def make_day(shop: Shop, history_start_ms: int, number: int) -> Day:
    """Make all events of sessions that start on this day."""
    rng = np.random.default_rng([shop.seed, 3, number])
    sessions = max(1, round(float(shop.sessions_per_day[number])))
    day_start_ms = history_start_ms + number * DAY_MS
    popularity = _popularity_on(shop, number)
    # A few shoppers come often, most once or twice.
    client = (shop.clients * rng.random(sessions) ** 1.4).astype(np.int64)
    views, active = _walk(shop, popularity, number, client, rng)
    starts_ms = day_start_ms + _time_of_day_ms(rng, sessions)
    visits = Visits(client, starts_ms, views, active)
    return events_of(visits, number, day_start_ms, len(popularity), rng)


def _popularity_on(shop: Shop, number: int) -> FloatArray:
    """Return the popularity on a day: it drifts with the season, and launches are promoted from their first day."""
    catalogue = shop.catalogue
    season = 1.0 + 0.5 * np.sin(shop.leaf_phase + 2 * np.pi * number / 21)
    drift = np.random.default_rng([shop.seed, 4]).normal(0, 0.05, len(catalogue.popularity))
    weights = catalogue.popularity * season[catalogue.cell_of // len(LINES)] * np.exp(drift * number)
    weights[catalogue.launched_late] = 6 * weights.mean() if number >= shop.days - 3 else 0.0
    popularity: FloatArray = weights / weights.sum()
    return popularity


def _walk(
    shop: Shop, popularity: FloatArray, day: int, client: IntArray, rng: np.random.Generator
) -> tuple[IntArray, BoolArray]:
    """Return the item of each step and which steps happen, both (sessions, steps)."""
    catalogue, sessions = shop.catalogue, len(client)
    starts, sizes = catalogue.cell_starts, np.diff(catalogue.cell_starts)
    cumulative = np.cumsum(popularity)

    def popular(count: int) -> IntArray:
        found = np.searchsorted(cumulative, rng.random(count) * cumulative[-1])
        return np.asarray(np.minimum(found, len(cumulative) - 1), dtype=np.int64)

    def popular_in(cells: IntArray) -> IntArray:
        low = np.where(starts[cells] > 0, cumulative[starts[cells] - 1], 0.0)
        high = cumulative[starts[cells + 1] - 1]
        found = np.searchsorted(cumulative, low + rng.random(len(cells)) * (high - low))
        return np.clip(found, starts[cells], starts[cells + 1] - 1)

    lines = len(LINES)
    item = popular(sessions)
    follows_taste = rng.random(sessions) < 0.7
    favourite = (
        shop.client_leaf[client, (rng.random(sessions) < 0.35).astype(int)] * lines + shop.client_line[client]
    )
    item = np.where(follows_taste, popular_in(favourite), item)
    direction = np.where(rng.random(sessions) < 0.6, 1, -1)
    lengths = np.minimum(1 + rng.geometric(0.28, sessions) - (rng.random(sessions) < 0.35), LONGEST_SESSION)
    steps = int(lengths.max())
    views = np.empty((sessions, steps), dtype=np.int64)
    place = item.copy()  # the place of the shopper's own search; a promotion does not move it
    views[:, 0] = item
    launched = np.ones(len(popularity), dtype=bool)
    launched[catalogue.launched_late] = day >= shop.days - 3
    for step in range(1, steps):
        choice = rng.random(sessions)
        cell, position = catalogue.cell_of[place], place - starts[catalogue.cell_of[place]]
        stride = rng.choice(STRIDES, sessions, p=STRIDE_SHARES) * direction
        walked = starts[cell] + (position + stride) % sizes[cell]
        line = rng.integers(0, lines, sessions)
        other_cell = cell - cell % lines + line
        other = starts[other_cell] + np.minimum(position, sizes[other_cell] - 1)
        with_cell = shop.goes_with[cell // lines, rng.integers(0, 2, sessions)] * lines + cell % lines
        moved = np.select(
            [choice < WALK, choice < WALK + OTHER_LINE, choice < WALK + OTHER_LINE + RETURN],
            [walked, other, views[:, max(step - 2, 0)]],
            popular_in(with_cell),
        )
        moved = np.where(launched[moved], moved, place)
        promoted = choice >= 1 - PROMOTION
        views[:, step] = np.where(promoted, popular(sessions), moved)
        place = np.where(promoted, place, moved)
    return views, np.arange(steps)[None, :] < lengths[:, None]


def _time_of_day_ms(rng: np.random.Generator, count: int) -> IntArray:
    """Draw start times: most sessions start in the evening, few at night."""
    hours = np.arange(24)
    weights = 0.25 + np.exp(-(((hours - 20) / 3.5) ** 2)) + 0.6 * np.exp(-(((hours - 12) / 3.0) ** 2))
    hour = rng.choice(hours, count, p=weights / weights.sum())
    return np.asarray(hour * 3_600_000 + rng.integers(0, 3_600_000, count), dtype=np.int64)
