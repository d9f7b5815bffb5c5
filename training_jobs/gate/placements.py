"""Measure each placement on a task of its own on the held-out day, beside a trivial baseline.

What a placement shows is made from the sessions before that day: by the variant of the model, and by tables of these sessions.
A placement without enough cases is not judged, which is no failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from training_jobs.gate import metrics
from training_jobs.gate.check import Check, family_level, share
from training_jobs.gate.measure import HeldOut
from training_jobs.gate.model import Model
from training_jobs.gate.rules import judge
from training_jobs.gate.thresholds import Thresholds
from training_jobs.serving.sessions import DAY_MS, Float64, Int64, Sessions
from training_jobs.snapshot.dataset import before, sampled_rows
from training_jobs.snapshot.placement_tables import (
    PlacementTables,
    bought_items,
    by_category,
    placement_tables,
    sessions_per_item,
)

K = 10
# Each case is one or two answers of the model.
CASES = 400
LIST_ITEMS = 50
HISTORY_ITEMS, HISTORY_SESSIONS = 50, 20
HIT, RECIPROCAL = "hr_at_10", "mrr"


class Case(NamedTuple):
    """The value of the placement and of the baseline in one case, from 0 to 1, and the session of the case."""

    own: float
    baseline: float
    session: int


@dataclass(frozen=True)
class Task:
    """The task of a placement: what is predicted, the baseline, the metric, and the function that makes its cases."""

    predicts: str
    baseline: str
    metric: str
    cases: Callable[[Past], Iterable[Case]]


@dataclass(frozen=True)
class Past:
    """The model and the tables that have not seen the held-out day, and the snapshot that has it."""

    model: Model
    held: HeldOut
    tables: PlacementTables
    popular: list[int]

    @property
    def sessions(self) -> Sessions:
        """Return all sessions of the snapshot, of which those of the held-out day are the cases."""
        return self.held.data.sessions

    def known(self, items: Iterable[str]) -> list[int]:
        """Return the rows of a model's items."""
        rows = self.held.rows
        return [rows[item] for item in items if item in rows]

    def ids(self, rows: Iterable[int]) -> list[str]:
        """Return the ids of rows."""
        return [self.held.data.vocabulary[row] for row in rows]

    def best_sellers(self, excluded: Iterable[int], k: int = K) -> list[int]:
        """Return the most popular items that are not excluded."""
        left = set(excluded)
        return [row for row in self.popular[: k + len(left)] if row not in left][:k]

    def first_sessions(self) -> tuple[int, Int64]:
        """Return the number of sessions before the cut, and the rows of those that began after it, drawn evenly."""
        rows = np.arange(self.held.past, len(self.sessions))
        rows = rows[self.sessions.starts_ms[rows] >= self.held.holdout_start_ms]
        return self.held.past, rows[sampled_rows(len(rows), 0, CASES)]


def _next_clicks(past: Past) -> Iterator[tuple[list[int], int, int]]:
    """Yield the session so far, the next click, and the number of the session."""
    cases = past.held.cases
    for row in sampled_rows(len(cases), 0, CASES).tolist():
        yield cases.prefix(row).tolist(), int(cases.targets[row]), int(cases.session[row])


def _similar(past: Past) -> Iterator[Case]:
    for prefix, target, session in _next_clicks(past):
        current = prefix[-1]
        shown = past.known(past.model.similar(past.ids([current])[0], K).items)
        yield Case(float(target in shown), float(target in past.best_sellers([current])), session)


def _rerank(past: Past) -> Iterator[Case]:
    catalogue, popularity = past.held.data.catalogue, past.held.popularity
    lists: dict[int, list[int]] = {}
    for prefix, target, session in _next_clicks(past):
        category = -1 if catalogue is None else int(catalogue.categories[target])
        if category not in lists:
            rows = (
                np.arange(len(popularity))
                if catalogue is None or category < 0
                else np.flatnonzero(catalogue.categories == category)
            )
            lists[category] = rows[np.argsort(-popularity[rows], kind="stable")][:LIST_ITEMS].tolist()
        if target == prefix[-1]:
            continue
        others = [row for row in lists[category] if row not in (target, prefix[-1])]
        given = sorted([*others, target], key=lambda row: -popularity[row])
        ordered = past.known(past.model.rerank(past.ids(prefix), past.ids(given)).items)
        if len(given) > 1 and target in ordered:
            yield Case(1 / (ordered.index(target) + 1), 1 / (given.index(target) + 1), session)


