"""The interface of the kernels. reference.py and compiled.py implement it; load.py chooses between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.blend import Items, Question, Shortlist
from training_jobs.serving.encoder_numpy import EncoderWeights
from training_jobs.serving.knn import KnnIndex, KnnSettings
from training_jobs.serving.ranker import Ranker
from training_jobs.serving.scan import Int8, Near
from training_jobs.serving.sessions import Float32, Float64, Int32, Int64

# A session that is not empty -> its unit vector [dim].
Encode = Callable[[Int32], Float32]
# A session -> the items with a vote, and their votes, with a sum of 1. Both are empty where no neighbor was found.
Vote = Callable[[Int32], tuple[Int64, Float64]]
# A session, the rows of at most SHORTLIST candidates, their probabilities and votes -> how much the logit of each rises.
Rank = Callable[[Int32, Int64, Float32, Float32], Float32]
# A unit vector, a steepness and a count -> the nearest items, among them as many shown ones as the count says.
Scan = Callable[[Float32, float, int], Near]
# A session's evidence -> its best candidates.
Blend = Callable[[Question], Shortlist]


@dataclass(frozen=True)
class Parts:
    """The parts of a model that answers are computed from.

    `knn_weight` is the share of session-kNN, and the encoder has the rest. `new` is a mask over the items that nobody could
    click yet. `return_floor` is the least score of a session's own items by clicks since (returns.py), with `floor_ranked`
    in the ranker's order too. Without a `ranker`, the blend's order is the last word.
    """

    weights: EncoderWeights
    items: Items
    index: KnnIndex
    knn: KnnSettings
    ranker: Ranker | None
    knn_weight: float
    new: NDArray[np.bool_]
    return_floor: Float32
    floor_ranked: bool


class Answer(Protocol):
    """The whole answer to a session that is not empty: the rows of its best items and their scores, the best first."""

    def __call__(
        self,
        prefix: Int32,
        k: int,
        excluded: Int64,
        *,
        query: Float32 | None = None,
        only: Int64 | None = None,
    ) -> tuple[Int64, Float32]:
        """Return at most `k` rows, none of them of `excluded`, and their scores.

        A `query` takes the place of the session's vector, and the ranker is not asked. With `only`, these rows are the
        candidates.
        """
        ...


class Kernels(Protocol):
    """Each method binds an operation to a model's arrays.

    A bound operation keeps scratch memory, so it serves one thread. Its next call overwrites the arrays that it returned.
    """

    @property
    def name(self) -> str:
        """Return the implementation's name, for logs and benchmarks."""
        ...

    def encoder(self, weights: EncoderWeights) -> Encode:
        """Return the operation that encodes one session."""
        ...

    def voter(self, index: KnnIndex, settings: KnnSettings) -> Vote:
        """Return the operation that lets a session's neighbors vote."""
        ...

    def ranker(self, ranker: Ranker, vectors: Float32) -> Rank:
        """Return the operation that judges a shortlist; `vectors` are those of all items."""
        ...

    def scanner(self, codes: Int8, scales: Float32, hidden: NDArray[np.bool_]) -> Scan:
        """Return the operation that finds the items nearest to a vector; `hidden` ones do not count."""
        ...

    def blender(self, items: Items, steepness: float) -> Blend:
        """Return the operation that scores a session's candidates; `steepness` is the encoder's inverse temperature."""
        ...

    def answerer(self, parts: Parts) -> Answer:
        """Return the operation that answers a session: all of the others in turn."""
        ...
