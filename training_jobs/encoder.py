"""The trained encoder in numpy: what the endpoint and the gate run. model.py is its twin in torch (a test compares)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training_jobs.data import Float32, Int32, Int64

INPUT_SCALE = 0.3
_EPSILON = np.float32(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class EncoderWeights:
    """`vectors` holds a unit vector an item; `tensors` the rest, named as in model.py."""

    vectors: Float32
    tensors: Mapping[str, Float32]
    heads: int
    temperature: float

    @property
    def dim(self) -> int:
        return int(self.vectors.shape[1])

    @property
    def max_length(self) -> int:
        return int(self.tensors["position"].shape[0])

    @property
    def layers(self) -> int:
        return sum(name.endswith("norm_feed.weight") for name in self.tensors)


def save_weights(path: Path, weights: EncoderWeights) -> None:
    scalars: dict[str, Any] = {
        "heads": np.int64(weights.heads),
        "temperature": np.float64(weights.temperature),
    }
    arrays: dict[str, Any] = {f"tensor/{k}": v for k, v in weights.tensors.items()}
    np.savez(path, vectors=weights.vectors, **scalars, **arrays)


def load_weights(path: Path) -> EncoderWeights:
    with np.load(path, allow_pickle=False) as file:
        tensors = {
            name.removeprefix("tensor/"): file[name] for name in file.files if name.startswith("tensor/")
        }
        return EncoderWeights(file["vectors"], tensors, int(file["heads"]), float(file["temperature"]))


def encode(weights: EncoderWeights, prefixes: Sequence[Int32]) -> Float32:
    """One unit vector for each prefix (none may be empty). Prefixes of like length are padded together."""
    length = np.array([min(len(prefix), weights.max_length) for prefix in prefixes])
    size = np.ceil(np.log2(length))
    out = np.empty((len(prefixes), weights.dim), np.float32)
    for one in np.unique(size):
        rows = np.flatnonzero(size == one)
        out[rows] = _encode(weights, [prefixes[row] for row in rows.tolist()], length[rows])
    return out


def _encode(weights: EncoderWeights, prefixes: Sequence[Int32], length: Int64) -> Float32:
    rows = np.zeros((len(prefixes), int(length.max())), np.int64)
    for row, prefix in enumerate(prefixes):
        rows[row, : length[row]] = prefix[-weights.max_length :]
    t = weights.tensors
    raw = weights.vectors[rows] * np.float32(math.sqrt(weights.dim) * INPUT_SCALE)
    x = raw + t["position"][: rows.shape[1]]
    at = np.arange(rows.shape[1])
    distance = np.maximum(at[:, None] - at[None], 0)
    causal = np.where(at[:, None] >= at[None], 0.0, -np.inf).astype(np.float32)
    bias = t["relative"][:, distance] + causal
    for layer in range(weights.layers):
        x = _layer(x, bias, t, f"layers.{layer}.", weights.heads)
    last = np.arange(len(rows)), length - 1
    y = _rms_norm(x, t["norm.weight"])
    own = y[last]
    query = _linear(own, t, "pool_query")
    key = _linear(y, t, "pool_key")
    logits = np.einsum("bld,bd->bl", key, query) / np.float32(math.sqrt(weights.dim))
    pooled = np.einsum("bl,bld->bd", _softmax(logits + bias[0][length - 1]), raw)
    out = pooled + t["residual_gate"] * own
    norm = np.sqrt((out * out).sum(axis=1, keepdims=True))
    return np.asarray(out / np.maximum(norm, 1e-12), dtype=np.float32)


def probabilities(weights: EncoderWeights, prefixes: Sequence[Int32], sharpness: float = 1.0) -> Float32:
    """Probability of every item to come next, one row for each prefix."""
    logits = encode(weights, prefixes) @ weights.vectors.T
    logits *= np.float32(sharpness / weights.temperature)
    return _softmax(logits)


def _layer(x: Float32, bias: Float32, t: Mapping[str, Float32], at: str, heads: int) -> Float32:
    batch, length, dim = x.shape
    normed = _rms_norm(x, t[at + "norm_attention.weight"])
    qkv = _linear(normed, t, at + "qkv").reshape(batch, length, 3, heads, dim // heads)
    q, k, v = qkv.transpose(2, 0, 3, 1, 4)
    weights = _softmax(q @ k.swapaxes(-1, -2) / np.float32(math.sqrt(dim // heads)) + bias[None])
    seen = (weights @ v).transpose(0, 2, 1, 3).reshape(batch, length, dim)
    x = x + _linear(seen, t, at + "out") * _sigmoid(_linear(normed, t, at + "gate_attention"))
    normed = _rms_norm(x, t[at + "norm_feed.weight"])
    up, gate = np.split(_linear(normed, t, at + "feed_in"), 2, axis=-1)
    fed = _linear(up * (gate * _sigmoid(gate)), t, at + "feed_out")
    return np.asarray(x + fed * _sigmoid(_linear(normed, t, at + "gate_feed")))


def _linear(x: Float32, t: Mapping[str, Float32], name: str) -> Float32:
    flat = x.reshape(-1, x.shape[-1]) @ t[name + ".weight"].T + t[name + ".bias"]
    return np.asarray(flat.reshape(*x.shape[:-1], -1))


def _rms_norm(x: Float32, scale: Float32) -> Float32:
    return np.asarray(x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + _EPSILON) * scale)


def _sigmoid(x: Float32) -> Float32:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)), dtype=np.float32)


def _softmax(x: Float32) -> Float32:
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), dtype=np.float32)
