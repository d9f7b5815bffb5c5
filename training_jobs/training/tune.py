"""Choose kNN settings on the validation tail: nothing is trained again.

The search is bounded by its number of cases, never by the clock. A busy machine chooses the same settings as an idle one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from training_jobs.gate import metrics
from training_jobs.serving.kernels.interface import Kernels
from training_jobs.serving.kernels.reference import REFERENCE
from training_jobs.serving.knn import KnnIndex, KnnSettings
from training_jobs.serving.sessions import Float32, Float64, Int64
from training_jobs.snapshot.dataset import Cases, sampled_rows

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
CASES = 5000  # the evaluation sample: enough to distinguish settings


def objective(rank: Int64, weight: Float32 | None = None) -> float:
    """Return MRR@20 + HR@20 / 2. Both parts have the same weight, because HR is about twice MRR.

    `weight` is that of each case, None if all are equal.
    """
    return float(np.average(_gains(rank), weights=weight))


def certain_gain(rank: Int64, former: Int64, weight: Float32 | None = None) -> float:
    """Return how much higher the objective of `rank` is than that of `former`, less two standard errors of the difference.

    Both are ranks of the same cases. What is not above 0 may be chance.
    """
    gain = _gains(rank) - _gains(former)
    weight = np.ones(len(gain), np.float32) if weight is None else weight
    mean = np.average(gain, weights=weight)
    error = np.sqrt((weight**2 * (gain - mean) ** 2).sum()) / weight.sum()
    return float(mean - 2.0 * error)


def _gains(rank: Int64) -> Float64:
    return np.asarray(metrics.reciprocal_ranks(rank, 20) + 0.5 * (rank <= 20), np.float64)


def sample(cases: Cases, seed: int, limit: int = CASES) -> Cases:
    """Return at most `limit` cases, drawn evenly."""
    return cases if len(cases) <= limit else cases.take(sampled_rows(len(cases), seed, limit))


def tune_knn(
    index: KnnIndex,
    cases: Cases,
    floor: Float64,
    *,
    start: KnnSettings | None = None,
    grid: dict[str, tuple[float, ...]] = _GRID,
    exclude_current: bool = True,
    kernels: Kernels = REFERENCE,
    weight: Float32 | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[KnnSettings, Int64]:
    """Try one setting at a time, and keep each that improves the objective.

    Returns:
        The settings, and the ranks of the targets under them.

    The search begins with `start`, the defaults if None. `weight` is that of each case in the objective. `stop` ends the search
    before the next try, when a job has run out of time. It changes the result.
    """
    best = start or KnnSettings()
    best_rank = knn_ranks(index, best, cases, floor, exclude_current, kernels)
    for name, value in itertools.chain.from_iterable(((n, v) for v in values) for n, values in grid.items()):
        if stop():
            break
        if getattr(best, name) == value:
            continue
        kind = type(getattr(best, name))
        tried = replace(best, **{name: kind(value)})
        rank = knn_ranks(index, tried, cases, floor, exclude_current, kernels)
        if objective(rank, weight) > objective(best_rank, weight) + 1e-4:
            best, best_rank = tried, rank
    return best, best_rank


def knn_ranks(
    index: KnnIndex,
    settings: KnnSettings,
    cases: Cases,
    floor: Float64,
    exclude_current: bool,
    kernels: Kernels = REFERENCE,
) -> Int64:
    """Return the rank of each target by votes alone. Items without votes are ordered by popularity (`floor`)."""
    vote = kernels.voter(index, settings)
    order = np.argsort(np.argsort(-floor, kind="stable"))
    out = np.empty(len(cases), np.int64)
    for row in range(len(cases)):
        prefix, target = cases.prefix(row), int(cases.targets[row])
        found, votes = vote(prefix) if len(prefix) else (np.zeros(0, np.int64), np.zeros(0))
        if exclude_current and len(prefix):
            other = found != prefix[-1]
            found, votes = found[other], votes[other]
        own = votes[found == target]
        if len(own) and own[0] > 0:
            out[row] = int((votes >= own[0]).sum())
        else:
            out[row] = len(found) + 1 + (int(order[target]) if target >= 0 else index.items)
    return out