def _bought_together(past: Past) -> Iterator[Case]:
    first, rows = past.held.past, past.sessions
    order, item = bought_items(rows.between(first, len(rows)), len(past.held.data.vocabulary))
    lines = [
        (int(one), [int(row) for row in item[order == one]])
        for one, count in zip(*np.unique(order, return_counts=True), strict=True)
        if count > 1
    ]
    cases = [(session, basket, left) for session, basket in lines for left in range(len(basket))]
    for at in sampled_rows(len(cases), 0, CASES).tolist():
        session, basket, left = cases[at]
        target, rest = basket[left], basket[:left] + basket[left + 1 :]
        together = past.tables.together.total(rest)[0].tolist()
        related = past.known(past.model.recommend(past.ids(rest[-1:]), 2 * K, past.ids(rest)).items)
        shown = [row for row in dict.fromkeys([*together, *related]) if row not in rest][:K]
        yield Case(float(target in shown), float(target in past.best_sellers(rest)), session)


def _popular(past: Past) -> Iterator[Case]:
    catalogue, sessions = past.held.data.catalogue, past.sessions
    ever = by_category(sessions_per_item(_before(past), len(past.held.data.vocabulary)), catalogue)
    for session in past.first_sessions()[1].tolist():
        target = int(sessions.session(session)[0])
        category = -1 if catalogue is None else int(catalogue.categories[target])
        path = "" if catalogue is None or category < 0 else _cleaned(catalogue.names[category])
        lists = (one.get(path, np.zeros(0, np.int64))[:K] for one in (past.tables.popular, ever))
        own, other = (float(target in rows) for rows in lists)
        yield Case(own, other, session)


def _rising(past: Past) -> Iterator[Case]:
    shown = past.tables.rising[""][:K]
    if not len(shown):
        return
    items = len(past.held.data.vocabulary)
    counts = sessions_per_item(_before(past), items)
    earlier = float(counts[shown].sum() / max(counts.sum(), 1))
    for _, target, session in _next_clicks(past):
        yield Case(float(target in shown), earlier, session)


def _home(past: Past) -> Iterator[Case]:
    for history, target, session in _returning(past):
        shown = past.known(past.model.recommend(past.ids(history), K).items)
        yield Case(float(target in shown), float(target in past.best_sellers(history[-1:])), session)


def _recently_viewed(past: Past) -> Iterator[Case]:
    for history, target, session in _returning(past):
        shown = list(dict.fromkeys(reversed(history)))[:K]
        yield Case(float(target in shown), float(target in past.best_sellers([])), session)


def _returning(past: Past) -> Iterator[tuple[list[int], int, int]]:
    """Yield the views of a client's earlier sessions, the first view of its next session, and the number of the session."""
    sessions = past.sessions
    for session, earlier in _earlier_sessions(past, past.first_sessions()[1]):
        views = [row for one in earlier[-HISTORY_SESSIONS:] for row in sessions.session(one).tolist()]
        yield views[-HISTORY_ITEMS:], int(sessions.session(session)[0]), session


