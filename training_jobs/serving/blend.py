"""Score the candidates of one session: encoder, neighbors and popularity blended, the best of them with the exact vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.scan import Int8, Near, query_codes
from training_jobs.serving.sessions import Float32, Float64, Int64

LEAST_SCORE = 1e-12  # of a score, before its logarithm is taken


@dataclass(frozen=True)
class Shortlist:
    """The items that a blend puts first, best first, equals by row: their scores, what encoder and neighbours say of them.

    `floor` is the least score of each under `BlendSettings.return_floor`, 0 for items outside the session.
    """

    rows: Int64
    scores: Float32
    probability: Float32
    votes: Float32
    floor: Float32

    @property
    def logits(self) -> Float32:
        """Return the logarithms of the scores."""
        return np.asarray(np.log(np.maximum(self.scores, LEAST_SCORE)), np.float32)

    def first(self, count: int) -> Shortlist:
        """Return its first `count` items."""
        return Shortlist(
            self.rows[:count],
            self.scores[:count],
            self.probability[:count],
            self.votes[:count],
            self.floor[:count],
        )


@dataclass(frozen=True)
class Items:
    """The arrays of a model that a blend reads, one entry per item.

    `popularity` is the score that each item has without encoder and neighbors. The encoder is not asked about `unknown` items.
    Those `out_of_stock` are never candidates. `by_popularity` are the rows of all others, the most popular first.
    """

    vectors: Float32
    codes: Int8
    scales: Float32
    popularity: Float32
    unknown: NDArray[np.bool_]
    out_of_stock: NDArray[np.bool_]
    by_popularity: Int64

    @property
    def hidden(self) -> NDArray[np.bool_]:
        """Return a mask of the items that a scan finds for nobody."""
        return self.unknown | self.out_of_stock


class Question(NamedTuple):
    """One session's evidence.

    `near` comes from a scan of the session's vector `query`. `votes` and `floors` are rows with their values, each row once.
    All these rows and those of the `popular` most popular items are candidates, or else the rows of `only`, where it is given.
    Rows of `excluded` are no candidates.
    The encoder's probability weighs 1 - `knn_weight`, the votes `knn_weight`. The best `kept` candidates are returned.
    """

    query: Float32
    near: Near
    votes: tuple[Int64, Float64]
    floors: tuple[Int64, Float32]
    excluded: Int64
    knn_weight: float
    popular: int
    kept: int
    only: Int64 | None = None


class Blender:
    """Blend one session at a time. It keeps scratch memory, so one serves one thread."""

    def __init__(self, items: Items, steepness: float) -> None:
        """`steepness` multiplies a cosine in the exponent of the encoder's softmax."""
        self._items, self._steepness = items, np.float32(steepness)
        self._by_row: Float32 = np.zeros(len(items.vectors), np.float32)
        self._dropped: NDArray[np.bool_] = items.out_of_stock.copy()
        self._query: Float32 = np.empty(items.vectors.shape[1], np.float32)

    def blend(self, asked: Question) -> Shortlist:
        """Return the best candidates."""
        items, near, share = self._items, asked.near, np.float32(asked.knn_weight)
        candidates = asked.only
        if candidates is None:
            popular = items.by_popularity[: asked.popular]
            candidates = np.concatenate([near.rows, popular, asked.floors[0], asked.votes[0]])
        self._dropped[asked.excluded] = True
        pool = np.unique(candidates[~self._dropped[candidates]])
        self._dropped[asked.excluded] = items.out_of_stock[asked.excluded]
        votes = values_at(pool, *asked.votes, self._by_row)
        floors = values_at(pool, *asked.floors, self._by_row)
        base = items.popularity[pool] + share * votes
        largest, total = np.float32(near.largest), near.total
        if len(pool) > asked.kept:
            step = query_codes(asked.query, self._query)
            cosines = (items.codes[pool].astype(np.float32) @ self._query) * (items.scales[pool] * step)
            terms = np.exp((cosines - largest) * self._steepness)
            terms[items.unknown[pool]] = 0.0
            scores = np.maximum(terms * np.float32((1 - share) / total) + base, floors)
            best = np.sort(np.lexsort((pool, -scores))[: asked.kept])
            pool, votes, floors, base = pool[best], votes[best], floors[best], base[best]

        # The softmax's sum gets the true terms of those that weigh most in it.
        counted = np.isin(near.rows, np.concatenate([pool, asked.excluded]))
        rows, scanned = near.rows[counted], near.cosines[counted]
        exact = items.vectors[rows] @ asked.query
        change = np.exp((exact - largest) * self._steepness) - np.exp((scanned - largest) * self._steepness)
        probability = np.exp((items.vectors[pool] @ asked.query - largest) * self._steepness)
        probability *= np.float32(1.0 / (total + float(change.sum(dtype=np.float64))))
        probability[items.unknown[pool]] = 0.0
        scores = np.maximum((1 - share) * probability + base, floors)
        order = np.argsort(-scores, kind="stable")
        return Shortlist(pool[order], scores[order], probability[order], votes[order], floors[order])


def values_at(rows: Int64, given: Int64, values: Float32 | Float64, zeros: Float32) -> Float32:
    """Return a value per row: that of the `given` rows is among `values`, and 0 everywhere else.

    `zeros` is scratch memory with a zero per item, before and after.
    """
    zeros[given] = values
    found = zeros[rows]
    zeros[given] = 0.0
    return found
