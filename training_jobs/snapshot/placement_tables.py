"""The tables of placements, made from the sessions of a snapshot: popular and rising items, orders, repeated purchases.

/recommend reads them from S3 (functions/recommend/tables.py). docs/decisions/0071-placements.md has the measures' reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.contract import EVENT_STRENGTHS
from training_jobs.serving.sessions import DAY_MS, Float64, Int64, Sessions, slices
from training_jobs.snapshot.dataset import Catalogue

HALF_LIFE_DAYS = 3.0
# The share of an item in the last days is compared with that of the days before.
RISING_DAYS, EARLIER_DAYS = 2.0, 14.0
# Sessions in which an item must be viewed lately, and networks that they must come from, so that one sender lifts nothing.
RISING_SESSIONS, RISING_NETWORKS = 5, 3
# A chance of one in a thousand that there is no association (chi-square with one degree of freedom).
SIGNIFICANT = 10.83
# Different clients whose orders contain a pair: one client can repeat any order.
PAIR_CLIENTS = 2
# Items of one order whose pairs are counted.
ORDER_ITEMS = 30
# Buyers that the rate of a category weighs as much as, and so for the shop's rate in a category's.
PRIOR_BUYERS = 20.0
LIST_ITEMS = 100
PAIRS_PER_ITEM = 20
# Items with a list of their own, those of the most orders first.
ITEMS = 20_000
_PURCHASE = EVENT_STRENGTHS["purchase"]


@dataclass(frozen=True)
class Pairs:
    """Items of one order: `right[offsets[i]:offsets[i + 1]]` were bought with item i, the strongest association first."""

    right: Int64
    strength: Float64
    offsets: Int64

    def of(self, row: int) -> tuple[Int64, Float64]:
        """Return the items that were bought with an item, and their strengths."""
        found = slice(self.offsets[row], self.offsets[row + 1])
        return self.right[found], self.strength[found]

    def total(self, rows: Iterable[int]) -> tuple[Int64, Float64]:
        """Return the items that were bought with some items, and their summed strengths, the greatest first."""
        found = [self.of(row) for row in rows]
        if not found:
            return np.zeros(0, np.int64), np.zeros(0)
        right, place = np.unique(np.concatenate([one[0] for one in found]), return_inverse=True)
        total: Float64 = np.bincount(place, np.concatenate([one[1] for one in found]), len(right)).astype(
            np.float64
        )
        order: Int64 = np.argsort(-total, kind="stable").astype(np.int64)
        return right[order], total[order]


@dataclass(frozen=True)
class PlacementTables:
    """The tables by rows of the vocabulary. Lists are by category path; the path of the shop is empty.

    `orders` is the number of orders per item. `again` is the share of an item's buyers who bought it on several days;
    `again_in_shop` is that of all items.
    """

    popular: dict[str, Int64]
    rising: dict[str, Int64]
    together: Pairs
    orders: Int64
    again: Float64 = field(default_factory=lambda: np.zeros(0))
    again_in_shop: float = 0.0

    def as_json(self, vocabulary: Sequence[str], out_of_stock: Collection[str] = ()) -> dict[str, Any]:
        """Return the tables with ids, without the items that are out of stock."""
        gone = set(out_of_stock)

        def ids(rows: Int64) -> list[str]:
            return [item for item in (vocabulary[row] for row in rows.tolist()) if item not in gone]

        most = np.argsort(-self.orders, kind="stable")[:ITEMS]
        bought = [row for row in most.tolist() if self.orders[row]]
        together = {
            vocabulary[row]: [
                [vocabulary[other], round(strength, 2)]
                for other, strength in zip(*(of.tolist() for of in self.together.of(row)), strict=True)
                if vocabulary[other] not in gone
            ]
            for row in bought
        }
        return {
            "popular": {path: ids(rows) for path, rows in self.popular.items()},
            "rising": {path: ids(rows) for path, rows in self.rising.items()},
            "bought_together": {item: others for item, others in together.items() if others},
            "again": {
                "": round(self.again_in_shop, 5),
                **{vocabulary[row]: round(float(self.again[row]), 5) for row in bought if len(self.again)},
            },
        }


def placement_tables(sessions: Sessions, items: int, catalogue: Catalogue | None) -> PlacementTables:
    """Return the tables of a snapshot's sessions. What the snapshot has no column for is empty."""
    newest_ms = int(sessions.ends_ms.max(initial=0))
    views = sessions_per_item(
        sessions, items, lambda one: 0.5 ** ((newest_ms - one.ends_ms) / DAY_MS / HALF_LIFE_DAYS)
    )
    together, orders = pairs_of_orders(sessions, items)
    again, in_shop = repurchase_rates(sessions, items, catalogue)
    return PlacementTables(
        by_category(views, catalogue),
        by_category(rising(sessions, items), catalogue),
        together,
        orders,
        again,
        in_shop,
    )


