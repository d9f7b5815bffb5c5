"""The kernels in numpy: the reference of the compiled ones, and what answers without them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.answer import Answerer
from training_jobs.serving.blend import Blender, Items
from training_jobs.serving.encoder_numpy import EncoderWeights, encode
from training_jobs.serving.kernels.interface import Answer, Blend, Encode, Parts, Rank, Scan, Vote
from training_jobs.serving.knn import KnnIndex, KnnScorer, KnnSettings
from training_jobs.serving.ranker import Ranker, candidate_features
from training_jobs.serving.scan import Int8, Scanner
from training_jobs.serving.sessions import Float32, Int32, Int64


class Reference:
    """The mathematics of answer.py, blend.py, encoder_numpy.py, knn.py, ranker.py and scan.py."""

    name = "numpy"

    def encoder(self, weights: EncoderWeights) -> Encode:
        """Implement Kernels.encoder."""
        return lambda prefix: np.asarray(encode(weights, [prefix])[0])

    def voter(self, index: KnnIndex, settings: KnnSettings) -> Vote:
        """Implement Kernels.voter."""
        return KnnScorer(index, settings).score

    def ranker(self, ranker: Ranker, vectors: Float32) -> Rank:
        """Implement Kernels.ranker."""

        def rank(prefix: Int32, rows: Int64, probability: Float32, votes: Float32) -> Float32:
            features = candidate_features(prefix, rows, probability, votes, vectors, ranker.facts)
            return ranker.network(*features)

        return rank

    def scanner(self, codes: Int8, scales: Float32, hidden: NDArray[np.bool_]) -> Scan:
        """Implement Kernels.scanner."""
        return Scanner(codes, scales, hidden).scan

    def blender(self, items: Items, steepness: float) -> Blend:
        """Implement Kernels.blender."""
        return Blender(items, steepness).blend

    def answerer(self, parts: Parts) -> Answer:
        """Implement Kernels.answerer."""
        return Answerer(parts, self).answer


REFERENCE = Reference()
