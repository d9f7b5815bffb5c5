"""The recommender itself: encoder, session-kNN and popularity blended; shared by endpoint and gate.

`scores` is the whole ranking in float32. `recommend` gives its beginning without working the rest out: the items nearest in
an int8 scan, those that a neighbour votes for, and the most popular, of which the best are scored as `scores` would.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.data import Float32, Float64, Int32, Int64
from training_jobs.encoder import EncoderWeights, encode, probabilities
from training_jobs.knn import KnnIndex, KnnScorer, KnnSettings
from training_jobs.revisit import KINDS, session_items
from training_jobs.scan import Int8, Scan

LENGTH_BUCKETS = (1, 2, 4, 10)
"""Where each bucket of session lengths begins; blend weights are chosen for each."""

Factors = tuple[tuple[float, ...], ...]
NO_FACTORS: Factors = ((1.0,) * KINDS,) * len(LENGTH_BUCKETS)

_SPARE = 100  # candidates beyond those asked for: what int8 gets wrong is far smaller than the gap they span
_FLOOR = 1e-6  # popularity decides among items neither the encoder nor a neighbour speaks for


@dataclass(frozen=True)
class BlendSettings:
    """`knn_weight` has the share of session-kNN for each of LENGTH_BUCKETS; the encoder has the rest.

    The `revisit` tables have a row for each of LENGTH_BUCKETS: factors by kind of the session's own items (revisit.py).
    """

    knn_weight: tuple[float, ...] = (0.3, 0.4, 0.4, 0.4)
    sharpness: float = 1.0
    knn: KnnSettings = field(default_factory=KnnSettings)
    encoder_revisit: Factors = NO_FACTORS
    knn_revisit: Factors = NO_FACTORS

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> BlendSettings:
        """What `dataclasses.asdict` made of one, back from JSON."""
        tables = (tuple(tuple(row) for row in raw[name]) for name in ("encoder_revisit", "knn_revisit"))
        return cls(tuple(raw["knn_weight"]), float(raw["sharpness"]), KnnSettings(**raw["knn"]), *tables)


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
        codes: tuple[Int8, Float32] | None = None,
        out_of_stock: Collection[str] = (),
    ) -> None:
        """`codes` are the vectors in int8 with their scales (scan.quantise); without them the vectors are scanned.

        Items that are `out_of_stock` are never shown; clicks on them tell as much as any.
        """
        self.vocabulary = list(vocabulary)
        self.rows = {item: row for row, item in enumerate(self.vocabulary)}
        self.weights = weights
        self.index = index
        self.popularity = popularity
        self.settings = settings
        self._knn = KnnScorer(index, settings.knn)
        self._revisit = np.array([settings.encoder_revisit, settings.knn_revisit], np.float32)
        self._popular: Float32 = popularity.astype(np.float32)
        self._floor: Float32 = (popularity * _FLOOR).astype(np.float32)
        # Of these neither clicks nor content say where they stand. Codes tell it as well, and vectors stay on disk.
        heard = (codes[0] if codes else weights.vectors).any(axis=1)
        self._silent: NDArray[np.bool_] = np.logical_not(heard)
        self.codes = codes
        self.scan = Scan(weights.vectors, *(codes or ()))
        self._absent: NDArray[np.bool_] = np.zeros(len(self.vocabulary), np.bool_)
        self._absent[[self.rows[item] for item in out_of_stock if item in self.rows]] = True
        order = np.argsort(-self._popular, kind="stable")
        self._by_popularity: Int64 = order[np.logical_not(self._absent[order])]
        hidden = self._silent | self._absent
        self._hidden: Float32 | None = (
            np.where(hidden, -np.inf, 0.0).astype(np.float32) if hidden.any() else None
        )
        # Scratch memory of one question, left as it was found.
        self._exponents = np.empty(len(self.vocabulary), np.float32)
        self._votes: Float32 = np.zeros(len(self.vocabulary), np.float32)
        self._factor: Float32 = np.ones(len(self.vocabulary), np.float32)
        self._barred: NDArray[np.bool_] = self._absent.copy()

    def scores(self, prefixes: Sequence[Int32]) -> Float32:
        """Scores of all items, one row for each prefix of known rows; an empty prefix is given popularity.

        Items out of stock have -inf.
        """
        out = np.tile(np.where(self._absent, -np.inf, self._popular), (len(prefixes), 1))
        told = [row for row, prefix in enumerate(prefixes) if len(prefix)]
        if not told:
            return out
        asked = [prefixes[row] for row in told]
        blended = probabilities(self.weights, asked, self.settings.sharpness)
        buckets = length_buckets(asked)
        share = np.array([self.settings.knn_weight[bucket] for bucket in buckets], np.float32)
        blended *= (1.0 - share)[:, None]
        blended[:, self._silent] = 0.0
        for row, prefix in enumerate(asked):
            items, kinds = session_items(prefix)
            of_encoder, of_knn = self._revisit[:, buckets[row], kinds]
            blended[row, items] *= of_encoder
            if share[row] > 0:
                found, votes = self._knn.score(prefix)
                self._votes[found] = share[row] * votes.astype(np.float32)
                self._votes[items] *= of_knn
                blended[row] += self._votes
                self._votes[found] = 0.0
        blended += self._floor
        blended[:, self._absent] = -np.inf
        if len(told) == len(prefixes):
            return blended
        out[told] = blended
        return out

    def recommend(self, items: Sequence[str], k: int, exclude: Collection[str] = ()) -> Recommendation:
        """The best `k` items to show after `items` (oldest first): never the last of them, none of `exclude`."""
        rows = self.rows
        known = np.array([rows[item] for item in items if item in rows], np.int32)
        barred = np.array([rows[item] for item in {*exclude, *items[-1:]} if item in rows], np.int64)
        if len(known) == 0:
            best = self._popular_rows(k, barred)
            scores = self._popular[best]
            reason = "an empty session" if not items else "none of the session's items is known"
            source = "popularity"
        else:
            best, scores = self._best(known, k, barred)
            source, reason = "session", f"{len(known)} of {len(items)} items of the session are known"
        shown = [self.vocabulary[row] for row in best.tolist()]
        return Recommendation(shown, scores.tolist(), source, reason)

    def _popular_rows(self, k: int, barred: Int64) -> Int64:
        head = self._by_popularity[: k + len(barred)]
        return head[~np.isin(head, barred)][:k]

    def _best(self, prefix: Int32, k: int, barred: Int64) -> tuple[Int64, Float32]:
        """Rows and scores of the best `k`, none of them of `barred`."""
        bucket = length_buckets([prefix])[0]
        share = np.float32(self.settings.knn_weight[bucket])
        own, kinds = session_items(prefix)
        of_encoder, of_knn = self._revisit[:, bucket, kinds]
        steepness = np.float32(self.settings.sharpness / self.weights.temperature)
        query = encode(self.weights, [prefix])[0]

        cosines = self.scan.cosines(query)
        peak = cosines.max()
        near = self._exponents
        np.multiply(cosines, steepness, out=near)
        near -= steepness * peak
        np.exp(near, out=near)
        total = near.sum()
        if self._hidden is not None:
            cosines += self._hidden
        cosines[barred] = -np.inf
        candidates = [self.scan.best(k + _SPARE), self._by_popularity[: k + len(barred)], own]
        if share > 0:
            voted, votes = self._knn.score(prefix)
            candidates.append(voted)
            self._votes[voted] = share * votes.astype(np.float32)
            self._votes[own] *= of_knn

        pool: Int64 = np.sort(np.concatenate(candidates))
        self._barred[barred] = True
        shut: NDArray[np.bool_] = self._barred[pool]
        shut[1:] |= np.equal(pool[1:], pool[:-1])
        pool = pool[~shut]
        self._barred[barred] = self._absent[barred]
        told = self._floor[pool] + self._votes[pool]
        if share > 0:
            self._votes[voted] = 0.0
        self._factor[own] = of_encoder
        heard = np.where(self._silent[pool], np.float32(0.0), (1 - share) / total) * self._factor[pool]
        self._factor[own] = 1.0
        if len(pool) > k + _SPARE:
            approximate = near[pool] * heard + told
            kept = np.sort(np.argpartition(-approximate, k + _SPARE)[: k + _SPARE])
            pool, told, heard = pool[kept], told[kept], heard[kept]

        # The softmax's sum gets the true terms of those that weigh most in it.
        exact = np.concatenate([pool, barred])
        terms = np.exp((self.weights.vectors[exact] @ query - peak) * steepness)
        corrected = total + (terms - near[exact]).sum()
        scores = terms[: len(pool)] * heard * (total / corrected) + told
        order = np.argsort(-scores, kind="stable")[:k]
        return pool[order], scores[order]


def length_buckets(prefixes: Sequence[Int32]) -> list[int]:
    return [bisect_right(LENGTH_BUCKETS, len(prefix)) - 1 for prefix in prefixes]


def top(scores: Float32, k: int) -> Int64:
    """Rows of the best `k` finite scores, best first; equal scores in order of their row."""
    k = min(k, int(np.isfinite(scores).sum()))
    if k == 0:
        return np.zeros(0, np.int64)
    best = np.argpartition(-scores, k - 1)[:k] if k < len(scores) else np.arange(len(scores))
    best = np.flatnonzero(scores >= scores[best].min()) if k < len(scores) else best
    order = np.lexsort((best, -scores[best]))
    return np.asarray(best[order][:k], dtype=np.int64)
