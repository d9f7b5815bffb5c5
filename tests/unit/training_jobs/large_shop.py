"""A shop large enough that an answer cannot come from scoring everything: no training, only shapes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch

from tests.unit.training_jobs import shop
from training_jobs import baselines
from training_jobs.data import Sessions, no_content
from training_jobs.knn import build_index
from training_jobs.model import Encoder, EncoderSettings
from training_jobs.pipeline import encoder_weights
from training_jobs.recommend import LENGTH_BUCKETS, BlendSettings, Recommender
from training_jobs.revisit import KINDS
from training_jobs.scan import quantise


def large_shop(
    items: int, silent: int, knn_weight: float, seed: int = 0, out_of_stock: Collection[str] = ()
) -> tuple[Recommender, Sessions]:
    """Vectors in groups as a trained encoder leaves them, `silent` items that nothing is known of, sessions on a ring."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    weights = encoder_weights(Encoder(items, EncoderSettings(dim=32, max_length=10), no_content(items)))
    centres = rng.normal(size=(items // 20, 32))
    vectors = centres[rng.integers(0, len(centres), items)] + 0.7 * rng.normal(size=(items, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[rng.choice(items, silent, replace=False)] = 0.0
    weights = replace(weights, vectors=vectors.astype(np.float32))
    sessions = shop.walks(600, items, seed)
    factors = tuple(tuple(row) for row in rng.uniform(0.2, 3.0, (len(LENGTH_BUCKETS), KINDS)).tolist())
    shares = (knn_weight / 2, *[knn_weight] * 3)
    blend = BlendSettings(shares, encoder_revisit=factors, knn_revisit=factors[::-1])
    popularity = baselines.popularity(sessions, items)
    names = [f"sku-{row}" for row in range(items)]
    codes = quantise(weights.vectors)
    return Recommender(
        names, weights, build_index(sessions, items), popularity, blend, codes, out_of_stock
    ), sessions
