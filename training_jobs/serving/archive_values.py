"""Validate the values of a model's arrays and settings. The compiled kernels use offsets and ids without a check of bounds.

A checksum finds a damaged file. These checks also find what a faulty writer stored with a correct checksum.
Arrays are read in slices, so that an array that is mapped from a file is never whole in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.encoder_numpy import EncoderWeights
from training_jobs.serving.knn import KnnIndex, KnnSettings, weighted_idf
from training_jobs.serving.ranker import CANDIDATE_FEATURES, CONTEXT_FEATURES, Ranker
from training_jobs.serving.returns import CLICKS
from training_jobs.serving.scan import Int8
from training_jobs.serving.session_recommender import BlendSettings
from training_jobs.serving.sessions import Float32

_FACTS = 3
_SLICE = 1 << 20
# The scratch memory of session-kNN has a number per recent session and last item.
_SCRATCH_MAX = 10_000_000


def check_vocabulary(vocabulary: Any) -> None:
    """Raise ValueError unless it is a list of different texts."""
    if not isinstance(vocabulary, list) or not all(isinstance(item, str) for item in vocabulary):
        raise ValueError("a vocabulary that is not a list of texts")
    if len(set(vocabulary)) < len(vocabulary):
        raise ValueError("a vocabulary with an id twice")


def check_weights(weights: EncoderWeights, codes: Int8, scales: Float32, popularity: NDArray[Any]) -> None:
    """Raise ValueError for a number that is not finite, or an encoder that does not fit together."""
    if weights.vectors.ndim != 2 or weights.dim < 1 or weights.heads < 1 or weights.dim % weights.heads:
        raise ValueError(f"vectors {weights.vectors.shape} that {weights.heads} heads cannot divide")
    if weights.max_length < 1 or not 0 < weights.temperature < np.inf:
        raise ValueError(f"a temperature of {weights.temperature} and {weights.max_length} positions")
    _require("vectors", weights.vectors, np.float32, 2)
    _require("codes", codes, np.int8, 2)
    _require("scales", scales, np.float32, 1)
    for name, tensor in weights.tensors.items():
        _require(name, tensor, np.float32, tensor.ndim)
    if popularity.ndim != 1 or popularity.dtype.kind != "f":
        raise ValueError(f"popularity in {popularity.dtype} with {popularity.ndim} dimensions")
    _require_finite("popularity", popularity)
    if popularity.min(initial=0.0) < 0.0 or scales.min(initial=np.float32(0.0)) < 0.0:
        raise ValueError("a negative popularity or scale")


def check_settings(settings: BlendSettings) -> None:
    """Raise ValueError for settings that the kernels cannot compute with."""
    knn = settings.knn
    counts = (knn.recent_sessions, knn.neighbours, knn.last_items)
    if any(isinstance(count, bool) or not isinstance(count, int) or count < 1 for count in counts):
        raise ValueError(f"session-kNN with the counts {counts}: each must be 1 or more")
    if knn.recent_sessions * knn.last_items > _SCRATCH_MAX:
        raise ValueError(f"session-kNN with {knn.recent_sessions} sessions for {knn.last_items} items")
    numbers = [*astuple(knn), settings.knn_weight, *settings.return_floor]
    if not all(isinstance(number, int | float) and np.isfinite(number) for number in numbers):
        raise ValueError(f"settings that are not finite numbers: {numbers}")
    if not 0 <= settings.knn_weight <= 1 or len(settings.return_floor) not in (0, CLICKS):
        raise ValueError(
            f"knn_weight {settings.knn_weight} or {len(settings.return_floor)} floors of returns"
        )


def check_index(index: KnnIndex, settings: KnnSettings) -> None:
    """Raise ValueError unless every offset and id is within its array, and every number is finite."""
    for field in fields(index):
        kind: Any = np.float32
        if field.name in ("posting_sessions", "session_items"):
            kind = np.int32
        elif field.name.endswith("_offsets"):
            kind = np.int64
        _require(field.name, getattr(index, field.name), kind, 1)
    _require_offsets("posting_offsets", index.posting_offsets, len(index.posting_sessions))
    _require_offsets("session_offsets", index.session_offsets, len(index.session_items))
    _require_ids("posting_sessions", index.posting_sessions, index.sessions)
    _require_ids("session_items", index.session_items, index.items)
    ages = index.session_age_days
    if len(ages) != index.sessions or ages.min(initial=np.float32(0.0)) < 0.0:
        raise ValueError(f"{len(ages)} ages of {index.sessions} sessions, or a negative one")
    if len(index.idf) != index.items:
        raise ValueError(f"{len(index.idf)} idf of {index.items} items")
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        _require_finite("idf", weighted_idf(index, settings))


def check_ranker(ranker: Ranker, items: int) -> None:
    """Raise ValueError unless the network has the shapes of the features, and every number is finite."""
    network, hidden = ranker.network, len(ranker.network.out)
    shapes: dict[str, Sequence[int]] = {
        "candidate": (len(CANDIDATE_FEATURES), hidden),
        "context": (len(CONTEXT_FEATURES), hidden),
        "first_bias": (hidden,),
        "second": (hidden, hidden),
        "second_bias": (hidden,),
        "out": (hidden,),
    }
    for name, shape in shapes.items():
        matrix = getattr(network, name)
        if matrix.shape != shape:
            raise ValueError(f"ranker.npz with {name} {matrix.shape} instead of {shape}")
        _require(name, matrix, np.float32, len(shape))
    _require("facts", ranker.facts, np.float32, 2)
    if ranker.facts.shape != (items, _FACTS):
        raise ValueError(f"facts {ranker.facts.shape} instead of {(items, _FACTS)}")


def _require(name: str, array: NDArray[Any], kind: Any, dimensions: int) -> None:
    if array.dtype != kind or array.ndim != dimensions:
        raise ValueError(
            f"{name} in {array.dtype} with {array.ndim} dimensions instead of {np.dtype(kind)} with {dimensions}"
        )
    if array.dtype.kind == "f":
        _require_finite(name, array)


def _require_finite(name: str, array: NDArray[Any]) -> None:
    flat = array.reshape(-1)
    for begin in range(0, len(flat), _SLICE):
        if not np.isfinite(flat[begin : begin + _SLICE]).all():
            raise ValueError(f"{name} with a number that is not finite")


def _require_offsets(name: str, offsets: NDArray[np.int64], length: int) -> None:
    """Offsets start at 0, never fall, and end at the length of the array that they cut."""
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != length:
        raise ValueError(f"{name} that do not cut {length} numbers")
    for begin in range(0, len(offsets) - 1, _SLICE):
        part = offsets[begin : begin + _SLICE + 1]
        if (part[1:] < part[:-1]).any():
            raise ValueError(f"{name} that fall")


def _require_ids(name: str, ids: NDArray[np.int32], limit: int) -> None:
    if len(ids) and not 0 <= ids.min() <= ids.max() < limit:
        raise ValueError(f"{name} from {ids.min()} to {ids.max()} where {limit} exist")
