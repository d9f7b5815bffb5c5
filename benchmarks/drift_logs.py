"""Click logs of many days for the drift bench: generated shops whose drift is known, and public logs with their own times.

The generated shops are those of `demo`. The drift is planted from outside: each day is made with a changed catalogue or with
other habits. So the bytes of the default generator stay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.next_item_layouts import load
from benchmarks.runs import without_runs
from demo.catalogue import Catalogue, make_catalogue
from demo.day import VIEW_ITEM
from demo.walks import Shop, _popularity_on, make_day, make_shop
from training_jobs.serving.sessions import DAY_MS, Int64, Sessions
from training_jobs.snapshot.dataset import ItemContent, before, content_tokens, no_content, pack, within

_BEGIN_MS = 1_767_225_600_000  # 2026-01-01
_EVENTS_PER_VIEW = 1.55  # of the generated mixture
# In its last three days the generator launches items of its own. So the shop lasts longer than the log.
_SPARE_DAYS = 3


@dataclass(frozen=True)
class Drift:
    """The drift of a generated shop. Days are counted from the first day of the log.

    `season` keeps the generator's own drift of popularity: a season of 21 days per category, and a trend per item. The trend's
    standard deviation is 5 % per day. `launches_per_week` is a share of the catalogue; a launched item is six times as popular
    during its first week. In the days of `sale`, the items of a tenth of the cells are 15 times as popular. From the day
    `habits` on, other categories go together.
    """

    season: bool = False
    launches_per_week: float = 0.0
    sale: tuple[int, int] = (0, 0)
    habits: int | None = None


STEADY = Drift()
MOVING = Drift(season=True, launches_per_week=0.03, sale=(30, 33), habits=38)
SHOPS = {"steady": STEADY, "moving": MOVING}


@dataclass(frozen=True)
class Log:
    """A click log. `listed_on` is the day on which the catalogue first contains an item, per row of the vocabulary.

    Without a catalogue it is None: an item is listed from its first click.
    """

    name: str
    sessions: Sessions
    content: ItemContent
    listed_on: Int64 | None
    begin_ms: int
    days: int

    @property
    def items(self) -> int:
        """Return the number of items of the whole log."""
        return len(self.content.offsets) - 1

    def past(self, night: int, window_days: int) -> Sessions:
        """Return the sessions that ended before day `night`, at most `window_days` old."""
        until_ms = self.begin_ms + night * DAY_MS
        past = before(self.sessions, until_ms)
        return past.between(past.ended_before(until_ms - window_days * DAY_MS), len(past))

    def day(self, night: int) -> Sessions:
        """Return the sessions of day `night`, the first one after that night."""
        return within(self.sessions, self.begin_ms + night * DAY_MS, self.begin_ms + (night + 1) * DAY_MS)

    def known(self, night: int, past: Sessions) -> NDArray[np.bool_]:
        """Return the items that a model of this night contains: clicked in `past`, or listed in the catalogue."""
        clicked = past.clicks(self.items) > 0
        return clicked if self.listed_on is None else clicked | (self.listed_on < night)


def public_log(directory: Path) -> Log:
    """Read the training file of a public log with times (next_item_layouts.py), without content."""
    bench = load(directory)
    sessions = without_runs(bench.train)
    begin_ms = int(sessions.starts_ms.min()) // DAY_MS * DAY_MS
    days = (int(sessions.ends_ms.max()) - begin_ms) // DAY_MS + 1
    return Log(bench.name, sessions, no_content(bench.items), None, begin_ms, days)


def shop_log(name: str, drift: Drift, days: int, views_per_day: int, items: int, seed: int) -> Log:
    """Generate a shop's log. The same seed gives the same sessions for every drift, but for the drift's own effect."""
    catalogue = make_catalogue(items, seed)
    none = np.zeros(0, np.int64)
    catalogue = replace(catalogue, launched_late=none)
    length = days + _SPARE_DAYS
    shop = make_shop(catalogue, int(views_per_day * length * _EVENTS_PER_VIEW), length, seed)
    rng = np.random.default_rng([seed, 99])
    listed_on = _launch_days(drift, len(catalogue.popularity), days, rng)
    on_sale = np.isin(
        catalogue.cell_of, rng.permutation(len(catalogue.cell_starts) - 1)[: len(catalogue.cell_starts) // 10]
    )
    leaves = catalogue.leaves
    habits = (np.arange(leaves)[:, None] + rng.integers(1, leaves, (leaves, 2))) % leaves
    columns: list[NDArray[np.int64]] = []
    for number in range(days):
        weights = catalogue.popularity * np.where(listed_on <= number, 1.0, 0.0)
        weights = weights * np.where((listed_on > 0) & (number - listed_on < 7), 6.0, 1.0)
        if drift.sale[0] <= number < drift.sale[1]:
            weights = weights * np.where(on_sale, 15.0, 1.0)
        of_day = replace(
            shop,
            catalogue=_with_popularity(shop, weights, listed_on, number, drift.season),
            goes_with=habits if drift.habits is not None and number >= drift.habits else shop.goes_with,
        )
        day = make_day(of_day, _BEGIN_MS, number)
        views = np.flatnonzero((day.kind == VIEW_ITEM) & (day.bot == 0))
        _, first = np.unique(day.number[views], return_index=True)
        views = views[first]
        columns.append(np.stack([day.session[views], day.item[views], day.time_ms[views], day.number[views]]))
    session, item, time_ms, number_of = np.concatenate(columns, axis=1)
    sessions = without_runs(pack(session, item, time_ms, number_of))
    return Log(name, sessions, _content(catalogue), listed_on, _BEGIN_MS, days)


def _launch_days(drift: Drift, items: int, days: int, rng: np.random.Generator) -> Int64:
    """Return the day on which each item is launched, 0 for those that are there from the start."""
    listed_on = np.zeros(items, np.int64)
    weeks = days // 7
    late = rng.permutation(items)[: int(drift.launches_per_week * weeks * items)]
    listed_on[late] = rng.integers(1, days, len(late))
    return listed_on


def _with_popularity(
    shop: Shop, weights: NDArray[np.float64], listed_on: Int64, number: int, season: bool
) -> Catalogue:
    """Return the catalogue of a day. Without `season`, the generator's own drift is divided out."""
    if not season:
        even = replace(shop, catalogue=replace(shop.catalogue, popularity=np.ones(len(weights))))
        weights = weights / _popularity_on(even, number)
    # The walk does not enter what the generator holds as launched late.
    return replace(
        shop.catalogue, popularity=weights / weights.sum(), launched_late=np.flatnonzero(listed_on > number)
    )


def _content(catalogue: Catalogue) -> ItemContent:
    rows = range(len(catalogue.names))
    return content_tokens(
        rows, catalogue.names, catalogue.categories, catalogue.brands, np.array(catalogue.prices), len(rows)
    )
