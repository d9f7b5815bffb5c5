"""Ranking metrics. A rank is 1 for the best; items with the target's score are all ranked above it."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.sessions import Float64, Int64

LENGTH_BUCKETS = (1, 2, 4, 10)
"""Where each slice of session lengths begins."""


def ranks(scores: NDArray[Any], targets: Int64) -> Int64:
    """Return the rank of each row's target among all items. Ties and targets without a score count against the model."""
    rows = np.arange(len(targets))
    known = targets >= 0
    own = np.where(known, scores[rows, np.where(known, targets, 0)], -np.inf)
    own = np.where(np.isnan(own), -np.inf, own)
    above = (scores >= own[:, None]).sum(axis=1) - known
    ranked: np.ndarray = np.where(np.isfinite(own), above + 1, scores.shape[1] + 1).astype(np.int64)
    return ranked


def hit_rate(rank: Int64, k: int) -> float:
    """Return the share of cases whose target is among the first `k`."""
    return float((rank <= k).mean()) if len(rank) else 0.0


def reciprocal_ranks(rank: Int64, k: int) -> Float64:
    """Return 1/rank per case, and 0 beyond rank `k`."""
    return np.where(rank <= k, 1.0 / rank, 0.0)


def mrr(rank: Int64, k: int) -> float:
    """Return the mean reciprocal rank, with 0 beyond rank `k`."""
    return float(reciprocal_ranks(rank, k).mean()) if len(rank) else 0.0


def ndcg(rank: Int64, k: int) -> float:
    """Return the NDCG. With one right answer per case the ideal gain is 1, so it is the discounted gain itself."""
    return float(np.where(rank <= k, 1.0 / np.log2(rank + 1.0), 0.0).mean()) if len(rank) else 0.0


def revenue_hit_rate(rank: Int64, prices: Float64, k: int) -> float | None:
    """Return the share of the targets' money whose target is among the first `k`; None if no price is known.

    With equal prices it is the hit rate. Targets without a price do not count.
    """
    return _priced((rank <= k).astype(np.float64), prices)


def revenue_ndcg(rank: Int64, prices: Float64, k: int) -> float | None:
    """Return the NDCG whose gain is the target's price; None if no price is known."""
    return _priced(np.where(rank <= k, 1.0 / np.log2(rank + 1.0), 0.0), prices)


def _priced(gains: Float64, prices: Float64) -> float | None:
    known = np.isfinite(prices) & (prices > 0)
    total = float(prices[known].sum())
    return float((gains[known] * prices[known]).sum() / total) if total else None


def coverage(top: NDArray[Any], items: int) -> float:
    """Return the share of the catalogue that was recommended at least once. -1 in `top` is no item."""
    shown = np.unique(top)
    return float((shown >= 0).sum()) / items if items else 0.0


def gini(top: NDArray[Any], items: int) -> float:
    """Return the Gini coefficient of recommendations over the catalogue: 0 if even, near 1 if all are of one item."""
    counts = np.sort(np.bincount(top[top >= 0].ravel(), minlength=items)).astype(np.float64)
    total = counts.sum()
    if total == 0:
        return 0.0
    return float((2 * np.arange(1, items + 1) - items - 1).dot(counts) / (items * total))


def popularity_ratio(top: NDArray[Any], targets: Int64, popularity: NDArray[Any]) -> float:
    """Return the mean popularity of recommended items over the mean popularity of the targets."""
    shown = popularity[top[top >= 0]]
    wanted = popularity[targets[targets >= 0]]
    return float(shown.mean() / wanted.mean()) if len(shown) and len(wanted) and wanted.mean() > 0 else 0.0