def sessions_per_item(
    sessions: Sessions, items: int, weight: Callable[[Sessions], Float64] | None = None
) -> Float64:
    """Return the number of sessions with each item, each session weighted. A session counts once per item."""
    counts = np.zeros(items)
    for first, last in sessions.blocks():
        part = sessions.between(first, last)
        owner = np.repeat(np.arange(len(part), dtype=np.int64), part.lengths)
        found = np.unique(owner * items + part.items)
        weights = weight(part)[found // items] if weight else None
        counts += np.bincount(found % items, weights, minlength=items)
    return counts


def by_category(score: Float64, catalogue: Catalogue | None) -> dict[str, Int64]:
    """Return the items with a positive score, the best first, of the shop and of each category and those below it."""
    lists: dict[str, list[int]] = {"": []}
    paths = [[""]] if catalogue is None else [_upwards(name) for name in catalogue.names]
    best = np.argsort(-score, kind="stable")
    for row in best[score[best] > 0].tolist():
        category = -1 if catalogue is None else int(catalogue.categories[row])
        for path in paths[category] if category >= 0 else [""]:
            found = lists.setdefault(path, [])
            if len(found) < LIST_ITEMS:
                found.append(row)
    return {path: np.array(rows, np.int64) for path, rows in lists.items()}


def _upwards(path: str) -> list[str]:
    """Return a path and those above it. The last one, of the shop, is empty."""
    levels = [level.strip() for level in path.split("/") if level.strip()]
    return ["/".join(levels[:depth]) for depth in range(len(levels), -1, -1)]


def rising(sessions: Sessions, items: int) -> Float64:
    """Return how surely the share of each item's sessions has grown, and 0 where it has not.

    The value is the root of the log-likelihood ratio of the two shares. So a few more views of a rare item are no trend,
    and neither is a popular item that stays popular.
    """
    newest_ms = int(sessions.ends_ms.max(initial=0))
    cut_ms = newest_ms - int(RISING_DAYS * DAY_MS)
    ends = sessions.ends_ms
    begin, cut = np.searchsorted(ends, [cut_ms - int(EARLIER_DAYS * DAY_MS), cut_ms])
    recent, earlier = sessions.between(int(cut), len(sessions)), sessions.between(int(begin), int(cut))
    # A snapshot of few days has nothing to compare with.
    if not len(earlier) or earlier.starts_ms.min() > cut_ms - int(RISING_DAYS * DAY_MS):
        return np.zeros(items)
    now, then = sessions_per_item(recent, items), sessions_per_item(earlier, items)
    grown = now * len(earlier) > then * len(recent)
    ratio = log_likelihood_ratio(now, then, len(recent) - now, len(earlier) - then)
    kept = grown & (ratio >= SIGNIFICANT) & (now >= RISING_SESSIONS)
    if recent.networks is not None:
        kept &= _networks_per_item(recent, items) >= RISING_NETWORKS
    return np.where(kept, np.sqrt(ratio), 0.0)


def _networks_per_item(sessions: Sessions, items: int) -> Int64:
    """Return the number of networks that each item's sessions come from. Sessions without a network are one each."""
    assert sessions.networks is not None
    known = sessions.networks.astype(np.int64)
    sender = np.where(known > 0, known, known.max(initial=0) + 1 + np.arange(len(known)))
    found = np.unique(np.repeat(sender, sessions.lengths) * items + sessions.items)
    return np.bincount(found % items, minlength=items)


def pairs_of_orders(sessions: Sessions, items: int) -> tuple[Pairs, Int64]:
    """Return the items that orders contain together, and the number of orders per item.

    The strength of a pair is the root of its log-likelihood ratio (Dunning 1993). So two best sellers are not paired because
    both are in many orders, and two rare items are not paired because of one order.
    """
    order, item = bought_items(sessions, items)
    orders = np.bincount(item, minlength=items)
    left, right, count = _pairs(order, item, items, sessions)
    n = len(np.unique(order))
    expected = orders[left] * orders[right] / max(n, 1)
    ratio = log_likelihood_ratio(
        count, orders[left] - count, orders[right] - count, n - orders[left] - orders[right] + count
    )
    kept = (count > expected) & (ratio >= SIGNIFICANT)
    left, right, strength = left[kept], right[kept], np.sqrt(ratio[kept])
    best = np.lexsort((right, -strength, left))
    left, right, strength = left[best], right[best], strength[best]
    offsets = np.searchsorted(left, np.arange(items + 1))
    near = np.arange(len(left)) - offsets[left] < PAIRS_PER_ITEM
    left, right, strength = left[near], right[near], strength[near]
    return Pairs(right, strength, np.searchsorted(left, np.arange(items + 1))), orders


def bought_items(sessions: Sessions, items: int) -> tuple[Int64, Int64]:
    """Return the session and the item of each line of an order, once each, sorted by session."""
    if sessions.kinds is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    kinds = sessions.kinds
    found_in = [np.flatnonzero(kinds[part] == _PURCHASE) + part.start for part in slices(len(kinds))]
    rows = np.concatenate([np.zeros(0, np.int64), *found_in])
    owner = np.searchsorted(sessions.offsets, rows, side="right") - 1
    found = np.unique(owner.astype(np.int64) * items + sessions.items[rows])
    return found // items, found % items


def _pairs(order: Int64, item: Int64, items: int, sessions: Sessions) -> tuple[Int64, Int64, Int64]:
    """Return pairs of items, both ways, and their number of orders. Pairs of too few clients are left out."""
    starts = np.flatnonzero(np.r_[True, order[1:] != order[:-1]]) if len(order) else np.zeros(0, np.int64)
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    order, item = order[place < ORDER_ITEMS], item[place < ORDER_ITEMS]
    codes, senders = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    client = np.arange(len(sessions)) if sessions.clients is None else sessions.clients.astype(np.int64)
    for shift in range(1, ORDER_ITEMS):
        same = order[shift:] == order[:-shift]
        if not same.any():
            break
        a, b, of = item[:-shift][same], item[shift:][same], client[order[shift:][same]]
        codes += [a * items + b, b * items + a]
        senders += [of, of]
    code, sender = np.concatenate(codes), np.concatenate(senders)
    pair, count = np.unique(code, return_counts=True)
    ordered = np.lexsort((sender, code))
    code, sender = code[ordered], sender[ordered]
    new = np.r_[True, (code[1:] != code[:-1]) | (sender[1:] != sender[:-1])][: len(code)]
    clients = np.bincount(np.searchsorted(pair, code[new]), minlength=len(pair))
    kept = clients >= PAIR_CLIENTS
    return pair[kept] // items, pair[kept] % items, count[kept]


def repurchase_rates(sessions: Sessions, items: int, catalogue: Catalogue | None) -> tuple[Float64, float]:
    """Return the share of each item's buyers who bought it on several days, and that of all items together.

    Few buyers say little, so an item's share is drawn to that of its category, and the category's to the shop's.
    """
    if sessions.kinds is None or sessions.clients is None:
        return np.zeros(0), 0.0
    order, item = bought_items(sessions, items)
    client, day = sessions.clients[order].astype(np.int64), sessions.ends_ms[order] // DAY_MS
    lines = np.unique(np.stack([item, client, day]), axis=1) if len(order) else np.zeros((3, 0), np.int64)
    buyer, days = np.unique(lines[0] * (int(client.max(initial=0)) + 1) + lines[1], return_counts=True)
    of_item = buyer // (int(client.max(initial=0)) + 1)
    buyers = np.bincount(of_item, minlength=items).astype(np.float64)
    repeated = np.bincount(of_item[days > 1], minlength=items).astype(np.float64)
    in_shop = float(repeated.sum() / buyers.sum()) if len(buyer) else 0.0
    prior = np.full(items, in_shop)
    if catalogue is not None and catalogue.names:
        known = catalogue.categories >= 0
        code = catalogue.categories[known]
        of, again = (
            np.bincount(code, one[known], len(catalogue.names)).astype(np.float64)
            for one in (buyers, repeated)
        )
        prior[known] = _drawn(again, of, np.full(len(of), in_shop))[code]
    return _drawn(repeated, buyers, prior), in_shop


def _drawn(repeated: Float64, buyers: Float64, prior: Float64) -> Float64:
    found: Float64 = (repeated + PRIOR_BUYERS * prior) / (buyers + PRIOR_BUYERS)
    return found


def log_likelihood_ratio(
    both: NDArray[Any], first: NDArray[Any], second: NDArray[Any], neither: NDArray[Any]
) -> Float64:
    """Return twice the log of the likelihood ratio of a table of two by two counts against independence."""
    rows, columns = (both + first, second + neither), (both + second, first + neither)
    cells = sum(map(_x_log_x, (both, first, second, neither)))
    margins = sum(map(_x_log_x, (*rows, *columns)))
    found = 2.0 * (cells - margins + _x_log_x(rows[0] + rows[1]))
    return np.maximum(np.asarray(found, np.float64), 0.0)


def _x_log_x(count: NDArray[Any]) -> Float64:
    values = np.asarray(count, np.float64)
    return values * np.log(np.maximum(values, 1.0))
