"""The recommender itself: encoder, session-kNN and popularity blended, the best of them ranked again; for endpoint and gate.

`scores` is the whole ranking in float32. `recommend` computes only its beginning. Its candidates are the nearest items of a
scan, those that a neighbor votes for, and the most popular ones. The best of them are scored as `scores` does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.answer import NO_VOTES, behind, ranker_scores
from training_jobs.serving.blend import Items, Shortlist, values_at
from training_jobs.serving.encoder_numpy import EncoderWeights, probabilities
from training_jobs.serving.kernels.interface import Kernels, Parts, Rank, Vote
from training_jobs.serving.kernels.reference import REFERENCE
from training_jobs.serving.knn import KnnIndex, KnnSettings
from training_jobs.serving.ranker import SHORTLIST, Ranker
from training_jobs.serving.recommendation import Evidence, Recommendation
from training_jobs.serving.returns import CLICKS, floor_of
from training_jobs.serving.scan import Int8, dequantised, quantise
from training_jobs.serving.sessions import Float32, Float64, Int32, Int64

POPULARITY_FLOOR = 1e-6  # popularity decides among items neither the encoder nor a neighbour speaks for


@dataclass(frozen=True)
class BlendSettings:
    """`knn_weight` is the share of session-kNN; the encoder has the rest.

    With `exclude_current` the item being looked at does not compete: no shop recommends it.

    `return_floor` is the least score of the session's own items by clicks since (returns.py); empty for none. It brings
    them onto the shortlist, and with `floor_ranked` it holds for the ranker's order too.
    """

    knn_weight: float = 0.5
    knn: KnnSettings = field(default_factory=KnnSettings)
    exclude_current: bool = True
    return_floor: tuple[float, ...] = ()
    floor_ranked: bool = True

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> BlendSettings:
        """Read the JSON form of `dataclasses.asdict`."""
        return cls(
            float(raw["knn_weight"]),
            KnnSettings(**raw["knn"]),
            bool(raw["exclude_current"]),
            tuple(float(value) for value in raw["return_floor"]),
            bool(raw["floor_ranked"]),
        )


class Recommender:
    """Answers sessions of item ids. One instance serves one thread (the kernels keep scratch memory)."""

    def __init__(
        self,
        vocabulary: Sequence[str],
        weights: EncoderWeights,
        index: KnnIndex,
        popularity: Float64,
        settings: BlendSettings,
        codes: tuple[Int8, Float32] | None = None,
        out_of_stock: Collection[str] = (),
        ranker: Ranker | None = None,
        kernels: Kernels = REFERENCE,
    ) -> None:
        """`codes` are the vectors in int8 with their scales, where an archive has them (scan.quantise).

        With compiled `kernels` the answers are the same and take less time.

        Without a `ranker` the blend's order is the last word.

        Items that are `out_of_stock` are never shown; clicks on them count like any other.
        """
        self.vocabulary = list(vocabulary)
        self.rows = {item: row for row, item in enumerate(self.vocabulary)}
        self.weights = weights
        self.index = index
        self.popularity = popularity
        self.settings = settings
        self.ranker = ranker
        self.codes = codes or quantise(weights.vectors)
        self.kernels = kernels
        self._popular: Float32 = popularity.astype(np.float32)
        self._new: NDArray[np.bool_] = np.equal(popularity, 0.0)
        self._floor: Float32 = (popularity * POPULARITY_FLOOR).astype(np.float32)
        # Items without clicks or content have a zero vector. Read the int8 codes, so that the memory-mapped floats
        # stay on disk.
        self._unknown: NDArray[np.bool_] = np.logical_not(self.codes[0].any(axis=1))
        self._out_of_stock: NDArray[np.bool_] = np.zeros(len(self.vocabulary), np.bool_)
        self._out_of_stock[[self.rows[item] for item in out_of_stock if item in self.rows]] = True
        order = np.argsort(-self._popular, kind="stable")
        self._by_popularity: Int64 = order[np.logical_not(self._out_of_stock[order])]
        items = Items(
            *(weights.vectors, *self.codes, self._floor),
            *(self._unknown, self._out_of_stock, self._by_popularity),
        )
        # Scratch memory of one request, left as it was found.
        self._by_row: Float32 = np.zeros(len(self.vocabulary), np.float32)
        self._return_floor: Float32 = np.array(settings.return_floor or np.zeros(CLICKS), np.float32)
        self.parts = Parts(
            *(weights, items, index, settings.knn, ranker, settings.knn_weight),
            *(self._new, self._return_floor, settings.floor_ranked),
        )
        self._answer = kernels.answerer(self.parts)

    def unranked(self, settings: BlendSettings) -> Recommender:
        """Return a recommender of the same parts with these settings, and without the ranker."""
        out_of_stock = [self.vocabulary[row] for row in np.flatnonzero(self._out_of_stock).tolist()]
        return Recommender(
            *(self.vocabulary, self.weights, self.index, self.popularity),
            *(settings, self.codes, out_of_stock),
            kernels=self.kernels,
        )

    # Only the whole ranking needs these two, and their scratch memory grows with the sessions of the index.
    @cached_property
    def _vote(self) -> Vote:
        return self.kernels.voter(self.index, self.settings.knn)

    @cached_property
    def _rank(self) -> Rank | None:
        return self.kernels.ranker(self.ranker, self.weights.vectors) if self.ranker else None

    def popular(self, k: int) -> list[str]:
        """Return the `k` most popular items, whether in stock or not."""
        return [self.vocabulary[row] for row in np.argsort(-self._popular, kind="stable")[:k]]

    def nearest(self, rows: Int64) -> Int64:
        """Return the row with the nearest vector per row; -1 where a row has no vector."""
        vectors = self.weights.vectors
        near = vectors[rows] @ vectors.T
        near[np.arange(len(rows)), rows] = -np.inf
        return np.where(vectors[rows].any(axis=1), near.argmax(axis=1), -1)

    def evidence(self) -> Evidence:
        """Return the number of shoppers' sessions in the kNN index, and which items it or popularity has clicks of."""
        catalogue = self.index.catalogue_sessions
        return Evidence(
            self.index.sessions - catalogue,
            (self.popularity > 0) | self.index.clicked_items,
            np.asarray(np.isfinite(self.weights.vectors).all(axis=1)),
            self._own_codes(),
        )

    def _own_codes(self) -> NDArray[np.bool_]:
        codes, scales = self.codes
        off = np.abs(dequantised(codes, scales) - self.weights.vectors) > 0.51 * scales[:, None]
        return np.asarray(np.logical_not(off.any(axis=1)))

    def scores(self, prefixes: Sequence[Int32], exclude: Sequence[Collection[int]] | None = None) -> Float32:
        """Scores of all items, one row for each prefix of known rows; an empty prefix is given popularity.

        Items that may not be shown have -inf: those out of stock and those in a prefix's `exclude`. Without `exclude`, the
        setting `exclude_current` decides whether the prefix's last item is shown.
        """
        exclude = self._current(prefixes) if exclude is None else exclude
        out = np.tile(np.where(self._out_of_stock, -np.inf, self._popular), (len(prefixes), 1))
        known = [row for row, prefix in enumerate(prefixes) if len(prefix)]
        asked, excluded = [prefixes[row] for row in known], [exclude[row] for row in known]
        for row, (blended, short) in zip(known, self.shortlists(asked, excluded), strict=True):
            out[row] = blended
            if self._rank is None or len(short.rows) == 0:
                continue
            raised = self._rank(prefixes[row], short.rows, short.probability, short.votes)
            best = ranker_scores(short, raised, self._new[short.rows], floored=self.settings.floor_ranked)
            # All others follow, in the blend's order.
            out[row, short.rows] = -np.inf
            out[row] *= behind(best, out[row])
            out[row, short.rows] = best
        for row, rows in enumerate(exclude):
            out[row, list(rows)] = -np.inf
        return out

    def shortlists(
        self, prefixes: Sequence[Int32], exclude: Sequence[Collection[int]]
    ) -> Iterator[tuple[Float32, Shortlist]]:
        """Yield the blend's scores of all items and its best SHORTLIST items per prefix (none may be empty).

        Items in a prefix's `exclude` have -inf.
        """
        if not prefixes:
            return
        share = np.float32(self.settings.knn_weight)
        probability = probabilities(self.weights, prefixes)
        probability[:, self._unknown] = 0.0
        for row, prefix in enumerate(prefixes):
            blended: Float32 = (1 - share) * probability[row] + self._floor
            voted, votes = self._vote(prefix) if share > 0 else NO_VOTES
            blended[voted] += share * votes.astype(np.float32)
            own, floor = floor_of(self._return_floor, prefix)
            blended[own] = np.maximum(blended[own], floor)
            blended[self._out_of_stock] = -np.inf
            blended[list(exclude[row])] = -np.inf
            rows = top(blended, SHORTLIST)
            votes_of = values_at(rows, voted, votes, self._by_row)
            floors = values_at(rows, own, floor, self._by_row)
            yield blended, Shortlist(rows, blended[rows], probability[row, rows], votes_of, floors)

    def _current(self, prefixes: Sequence[Int32]) -> list[list[int]]:
        if not self.settings.exclude_current:
            return [[] for _ in prefixes]
        return [prefix[-1:].tolist() for prefix in prefixes]

    def recommend(self, items: Sequence[str], k: int, exclude: Collection[str] = ()) -> Recommendation:
        """Return the best `k` items after `items` (oldest first): never the last of them, none of `exclude`."""
        rows = self.rows
        known = np.array([rows[item] for item in items if item in rows], np.int32)
        excluded = np.array([rows[item] for item in {*exclude, *items[-1:]} if item in rows], np.int64)
        if len(known) == 0:
            best = self._popular_rows(k, excluded)
            scores = self._popular[best]
            reason = "an empty session" if not items else "none of the session's items is known"
            source = "popularity"
        else:
            best, scores = self._answer(known, k, excluded)
            source, reason = "session", f"{len(known)} of {len(items)} items of the session are known"
        shown = [self.vocabulary[row] for row in best.tolist()]
        return Recommendation(shown, scores.tolist(), source, reason)

    def similar(self, item: str, k: int, exclude: Collection[str] = ()) -> Recommendation:
        """Return the best `k` items like `item`: near to it in the encoder's space, and viewed in the same sessions.

        The encoder's query is the item's own vector. So the answer does not depend on what shoppers do next, and the ranker,
        which has learnt that, is not asked. An item without a vector has its sessions alone.
        """
        row = self.rows.get(item)
        excluded = np.array([self.rows[one] for one in {*exclude, item} if one in self.rows], np.int64)
        if row is None:
            best = self._popular_rows(k, excluded)
            scores, source, reason = self._popular[best], "popularity", "the item is not known"
        else:
            own = np.asarray(self.weights.vectors[row], np.float32)
            best, scores = self._answer(np.array([row], np.int32), k, excluded, query=own)
            source, reason = "similar", f"like {item}"
        return Recommendation(
            [self.vocabulary[one] for one in best.tolist()], scores.tolist(), source, reason
        )

    def rerank(
        self, items: Sequence[str], candidates: Sequence[str], exclude: Collection[str] = ()
    ) -> Recommendation:
        """Return the candidates in the order for the session.

        Candidates that the model does not know, and the item that is being viewed, keep their places: no training example
        says where they belong. A session without a known item changes nothing.
        """
        excluded = {*exclude}
        listed = [item for item in dict.fromkeys(candidates) if item not in excluded]
        known = np.array([self.rows[item] for item in items if item in self.rows], np.int32)
        places = [
            place
            for place, item in enumerate(listed)
            if item in self.rows and not self._out_of_stock[self.rows[item]] and item not in items[-1:]
        ]
        if len(known) == 0 or not places:
            reason = "none of the session's items is known" if places else "no candidate is known"
            return Recommendation(listed, [0.0] * len(listed), "given", reason)
        only = np.array([self.rows[listed[place]] for place in places], np.int64)
        nothing = np.zeros(0, np.int64)
        best, values = self._answer(known, len(only), nothing, only=only)
        ordered, scores = list(listed), [0.0] * len(listed)
        for place, row, value in zip(places, best.tolist(), values.tolist(), strict=True):
            ordered[place], scores[place] = self.vocabulary[row], value
        return Recommendation(
            ordered, scores, "rerank", f"{len(places)} of {len(listed)} candidates are known"
        )

    def _popular_rows(self, k: int, excluded: Int64) -> Int64:
        head = self._by_popularity[: k + len(excluded)]
        return head[~np.isin(head, excluded)][:k]


def top(scores: Float32, k: int) -> Int64:
    """Rows of the best `k` finite scores, best first; equal scores in order of their row."""
    k = min(k, int(np.isfinite(scores).sum()))
    if k == 0:
        return np.zeros(0, np.int64)
    best = np.argpartition(-scores, k - 1)[:k] if k < len(scores) else np.arange(len(scores))
    best = np.flatnonzero(scores >= scores[best].min()) if k < len(scores) else best
    order = np.lexsort((best, -scores[best]))
    return np.asarray(best[order][:k], dtype=np.int64)
