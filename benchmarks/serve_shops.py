"""Generate shops to serve: item vectors in groups, as a trained encoder has them, and a matching session-kNN index.

Nothing is trained: speed depends on shapes and on the distribution of scores, not on the quality of recommendations.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from training_jobs.gate import baselines
from training_jobs.serving import model_files
from training_jobs.serving.knn import build_index
from training_jobs.serving.ranker import CANDIDATE_FEATURES, CONTEXT_FEATURES, Network, Ranker, item_facts
from training_jobs.serving.scan import quantise
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import Float32, Int32, Sessions
from training_jobs.snapshot.dataset import no_content, pack
from training_jobs.training import model_writer
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.fit_ranker import HIDDEN
from training_jobs.training.job import encoder_weights
from training_jobs.training.model_writer import copy_serving_code

ITEMS_A_GROUP = 50
SESSIONS = 200_000


def made_up(items: int, seed: int) -> tuple[Recommender, list[Int32]]:
    """Make a recommender of `items` items (d=128, two layers, 200,000 past sessions), and sessions to request."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    group = np.sort(rng.integers(0, items // ITEMS_A_GROUP, items))
    blank = encoder_weights(Encoder(1, EncoderSettings(), no_content(1)))
    weights = replace(blank, vectors=_vectors(group, blank.dim, rng))
    sessions = _sessions(group, rng)
    recommender = Recommender(
        [f"sku-{row:07}" for row in range(items)],
        weights,
        build_index(sessions, items, 1000),
        baselines.popularity(sessions, items),
        BlendSettings(),
        quantise(weights.vectors),
        ranker=Ranker(_network(rng), item_facts(sessions, items)),
    )
    asked = [sessions.session(row)[:-1] for row in rng.choice(len(sessions), 2000, replace=False)]
    return recommender, [prefix for prefix in asked if len(prefix)]


def _network(rng: np.random.Generator) -> Network:
    """Make a ranker of the trained size, with weights too small to change the order much."""
    layers = [(len(CANDIDATE_FEATURES), HIDDEN), (len(CONTEXT_FEATURES), HIDDEN), (HIDDEN,)]
    layers += [(HIDDEN, HIDDEN), (HIDDEN,), (HIDDEN,)]
    return Network(*(0.01 * rng.standard_normal(shape, dtype=np.float32) for shape in layers))


def _vectors(group: np.ndarray, dim: int, rng: np.random.Generator) -> Float32:
    centres = rng.standard_normal((int(group.max()) + 1, dim), dtype=np.float32)
    vectors = 0.7 * rng.standard_normal((len(group), dim), dtype=np.float32)
    vectors += centres[group]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors, np.float32)


def _sessions(group: np.ndarray, rng: np.random.Generator) -> Sessions:
    """Make sessions of clicks within a popular group, on its popular items; one click in ten is anywhere."""
    lengths = np.minimum(rng.geometric(0.25, SESSIONS), 30) + 1
    owner = np.repeat(np.arange(SESSIONS), lengths)
    groups = int(group.max()) + 1
    chosen = np.repeat((groups * rng.random(SESSIONS) ** 2).astype(np.int64), lengths)
    begin = np.searchsorted(group, np.arange(groups + 1))
    size = np.maximum(begin[chosen + 1] - begin[chosen], 1)
    items = begin[chosen] + (size * rng.random(len(owner)) ** 2).astype(np.int64)
    stray = rng.random(len(owner)) < 0.1
    items[stray] = (len(group) * rng.random(int(stray.sum())) ** 2).astype(np.int64)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    times_ms = 1_700_000_000_000 + owner * 10_000 + place * 1000
    return pack(owner, np.minimum(items, len(group) - 1).astype(np.int32), times_ms, place)


def write_archive(recommender: Recommender, directory: Path) -> Path:
    """Write the archive as training does, without the parts that only the gate reads."""
    card = model_files.ModelCard("bench", "made up", {}, 0, 0, {}, len(recommender.vocabulary))
    model_writer.save_recommender(directory, recommender, card)
    copy_serving_code(directory / "code")
    model_writer.write_checksums(directory)
    return directory
