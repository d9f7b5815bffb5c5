"""Ranking metrics. A rank is 1 for the best; items with the target's score are all ranked above it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.data import Float64, Int64


def ranks(scores: NDArray[Any], targets: Int64) -> Int64:
    """Rank of each row's target among all items; ties and targets without a score count against us."""
    rows = np.arange(len(targets))
    known = targets >= 0
    own = np.where(known, scores[rows, np.where(known, targets, 0)], -np.inf)
    own = np.where(np.isnan(own), -np.inf, own)
    above = (scores >= own[:, None]).sum(axis=1) - known
    ranked: np.ndarray = np.where(np.isfinite(own), above + 1, scores.shape[1] + 1).astype(np.int64)
    return ranked


def hit_rate(rank: Int64, k: int) -> float:
    return float((rank <= k).mean()) if len(rank) else 0.0


def reciprocal_ranks(rank: Int64, k: int) -> Float64:
    return np.where(rank <= k, 1.0 / rank, 0.0)


def mrr(rank: Int64, k: int) -> float:
    return float(reciprocal_ranks(rank, k).mean()) if len(rank) else 0.0


def ndcg(rank: Int64, k: int) -> float:
    """With one right answer per case the ideal gain is 1, so NDCG is the discounted gain itself."""
    return float(np.where(rank <= k, 1.0 / np.log2(rank + 1.0), 0.0).mean()) if len(rank) else 0.0


def coverage(top: NDArray[Any], items: int) -> float:
    """Share of the catalogue that was recommended to somebody. -1 in `top` stands for no item."""
    shown = np.unique(top)
    return float((shown >= 0).sum()) / items if items else 0.0


def gini(top: NDArray[Any], items: int) -> float:
    """How unevenly recommendations fall on the catalogue: 0 all alike, towards 1 all on one item."""
    counts = np.sort(np.bincount(top[top >= 0].ravel(), minlength=items)).astype(np.float64)
    total = counts.sum()
    if total == 0:
        return 0.0
    return float((2 * np.arange(1, items + 1) - items - 1).dot(counts) / (items * total))


def popularity_ratio(top: NDArray[Any], targets: Int64, popularity: NDArray[Any]) -> float:
    """Mean popularity of what is recommended over mean popularity of what people really went on to."""
    shown = popularity[top[top >= 0]]
    wanted = popularity[targets[targets >= 0]]
    return float(shown.mean() / wanted.mean()) if len(shown) and len(wanted) and wanted.mean() > 0 else 0.0


def bootstrap_interval(
    values: NDArray[Any], groups: Int64, draws: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean, resampling whole sessions: cases of one session are not independent."""
    if len(values) == 0:
        return (0.0, 0.0)
    _, inverse = np.unique(groups, return_inverse=True)
    sums = np.bincount(inverse, weights=values.astype(np.float64))
    counts = np.bincount(inverse).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for draw in range(draws):
        picked = np.bincount(rng.integers(0, len(sums), len(sums)), minlength=len(sums))
        means[draw] = picked.dot(sums) / picked.dot(counts)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def summary(rank: Int64, cutoffs: tuple[int, ...] = (1, 5, 10, 20)) -> dict[str, float]:
    """The figures every report shows, rounded to what their sample size can bear."""
    figures = {f"hr_at_{k}": hit_rate(rank, k) for k in cutoffs}
    figures |= {f"mrr_at_{k}": mrr(rank, k) for k in cutoffs if k >= 10}
    figures |= {f"ndcg_at_{k}": ndcg(rank, k) for k in cutoffs if k >= 10}
    return {name: round(value, 5) for name, value in figures.items()}
