"""Checks of the snapshot itself: invented sessions that push one item behind a best seller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training_jobs.gate.check import Check, skipped
from training_jobs.gate.rules import judge
from training_jobs.gate.thresholds import Thresholds
from training_jobs.serving.sessions import DAY_MS, Int64, Sessions

NETWORK_CHECK = "share of three networks in an item after a best seller"
_FEW = 3


def surge_check(sessions: Sessions, limits: Thresholds) -> Check:
    """Check that no known item suddenly follows a best seller, unless its other clicks rise as suddenly.

    The value is the largest surge: the rate at which an item followed a best seller on the newest day, over the rate
    before. It is divided by the same ratio of the item's other clicks.
    """
    surge, pairs = largest_surge(sessions, limits.surge_best_sellers, limits.surge_minimum_clicks)
    return judge(limits, "surge of one item after a best seller", surge, n=pairs)


def largest_surge(sessions: Sessions, best_sellers: int, minimum_clicks: int) -> tuple[float, int]:
    """Return the largest surge, and the number of compared pairs with `minimum_clicks` clicks on the newest day."""
    items = int(sessions.items.max(initial=0)) + 1
    day_begin = sessions.ended_before(int(sessions.times_ms.max(initial=0)) - DAY_MS + 1)
    days = (sessions.between(0, day_begin), sessions.between(day_begin, len(sessions)))
    clicks = np.stack([day.clicks(items) for day in days])
    sellers = np.argsort(-clicks.sum(axis=0), kind="stable")[:best_sellers]
    old_behind, new_behind = (_behind(day, sellers, items) for day in days)
    largest, pairs = 1.0, 0
    for seller in sellers:
        old, new = (
            np.bincount(after[before == seller], minlength=items)
            for before, after, _ in (old_behind, new_behind)
        )
        candidates = np.flatnonzero((new >= minimum_clicks) & (clicks[0] > 0))
        candidates = candidates[candidates != seller]
        if len(candidates) == 0:
            continue
        here = _ratio(new[candidates], new.sum(), old[candidates], old.sum())
        elsewhere = _ratio(
            clicks[1][candidates] - new[candidates],
            clicks[1].sum() - new.sum(),
            clicks[0][candidates] - old[candidates],
            clicks[0].sum() - old.sum(),
        )
        largest = max(largest, float((here / np.maximum(elsewhere, 1.0)).max()))
        pairs += len(candidates)
    return largest, pairs


def network_check(sessions: Sessions, vocabulary: Sequence[str], limits: Thresholds) -> Check:
    """Check that what follows a best seller does not come from a few networks. It finds senders that a surge does not show.

    Such senders are patient, or they write false times. A snapshot without networks is not judged.
    """
    if sessions.networks is None:
        return skipped(
            NETWORK_CHECK,
            "this snapshot has no networks: export again, then train on the new export",
        )
    share, pairs, worst = largest_network_share(
        sessions,
        best_sellers=limits.surge_best_sellers,
        minimum_sessions=limits.surge_minimum_clicks,
        minimum_share=limits.network_minimum_share,
    )
    row = judge(limits, NETWORK_CHECK, share, n=pairs)
    if row.verdict != "failed":
        return row
    best_seller, item = (vocabulary[at] for at in worst)
    reason = f"{row.reason}: {item!r} after {best_seller!r}. Find the senders as docs/operations.md says"
    return replace(row, reason=reason)


def largest_network_share(
    sessions: Sessions, *, best_sellers: int, minimum_sessions: int, minimum_share: float
) -> tuple[float, int, tuple[int, int]]:
    """Return the largest share of _FEW networks in one item after one best seller, the number of compared pairs, and this pair.

    The share of these networks in all sessions is subtracted: a shop whose back end sends everything has one network. A pair is
    compared if it is in `minimum_sessions` sessions. It must be at least `minimum_share` of what follows the best seller, because
    less hardly reaches an answer.
    """
    assert sessions.networks is not None
    items = int(sessions.items.max(initial=0)) + 1
    usual = np.bincount(sessions.networks) / max(len(sessions), 1)
    sellers = np.argsort(-sessions.clicks(items), kind="stable")[:best_sellers]
    before, after, session = _behind(sessions, sellers, items)
    place = np.zeros(items, np.int64)
    place[sellers] = np.arange(len(sellers))
    every_pair = len(sellers) * items
    # A shopper who compares two items goes back and forth: a session counts once.
    other = before != after
    codes = np.unique(session[other] * every_pair + place[before[other]] * items + after[other])
    codes = codes[np.argsort(codes % every_pair, kind="stable")]
    network = sessions.networks[codes // every_pair]
    pair, begin, count = np.unique(codes % every_pair, return_index=True, return_counts=True)
    follows = np.bincount(pair // items, weights=count, minlength=len(sellers))
    compared = count >= np.maximum(minimum_sessions, minimum_share * follows[pair // items])
    largest, worst = 0.0, 0
    for code, first, size in zip(pair[compared], begin[compared], count[compared], strict=True):
        found, of_network = np.unique(network[first : first + size], return_counts=True)
        of_network[found == 0] = 0  # sessions without a network
        few = np.argsort(-of_network, kind="stable")[:_FEW]
        share = float(of_network[few].sum() / size - usual[found[few]].sum())
        if share > largest:
            largest, worst = share, int(code)
    return largest, int(compared.sum()), (int(sellers[worst // items]), worst % items)


def _behind(sessions: Sessions, sellers: Int64, items: int) -> tuple[Int64, Int64, Int64]:
    """Return each click on one of `sellers` that is followed by another in its session, the click after it, and the session."""
    sought = np.zeros(items, bool)
    sought[sellers] = True
    parts = [(np.zeros(0, np.int64),) * 3]
    for first, last in sessions.blocks():
        block = sessions.between(first, last)
        followed = sought[block.items]
        followed[block.offsets[1:] - 1] = False
        at = np.flatnonzero(followed)
        session = first + np.searchsorted(block.offsets, at, side="right") - 1
        parts.append((block.items[at].astype(np.int64), block.items[at + 1].astype(np.int64), session))
    before, after, session = (np.concatenate(column) for column in zip(*parts, strict=True))
    return before, after, session


def _ratio(new: Int64, all_new: int, old: Int64, all_old: int) -> NDArray[np.float64]:
    """Return the rate on the newest day over the rate before. One click is added, so that an unknown pair has a finite rate."""
    return np.asarray(((new + 1) / (all_new + 1)) / ((old + 1) / (all_old + 1)), np.float64)
