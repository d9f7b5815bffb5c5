"""The recommender itself: encoder, session-kNN and popularity blended; numpy only, shared by endpoint and gate."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from training_jobs.data import Float32, Float64, Int32, Int64
from training_jobs.encoder import EncoderWeights, probabilities
from training_jobs.knn import KnnIndex, KnnScorer, KnnSettings

LENGTH_BUCKETS = (1, 2, 4, 10)
"""Where each bucket of session lengths begins; blend weights are chosen for each."""

_FLOOR = 1e-6  # popularity decides among items neither the encoder nor a neighbour speaks for


@dataclass(frozen=True)
class BlendSettings:
    """`knn_weight` has the share of session-kNN for each of LENGTH_BUCKETS; the encoder has the rest."""

    knn_weight: tuple[float, ...] = (0.3, 0.4, 0.4, 0.4)
    sharpness: float = 1.0
    knn: KnnSettings = field(default_factory=KnnSettings)


@dataclass(frozen=True)
class Recommendation:
    items: list[str]
    scores: list[float]
    source: str
    reason: str


class Recommender:
    """Answers sessions of item ids. One instance serves one thread (the kNN scorer keeps scratch memory)."""

    def __init__(
        self,
        vocabulary: Sequence[str],
        weights: EncoderWeights,
        index: KnnIndex,
        popularity: Float64,
        settings: BlendSettings,
    ) -> None:
        self.vocabulary = list(vocabulary)
        self.rows = {item: row for row, item in enumerate(self.vocabulary)}
        self.weights = weights
        self.index = index
        self.popularity = popularity
        self.settings = settings
        self._knn = KnnScorer(index, settings.knn)
        self._popular: Float32 = popularity.astype(np.float32)
        self._floor: Float32 = (popularity * _FLOOR).astype(np.float32)
        self._silent = ~weights.vectors.any(axis=1)  # neither clicks nor content say where these items stand

    def scores(self, prefixes: Sequence[Int32]) -> Float32:
        """Scores of all items, one row for each prefix of known rows; an empty prefix is given popularity."""
        out = np.tile(self._popular, (len(prefixes), 1))
        told = [row for row, prefix in enumerate(prefixes) if len(prefix)]
        if not told:
            return out
        asked = [prefixes[row] for row in told]
        blended = probabilities(self.weights, asked, self.settings.sharpness)
        share = np.array([self.settings.knn_weight[bucket] for bucket in length_buckets(asked)], np.float32)
        blended *= (1.0 - share)[:, None]
        blended[:, self._silent] = 0.0
        blended += self._floor
        for row, prefix in enumerate(asked):
            if share[row] > 0:
                found, votes = self._knn.score(prefix)
                blended[row, found] += share[row] * votes.astype(np.float32)
        if len(told) == len(prefixes):
            return blended
        out[told] = blended
        return out

    def recommend(self, items: Sequence[str], k: int, exclude: Collection[str] = ()) -> Recommendation:
        """The best `k` items to show after `items` (oldest first): never the last of them, none of `exclude`."""
        known = np.array([self.rows[item] for item in items if item in self.rows], np.int32)
        scores = self.scores([known])[0].copy()
        barred = [self.rows[item] for item in {*exclude, *items[-1:]} if item in self.rows]
        scores[barred] = -np.inf
        best = top(scores, k)
        if len(known) == 0:
            reason = "an empty session" if not items else "none of the session's items is known"
            source = "popularity"
        else:
            source, reason = "session", f"{len(known)} of {len(items)} items of the session are known"
        return Recommendation(
            [self.vocabulary[row] for row in best], [float(scores[row]) for row in best], source, reason
        )


def length_buckets(prefixes: Sequence[Int32]) -> list[int]:
    starts = np.array(LENGTH_BUCKETS)
    return [int(np.searchsorted(starts, len(prefix), side="right")) - 1 for prefix in prefixes]


def top(scores: Float32, k: int) -> Int64:
    """Rows of the best `k` finite scores, best first; equal scores in order of their row."""
    k = min(k, int(np.isfinite(scores).sum()))
    if k == 0:
        return np.zeros(0, np.int64)
    best = np.argpartition(-scores, k - 1)[:k] if k < len(scores) else np.arange(len(scores))
    best = np.flatnonzero(scores >= scores[best].min()) if k < len(scores) else best
    order = np.lexsort((best, -scores[best]))
    return np.asarray(best[order][:k], dtype=np.int64)
