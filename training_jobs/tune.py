"""Choose kNN and blend settings on the validation tail: nothing is trained again, so the search takes seconds."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np

from training_jobs import metrics
from training_jobs.data import Cases, Float32, Float64, Int64
from training_jobs.encoder import EncoderWeights, probabilities
from training_jobs.knn import KnnIndex, KnnScorer, KnnSettings
from training_jobs.recommend import LENGTH_BUCKETS, BlendSettings

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
_GRID: dict[str, tuple[float, ...]] = {
    "near_decay": (2.0, 0.0, 1.0, 4.0),
    "backward_weight": (1.0, 0.7, 0.4),
    "last_items": (9, 3, 5, 20),
    "position_decay": (0.1, 0.0, 0.3),
    "query_decay": (0.0, 1.0, 2.0, 4.0),
    "age_decay_days": (0.0, 5.0, 20.0),
    "neighbours": (200, 100, 500),
    "recent_sessions": (1000, 500, 5000),
    "idf_power": (1.0, 0.0, 0.5),
}
CASES = 5000  # tell settings apart well enough; more only take longer


def objective(rank: Int64) -> float:
    """Hits and how high they stand, weighed alike at the usual ratio of about two to one."""
    return metrics.mrr(rank, 20) + 0.5 * metrics.hit_rate(rank, 20)


def sample(cases: Cases, seed: int, limit: int = CASES) -> Cases:
    """At most `limit` cases, drawn evenly."""
    if len(cases) <= limit:
        return cases
    rows = np.random.default_rng(seed).choice(len(cases), limit, replace=False)
    return cases.take(np.sort(rows))


def tune_knn(
    index: KnnIndex,
    cases: Cases,
    floor: Float64,
    *,
    grid: dict[str, tuple[float, ...]] = _GRID,
    exclude_current: bool = True,
    deadline_s: float = 30.0,
) -> tuple[KnnSettings, Int64]:
    """One setting at a time, each kept where it helps, until the time is spent. Returns the ranks reached, too."""
    best, best_rank = KnnSettings(), knn_ranks(index, KnnSettings(), cases, floor, exclude_current)
    until = time.monotonic() + deadline_s
    for name, value in itertools.chain.from_iterable(((n, v) for v in values) for n, values in grid.items()):
        if time.monotonic() > until:
            break
        if getattr(best, name) == value:
            continue
        kind = type(getattr(best, name))
        tried = replace(best, **{name: kind(value)})
        rank = knn_ranks(index, tried, cases, floor, exclude_current)
        if objective(rank) > objective(best_rank) + 1e-4:
            best, best_rank = tried, rank
    return best, best_rank


def knn_ranks(
    index: KnnIndex, settings: KnnSettings, cases: Cases, floor: Float64, exclude_current: bool
) -> Int64:
    """Rank of each target by votes alone; below all votes items stand by popularity."""
    scorer = KnnScorer(index, settings)
    order = np.argsort(np.argsort(-floor, kind="stable"))
    out = np.empty(len(cases), np.int64)
    for row in range(len(cases)):
        prefix, target = cases.prefix(row), int(cases.targets[row])
        found, votes = scorer.score(prefix) if len(prefix) else (np.zeros(0, np.int64), np.zeros(0))
        if exclude_current and len(prefix):
            other = found != prefix[-1]
            found, votes = found[other], votes[other]
        own = votes[found == target]
        if len(own) and own[0] > 0:
            out[row] = int((votes >= own[0]).sum())
        else:
            out[row] = len(found) + 1 + (int(order[target]) if target >= 0 else index.items)
    return out


def tune_blend(
    weights: EncoderWeights, index: KnnIndex, knn: KnnSettings, cases: Cases, *, exclude_current: bool = True
) -> tuple[BlendSettings, Int64]:
    """The best share of kNN for each bucket of session lengths, shrunk towards the best single share."""
    if len(cases) == 0:
        return BlendSettings(knn=knn), np.zeros(0, np.int64)
    scorer = KnnScorer(index, knn)
    best: tuple[float, BlendSettings, Int64] | None = None
    for sharpness in (1.0, 1.5):
        rank = _blend_ranks(weights, scorer, cases, sharpness, exclude_current)
        overall = [objective(row) for row in rank]
        bucket = np.searchsorted(np.array(LENGTH_BUCKETS), cases.lengths, side="right") - 1
        chosen = []
        for at in range(len(LENGTH_BUCKETS)):
            inside = bucket == at
            n = int(inside.sum())
            # A bucket with few cases says little: the whole tail counts as much as 300 cases of its own.
            score = [
                (n * objective(row[inside]) if n else 0.0) + 300 * overall[i] for i, row in enumerate(rank)
            ]
            chosen.append(int(np.argmax(score)))
        picked = np.array(chosen)[bucket]
        reached = rank[picked, np.arange(len(cases))]
        value = objective(reached)
        if best is None or value > best[0]:
            shares = tuple(WEIGHTS[i] for i in chosen)
            best = (value, BlendSettings(shares, sharpness, knn), reached)
    assert best is not None
    return best[1], best[2]


def _blend_ranks(
    weights: EncoderWeights, scorer: KnnScorer, cases: Cases, sharpness: float, exclude_current: bool
) -> Int64:
    """Ranks for every share of WEIGHTS, one row each.

    Few items have votes: for all others it is enough to count how many the encoder puts above what the target reaches.
    """
    out = np.empty((len(WEIGHTS), len(cases)), np.int64)
    for begin in range(0, len(cases), 128):
        prefixes = [cases.prefix(row) for row in range(begin, min(begin + 128, len(cases)))]
        neural = probabilities(weights, prefixes, sharpness)
        for at, prefix in enumerate(prefixes, start=begin):
            found, votes = scorer.score(prefix)
            current = int(prefix[-1]) if exclude_current else -1
            out[:, at] = _mixed_ranks(neural[at - begin], found, votes, int(cases.targets[at]), current)
    return out


def _mixed_ranks(neural: Float32, found: Int64, votes: Float64, target: int, barred: int) -> Int64:
    """Rank of `target` (-1: none) under each share of WEIGHTS; `barred` (-1: none) does not compete."""
    if target < 0 or target == barred:
        return np.full(len(WEIGHTS), len(neural) + 1, np.int64)
    share = np.array(WEIGHTS, np.float32)[:, None]
    own_vote = votes[found == target].sum()
    own = (1 - share) * neural[target] + share * own_vote
    # What an item without votes must have from the encoder to reach `own`.
    enough = np.where(own_vote == 0, neural[target], own / np.maximum(1 - share, 1e-9))
    enough[share == 1] = -np.inf if own_vote == 0 else np.inf
    rivals = found[(found != target) & (found != barred)]
    apart = np.union1d(found, [row for row in (target, barred) if row >= 0])
    unvoted = (neural >= enough).sum(axis=1) - (neural[apart] >= enough).sum(axis=1)
    mixed = (1 - share) * neural[rivals] + share * votes[(found != target) & (found != barred)]
    ranked: np.ndarray = 1 + unvoted + (mixed >= own).sum(axis=1)
    return ranked.astype(np.int64)
