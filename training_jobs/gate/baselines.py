"""The methods a shop could run without a model: popularity, session popularity, item-to-item; session-kNN is serving/knn.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from training_jobs.serving.knn import KnnScorer
from training_jobs.serving.sessions import DAY_MS, Float32, Float64, Int32, Int64, Sessions, slices

# A million clicks of long sessions have 40 million pairs, and counting them takes 1 GB.
_PAIRS_EVENTS = 5_000_000
Scorer = Callable[[Sequence[Int32]], Float32]
"""Scores of all items for each prefix, one row a prefix."""


def popularity(sessions: Sessions, items: int, half_life_days: float = 0.0) -> Float64:
    """Return each item's share of the interactions. With a half-life, recent interactions count for more."""
    counts = np.zeros(items)
    newest_ms = sessions.times_ms.max(initial=0)
    for part in slices(len(sessions.items)):
        age_days = (newest_ms - sessions.times_ms[part]) / DAY_MS
        weights = 0.5 ** (age_days / half_life_days) if half_life_days > 0 else np.ones(len(age_days))
        np.add.at(counts, sessions.items[part], weights)
    total = counts.sum()
    return counts / total if total > 0 else counts


def popularity_scorer(share: Float64) -> Scorer:
    """Return a scorer that ranks every session by popularity."""
    row = share.astype(np.float32)
    return lambda prefixes: np.broadcast_to(row, (len(prefixes), len(row)))


def session_popularity_scorer(share: Float64) -> Scorer:
    """Return a scorer that ranks the session's own items by clicks, then by popularity, then all other items by popularity."""

    def score(prefixes: Sequence[Int32]) -> Float32:
        scores = np.tile(share.astype(np.float32), (len(prefixes), 1))
        for row, prefix in enumerate(prefixes):
            found, counts = np.unique(prefix, return_counts=True)
            scores[row, found] += counts
        return scores

    return score


def item_to_item_scorer(
    sessions: Sessions, share: Float64, window: int = 20, regularisation: float = 20.0
) -> Scorer:
    """Return a scorer by co-occurrence with the current item: the cosine, damped for rare items."""
    items = len(share)
    pairs, counts = _co_occurrences(sessions, items, window)
    left, right = pairs // items, pairs % items
    frequency = np.bincount(sessions.items, minlength=items).astype(np.float64) + regularisation
    cosine = counts / np.sqrt(frequency[left] * frequency[right])
    offsets = np.searchsorted(left, np.arange(items + 1))
    floor = (share * 1e-6).astype(np.float32)

    def score(prefixes: Sequence[Int32]) -> Float32:
        scores = np.tile(floor, (len(prefixes), 1))
        for row, prefix in enumerate(prefixes):
            found = slice(offsets[prefix[-1]], offsets[prefix[-1] + 1])
            scores[row, right[found]] += cosine[found].astype(np.float32)
        return scores

    return score


def _co_occurrences(sessions: Sessions, items: int, window: int) -> tuple[Int64, Int64]:
    """Return codes (left * items + right) of item pairs at most `window` clicks apart in a session, and their counts.

    Of more than _PAIRS_EVENTS clicks, the newest sessions with that many are counted, so that memory has a bound.
    """
    oldest = max(0, len(sessions.items) - _PAIRS_EVENTS)
    sessions = sessions.between(int(np.searchsorted(sessions.offsets, oldest)), len(sessions))
    owner = np.repeat(np.arange(len(sessions), dtype=np.int64), sessions.lengths)
    flat = sessions.items.astype(np.int64)
    found: list[Int64] = []
    for shift in range(1, window + 1):
        same = (owner[shift:] == owner[:-shift]) & (flat[shift:] != flat[:-shift])
        if not same.any():
            continue
        a, b = flat[:-shift][same], flat[shift:][same]
        found += [a * items + b, b * items + a]
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    codes, counts = np.unique(np.concatenate(found), return_counts=True)
    return codes, counts.astype(np.int64)


def knn_scorer(knn: KnnScorer, share: Float64) -> Scorer:
    """Return a scorer that ranks by the votes of session-kNN, and by popularity where there are none."""
    floor = (share * 1e-6).astype(np.float32)

    def score(prefixes: Sequence[Int32]) -> Float32:
        scores = np.tile(floor, (len(prefixes), 1))
        for row, prefix in enumerate(prefixes):
            found, votes = knn.score(prefix)
            scores[row, found] += votes.astype(np.float32)
        return scores

    return score
