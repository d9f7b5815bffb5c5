"""A shop large enough that an answer cannot come from scoring everything: no training, only shapes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch

from tests.unit.training_jobs import shop
from training_jobs.gate import baselines
from training_jobs.serving.knn import build_index
from training_jobs.serving.ranker import CANDIDATE_FEATURES, CONTEXT_FEATURES, Network, Ranker, item_facts
from training_jobs.serving.scan import quantise
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import no_content
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.job import encoder_weights


def large_shop(
    items: int,
    silent: int,
    knn_weight: float,
    seed: int = 0,
    out_of_stock: Collection[str] = (),
    ranked: bool = True,
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
    popularity = baselines.popularity(sessions, items)
    names = [f"sku-{row}" for row in range(items)]
    return Recommender(
        names,
        weights,
        build_index(sessions, items),
        popularity,
        BlendSettings(knn_weight),
        quantise(weights.vectors),
        out_of_stock,
        Ranker(made_up_network(seed), item_facts(sessions, items)) if ranked else None,
    ), sessions


def made_up_network(seed: int, hidden: int = 16) -> Network:
    """A network that has learnt nothing and reorders all the same."""
    rng = np.random.default_rng(seed)

    def matrix(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    return Network(
        matrix(len(CANDIDATE_FEATURES), hidden),
        matrix(len(CONTEXT_FEATURES), hidden),
        matrix(hidden),
        matrix(hidden, hidden),
        matrix(hidden),
        matrix(hidden),
    )