class Resampler:
    """Percentile intervals of means by the bootstrap. It draws whole sessions, because cases of one are not independent.

    The draws are made once, so that each further figure of the same cases costs one matrix product.
    """

    def __init__(self, groups: Int64, draws: int = 1000, seed: int = 0, level: float = 0.95) -> None:
        _, self._group = np.unique(groups, return_inverse=True)
        self._sessions = int(self._group.max()) + 1 if len(groups) else 0
        self._tails = [(1 - level) / 2, (1 + level) / 2]
        rng = np.random.default_rng(seed)
        self._drawn = np.empty((draws, self._sessions), np.float32)
        for draw in range(draws if self._sessions else 0):
            picked = rng.integers(0, self._sessions, self._sessions)
            self._drawn[draw] = np.bincount(picked, minlength=self._sessions)

    def interval(self, values: NDArray[Any], inside: NDArray[np.bool_] | None = None) -> tuple[float, float]:
        """Return the interval of the mean of `values`, one per case, over the cases `inside`."""
        group = self._group if inside is None else self._group[inside]
        values = values if inside is None else values[inside]
        if len(values) == 0:
            return (0.0, 0.0)
        sums = np.bincount(group, weights=values.astype(np.float64), minlength=self._sessions)
        counts = np.bincount(group, minlength=self._sessions)
        total = self._drawn @ counts.astype(np.float32)
        means = (self._drawn @ sums.astype(np.float32))[total > 0] / total[total > 0]
        low, high = np.quantile(means, self._tails)
        return float(low), float(high)

    def family_interval(
        self, values: NDArray[Any], level: float, inside: NDArray[np.bool_] | None = None
    ) -> tuple[float, float]:
        """Return the interval of the mean of `values` [cases] over the cases `inside`. Each end holds with the chance `level`.

        The standard error is that of a ratio of sums over sessions (cluster-robust), with a t quantile. Many comparisons at
        once need levels of .9997, which a thousand bootstrap draws cannot resolve.
        """
        group = self._group if inside is None else self._group[inside]
        values = (values if inside is None else values[inside]).astype(np.float64)
        if len(values) == 0:
            return (0.0, 0.0)
        counts = np.bincount(group, minlength=self._sessions)
        sums = np.bincount(group, weights=values, minlength=self._sessions)
        drawn = counts > 0
        clusters, mean = int(drawn.sum()), float(values.mean())
        if clusters < 2:
            return (-np.inf, np.inf)
        residual = sums[drawn] - mean * counts[drawn]
        error = float(np.sqrt((residual**2).sum() * clusters / (clusters - 1))) / len(values)
        half = t_quantile(level, clusters - 1) * error
        return mean - half, mean + half


def t_quantile(level: float, degrees: int) -> float:
    """Return Student's t quantile by its expansion in 1 / degrees (Abramowitz and Stegun 26.7.5), within 1 % from 10 degrees."""
    z = NormalDist().inv_cdf(level)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / degrees**power for power, term in enumerate(terms, start=1))


def bootstrap_interval(values: NDArray[Any], groups: Int64) -> tuple[float, float]:
    """Return the interval of one mean, by a Resampler."""
    return Resampler(groups).interval(values)


def wilson_interval(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the interval of a share of independent cases, valid for few cases and for shares near 0 or 1."""
    if n == 0:
        return (0.0, 1.0)
    share, denominator = hits / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / denominator
    half = z * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))) / denominator
    return max(0.0, centre - half), min(1.0, centre + half)


def reliability(predicted: Float64, hit: Float64, bins: int = 10) -> list[tuple[float, float, int]]:
    """Return the mean predicted chance, the share of hits and the number of cases per bin of equally many cases."""
    order = np.argsort(predicted, kind="stable")
    return [
        (float(predicted[part].mean()), float(hit[part].mean()), len(part))
        for part in np.array_split(order, min(bins, len(order)) or 1)
        if len(part)
    ]


def calibration_error(predicted: Float64, hit: Float64) -> float:
    """Return the expected calibration error: the mean distance between predicted chances and hit rates, over the cases."""
    rows = reliability(predicted, hit)
    return sum(n * abs(said - came) for said, came, n in rows) / max(len(hit), 1)


def summary(rank: Int64, cutoffs: tuple[int, ...] = (1, 5, 10, 20)) -> dict[str, float]:
    """Return the figures for evaluation.json, rounded to the precision of their sample size."""
    figures = {f"hr_at_{k}": hit_rate(rank, k) for k in cutoffs}
    figures |= {f"mrr_at_{k}": mrr(rank, k) for k in cutoffs if k >= 10}
    figures |= {f"ndcg_at_{k}": ndcg(rank, k) for k in cutoffs if k >= 10}
    return {name: round(value, 5) for name, value in figures.items()}