def _buy_again(past: Past) -> Iterator[Case]:
    sessions, items = past.sessions, len(past.held.data.vocabulary)
    order, item = bought_items(sessions, items)
    if sessions.clients is None or not len(order):
        return
    client = sessions.clients[order]
    rate = past.tables.again if len(past.tables.again) else np.zeros(items)
    new = np.flatnonzero(order >= past.held.past)
    rows_of = {int(one): np.flatnonzero(client == one) for one in np.unique(client[new])}
    for line in new[sampled_rows(len(new), 0, 10 * CASES)].tolist():
        target, day = int(item[line]), sessions.ends_ms[order[line]] // DAY_MS
        own = [row for row in rows_of[int(client[line])] if sessions.ends_ms[order[row]] // DAY_MS < day]
        newest_first = list(dict.fromkeys(item[row] for row in reversed(own)))
        if target in newest_first and len(newest_first) > 1:
            ranked = sorted(newest_first, key=lambda row: -rate[row])
            yield Case(1 / (ranked.index(target) + 1), 1 / (newest_first.index(target) + 1), int(order[line]))


def _earlier_sessions(past: Past, rows: Int64) -> Iterator[tuple[int, list[int]]]:
    """Yield sessions of clients who came before, with the rows of their earlier sessions in the order of time."""
    clients = past.sessions.clients
    if clients is None:
        return
    order = np.argsort(clients, kind="stable")
    begin = np.searchsorted(clients[order], clients[rows])
    for at, session in zip(begin.tolist(), rows.tolist(), strict=True):
        earlier: list[int] = []
        while at < len(order) and order[at] < session and clients[order[at]] == clients[session]:
            earlier.append(int(order[at]))
            at += 1
        if earlier:
            yield session, earlier


def _before(past: Past) -> Sessions:
    return before(past.sessions, past.held.holdout_start_ms)


def _cleaned(path: str) -> str:
    return "/".join(level.strip() for level in path.split("/") if level.strip())


TASKS: dict[str, Task] = {
    "similar": Task("the next view, from the viewed item alone", "best sellers", HIT, _similar),
    "rerank": Task(
        f"the clicked one of {LIST_ITEMS} items of its category",
        "the order by popularity",
        RECIPROCAL,
        _rerank,
    ),
    "bought_together": Task(
        "the line that was taken out of an order of two or more", "best sellers", HIT, _bought_together
    ),
    "popular": Task(
        "the first view of a session, in its category", "most sessions of the whole snapshot", HIT, _popular
    ),
    "rising": Task("a view, of the shop's rising items", "their share of earlier views", HIT, _rising),
    "home": Task(
        "the first view of a client's next session, from the earlier ones", "best sellers", HIT, _home
    ),
    "recently_viewed": Task(
        "the first view of a client's next session, among the last views",
        "best sellers",
        HIT,
        _recently_viewed,
    ),
    "buy_again": Task(
        "the product that a client buys again, among those bought",
        "the last bought first",
        RECIPROCAL,
        _buy_again,
    ),
}


def measure_placements(
    model: Model, held: HeldOut, limits: Thresholds
) -> tuple[dict[str, dict[str, Any]], list[Check]]:
    """Return the figures of each placement for evaluation.json, and its checks."""
    items = len(held.data.vocabulary)
    tables = placement_tables(before(held.data.sessions, held.holdout_start_ms), items, held.data.catalogue)
    popular = np.argsort(-held.popularity, kind="stable").tolist()
    past = Past(model, held, tables, popular)
    figures: dict[str, dict[str, Any]] = {}
    checks: list[Check] = []
    for name, task in TASKS.items():
        found = list(task.cases(past))
        own, other = (np.array([case[at] for case in found], np.float64) for at in (0, 1))
        interval = _interval(own - other, found, limits)
        figures[name] = {
            "predicts": task.predicts,
            "metric": task.metric,
            "cases": len(found),
            "value": round(share(own), 5),
            "baseline": task.baseline,
            "baseline_value": round(share(other), 5),
        }
        checks.append(
            judge(
                limits,
                f"placement {name}",
                share(own - other),
                n=len(found),
                against=task.baseline,
                interval=interval,
            )
        )
    return figures, checks


def _interval(gain: Float64, found: list[Case], limits: Thresholds) -> tuple[float, float]:
    if not found:
        return (0.0, 0.0)
    resampler = metrics.Resampler(np.array([case.session for case in found], np.int64), draws=0)
    return resampler.family_interval(gain, family_level(limits))
