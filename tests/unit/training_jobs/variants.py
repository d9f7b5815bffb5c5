"""Models spoilt on purpose, as whole archives: the gate must refuse each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from training_jobs.serving.encoder_numpy import EncoderWeights
from training_jobs.serving.knn import build_index
from training_jobs.serving.model_files import load_golden, load_recommender
from training_jobs.serving.ranker import Ranker
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import pack
from training_jobs.training.model_writer import (
    fallback_answers,
    golden_sessions,
    save_recommender,
    write_json,
)

Change = Callable[[Recommender], Recommender]


def spoilt(model: Path, into: Path, change: Change, variants: tuple[str, ...] = ("holdout", "")) -> Path:
    """A copy whose recommenders are changed, and whose golden sessions and fallback agree with what it answers now."""
    shutil.copytree(model, into)
    for variant in variants:
        recommender, card = load_recommender(into / variant)
        changed = change(recommender)
        save_recommender(into / variant, changed, replace(card, items=len(changed.vocabulary)))
    served, _ = load_recommender(into)
    asked = [session["items"] for session in load_golden(into)]
    write_json(into / "golden.json", golden_sessions(served, asked))
    write_json(into / "fallback.json", fallback_answers(served, range(len(served.vocabulary))))
    return into


def shuffled_labels(good: Recommender) -> Recommender:
    """Every item under another's name, as after an export that mixed up its join."""
    order = np.random.default_rng(0).permutation(len(good.vocabulary))
    names = [good.vocabulary[at] for at in order]
    return Recommender(names, good.weights, good.index, good.popularity, good.settings, ranker=good.ranker)


def popularity_only(good: Recommender) -> Recommender:
    """The session is ignored."""
    silent = replace(good.weights, vectors=np.zeros_like(good.weights.vectors))
    mute = BlendSettings(0.0, good.settings.knn)
    return Recommender(good.vocabulary, silent, good.index, good.popularity, mute)


def truncated_vocabulary(sessions: Sessions, kept: int) -> Change:
    """Only the first items are known, as after a catalogue that was read by half."""

    def change(good: Recommender) -> Recommender:
        owner = np.repeat(np.arange(len(sessions)), sessions.lengths)
        inside = sessions.items < kept
        few = pack(owner[inside], sessions.items[inside], sessions.times_ms[inside], np.flatnonzero(inside))
        weights = replace(good.weights, vectors=good.weights.vectors[:kept])
        ranker = Ranker(good.ranker.network, good.ranker.facts[:kept]) if good.ranker else None
        return Recommender(
            good.vocabulary[:kept],
            weights,
            build_index(few, kept),
            good.popularity[:kept],
            good.settings,
            ranker=ranker,
        )

    return change


def blurred(amount: float) -> Change:
    """Noise on every item vector, and no neighbours to make up for it: a model that has learnt less."""

    def change(good: Recommender) -> Recommender:
        noise = np.random.default_rng(1).normal(size=good.weights.vectors.shape)
        vectors = good.weights.vectors + amount * noise.astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        weights: EncoderWeights = replace(good.weights, vectors=vectors)
        mute = BlendSettings(0.0, good.settings.knn)
        return Recommender(good.vocabulary, weights, good.index, good.popularity, mute)

    return change
