"""A check of the snapshot itself: invented sessions that push one item behind a best seller."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training_jobs.gate.check import Check
from training_jobs.gate.rules import judge
from training_jobs.gate.thresholds import Thresholds
from training_jobs.serving.sessions import DAY_MS, Int32, Int64, Sessions


def surge_check(sessions: Sessions, limits: Thresholds) -> Check:
    """Check that no known item suddenly follows a best seller, unless its other clicks rise as suddenly.

    The value is the largest surge: the rate at which an item followed a best seller on the newest day, over the rate
    before. It is divided by the same ratio of the item's other clicks. Session-kNN weighs the newest sessions most, so a few
    invented sessions could determine its answer after a best seller.
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
            for before, after in (old_behind, new_behind)
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


def _behind(sessions: Sessions, sellers: Int64, items: int) -> tuple[Int32, Int32]:
    """Return each click on one of `sellers` that is followed by another in its session, and the click after it."""
    sought = np.zeros(items, bool)
    sought[sellers] = True
    parts = [(np.zeros(0, np.int32), np.zeros(0, np.int32))]
    for first, last in sessions.blocks():
        block = sessions.between(first, last)
        followed = sought[block.items]
        followed[block.offsets[1:] - 1] = False
        at = np.flatnonzero(followed)
        parts.append((block.items[at], block.items[at + 1]))
    before, after = (np.concatenate(column) for column in zip(*parts, strict=True))
    return before, after


def _ratio(new: Int64, all_new: int, old: Int64, all_old: int) -> NDArray[np.float64]:
    """Return the rate on the newest day over the rate before. One click is added, so that an unknown pair has a finite rate."""
    return np.asarray(((new + 1) / (all_new + 1)) / ((old + 1) / (all_old + 1)), np.float64)
