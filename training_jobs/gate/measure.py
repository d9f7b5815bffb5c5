"""Measure how candidate, champion and baselines rank the next clicks of the held-out day."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training_jobs.gate import baselines, metrics
from training_jobs.gate.model import Model
from training_jobs.serving.knn import KnnScorer, KnnSettings, build_index
from training_jobs.serving.sessions import Float32, Float64, Int32, Int64
from training_jobs.snapshot.dataset import Cases, Dataset, before, sampled_cases, within

BASELINES = ("popularity", "item_to_item", "session_knn")
_POPULARITY_HALF_LIFE_DAYS = 3.0


@dataclass(frozen=True)
class Measured:
    """Ranks of the targets, and the 20 best items as rows of the snapshot's vocabulary, -1 where there are fewer.

    `confidence` is the sum of their scores. If scores are probabilities, it is the chance of a hit.
    """

    name: str
    rank: Int64
    top: Int64
    confidence: Float64

    @property
    def hits(self) -> Float64:
        """Return 1 per case whose target is among the first 20, else 0."""
        return (self.rank <= 20).astype(np.float64)

    @property
    def reciprocals(self) -> Float64:
        """Return 1/rank per case whose target is among the first 20, else 0."""
        return metrics.reciprocal_ranks(self.rank, 20)

    def figures(
        self,
        cases: Cases,
        popularity: Float64,
        items: int,
        resampler: metrics.Resampler,
        prices: Float64 | None = None,
    ) -> dict[str, float | list[float]]:
        """Return the figures of one model for evaluation.json. With `prices` per row, it has those of the objective revenue."""
        interval_hr, interval_mrr = resampler.interval(self.hits), resampler.interval(self.reciprocals)
        return {
            **metrics.summary(self.rank),
            **({} if prices is None else _revenue(self.rank, prices[cases.targets])),
            "hr_at_20_interval": [round(value, 5) for value in interval_hr],
            "mrr_at_20_interval": [round(value, 5) for value in interval_mrr],
            "coverage": round(metrics.coverage(self.top, items), 5),
            "gini": round(metrics.gini(self.top, items), 5),
            "popularity_ratio": round(metrics.popularity_ratio(self.top, cases.targets, popularity), 5),
        }

    def of_kind(self, inside: NDArray[np.bool_], prices: Float64 | None) -> dict[str, float]:
        """Return the figures over the cases `inside`. `prices` are those of their targets."""
        rank = self.rank[inside]
        accuracy = {"hr_at_20": metrics.hit_rate(rank, 20), "mrr_at_20": metrics.mrr(rank, 20)}
        found = {name: round(value, 5) for name, value in accuracy.items()}
        return found | ({} if prices is None else _revenue(rank, prices))


def _revenue(rank: Int64, prices: Float64) -> dict[str, float]:
    found = {
        "revenue_hr_at_20": metrics.revenue_hit_rate(rank, prices, 20),
        "revenue_ndcg_at_20": metrics.revenue_ndcg(rank, prices, 20),
    }
    return {name: round(value, 5) for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class HeldOut:
    """The cases of the held-out day, and the sessions, items and popularity before it."""

    data: Dataset
    cases: Cases
    popularity: Float64
    active: NDArray[np.bool_]
    past: int  # sessions before the cut
    holdout_start_ms: int

    @cached_property
    def rows(self) -> dict[str, int]:
        """Return the row of each item."""
        return {item: row for row, item in enumerate(self.data.vocabulary)}


def held_out(data: Dataset, holdout_start_ms: int, limit: int = 5000) -> HeldOut:
    """Cut the snapshot as training did, and return at most `limit` cases, drawn evenly."""
    past = before(data.sessions, holdout_start_ms)
    cases = sampled_cases(within(data.sessions, holdout_start_ms), 0, limit)
    items = len(data.vocabulary)
    return HeldOut(
        data,
        cases,
        baselines.popularity(past, items, _POPULARITY_HALF_LIFE_DAYS),
        past.clicks(items) > 0,
        len(past),
        holdout_start_ms,
    )


def measure_baselines(held: HeldOut) -> dict[str, Measured]:
    """Measure the baselines, which learn the same past as the candidate."""
    past = before(held.data.sessions, held.holdout_start_ms)
    share = held.popularity
    knn = KnnScorer(build_index(past, len(share)), KnnSettings())
    scorers = {
        "popularity": baselines.popularity_scorer(share),
        "item_to_item": baselines.item_to_item_scorer(past, share),
        "session_knn": baselines.knn_scorer(knn, share),
    }
    return {name: measure(name, score, held.cases) for name, score in scorers.items()}


def measure_recommender(name: str, recommender: Model, held: HeldOut) -> Measured:
    """Measure a model whose vocabulary may differ from the snapshot's. A target outside its vocabulary is a miss.

    After a click on an item that the model does not know, its last known item competes, as it does in `recommend`.
    """
    vocabulary = held.data.vocabulary
    row_of = np.array([recommender.rows.get(item, -1) for item in vocabulary], np.int64)

    def score(prefixes: Sequence[Int32]) -> Float32:
        mapped = [row_of[prefix].astype(np.int32) for prefix in prefixes]
        current = [rows[-1:][rows[-1:] >= 0].tolist() for rows in mapped]
        own = recommender.scores([rows[rows >= 0] for rows in mapped], current)
        out = np.full((len(prefixes), len(vocabulary)), -np.inf, np.float32)
        out[:, row_of >= 0] = own[:, row_of[row_of >= 0]]
        return out

    return measure(name, score, held.cases)


def measure(
    name: str, score: baselines.Scorer, cases: Cases, *, exclude_current: bool = True, batch: int = 128
) -> Measured:
    """Rank every case under any scorer. The current item is excluded by default, because no shop recommends it."""
    rank = np.empty(len(cases), np.int64)
    shown = np.full((len(cases), 20), -1, np.int64)
    confidence = np.zeros(len(cases))
    for begin in range(0, len(cases), batch):
        prefixes = [cases.prefix(row) for row in range(begin, min(begin + batch, len(cases)))]
        scores = np.array(score(prefixes))
        if exclude_current:
            current = [(at, prefix[-1]) for at, prefix in enumerate(prefixes) if len(prefix)]
            scores[[at for at, _ in current], [item for _, item in current]] = -np.inf
        rank[begin : begin + len(prefixes)] = metrics.ranks(scores, cases.targets[begin : begin + batch])
        width = min(20, scores.shape[1])
        best = np.argpartition(-scores, width - 1, axis=1)[:, :width]
        reached = np.take_along_axis(scores, best, axis=1)
        there = np.isfinite(reached)
        shown[begin : begin + len(prefixes), :width] = np.where(there, best, -1)
        confidence[begin : begin + len(prefixes)] = np.where(there, reached, 0.0).sum(axis=1)
    return Measured(name, rank, shown, confidence)


def latencies_ms(recommender: Model, sessions: Sequence[Sequence[str]], tries: int = 3) -> Float64:
    """Return the CPU time per answer, as the best of a few tries, one answer at a time.

    Wall-clock time on a busy machine would refuse sound models.
    """
    taken = np.full(len(sessions), np.inf)
    for _ in range(tries):
        for at, items in enumerate(sessions):
            began = time.process_time()
            recommender.recommend(items, 20)
            taken[at] = min(taken[at], (time.process_time() - began) * 1e3)
    return taken
