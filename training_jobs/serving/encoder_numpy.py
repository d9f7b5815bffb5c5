"""The trained encoder in numpy: what the endpoint and the gate run. encoder_torch.py is its twin in torch (a test compares).

A session takes about thirty small products, so the number of calls decides the time.
Layers that read the same input are one matrix, with the norms' scales and constants multiplied in.
Sessions of one length are computed together, without padding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from training_jobs.serving.sessions import Float32, Int32

INPUT_SCALE = 0.3
_EPSILON = np.float32(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class EncoderWeights:
    """`vectors` holds a unit vector an item; `tensors` the rest, named as in encoder_torch.py."""

    vectors: Float32
    tensors: Mapping[str, Float32]
    heads: int
    temperature: float

    @property
    def dim(self) -> int:
        """Return the dimension of the vectors."""
        return int(self.vectors.shape[1])

    @property
    def max_length(self) -> int:
        """Return the number of clicks that the encoder reads at most."""
        return int(self.tensors["position"].shape[0])

    @property
    def layers(self) -> int:
        """Return the number of layers."""
        return sum(name.endswith("norm_feed.weight") for name in self.tensors)

    @cached_property
    def fused(self) -> Fused:
        """Return the matrices with norms and scales multiplied in, which are computed once."""
        return _fuse(self)


def save_weights(path: Path, weights: EncoderWeights) -> None:
    """Everything but the item vectors."""
    arrays: dict[str, Any] = {f"tensor/{name}": value for name, value in weights.tensors.items()}
    np.savez(path, heads=np.int64(weights.heads), temperature=np.float64(weights.temperature), **arrays)


def load_weights(path: Path, vectors: Float32) -> EncoderWeights:
    """Read the file of `save_weights`, and add the item vectors that belong to it."""
    with np.load(path, allow_pickle=False) as file:
        tensors = {
            name.removeprefix("tensor/"): file[name] for name in file.files if name.startswith("tensor/")
        }
        return EncoderWeights(vectors, tensors, int(file["heads"]), float(file["temperature"]))


def encode(weights: EncoderWeights, prefixes: Sequence[Int32]) -> Float32:
    """One unit vector for each prefix [prefixes, dim] (none may be empty)."""
    by_length: dict[int, list[int]] = {}
    for at, prefix in enumerate(prefixes):
        by_length.setdefault(min(len(prefix), weights.max_length), []).append(at)
    out = np.empty((len(prefixes), weights.dim), np.float32)
    for length, places in by_length.items():
        out[places] = _encode(weights, np.array([prefixes[at][-length:] for at in places]))
    return out


def probabilities(weights: EncoderWeights, prefixes: Sequence[Int32]) -> Float32:
    """Probability of every item to come next, one row for each prefix."""
    logits = encode(weights, prefixes) @ weights.vectors.T
    logits *= np.float32(1.0 / weights.temperature)
    return _softmax(logits)


@dataclass(frozen=True)
class FusedLayer:
    """Matrices [in, out]. `attend`: query, key, value, gate; `feed`: up, swish, gate. Gates are halved for tanh."""

    attend: Float32
    attend_bias: Float32
    out: Float32
    out_bias: Float32
    feed: Float32
    feed_bias: Float32
    feed_out: Float32
    feed_out_bias: Float32


@dataclass(frozen=True)
class Fused:
    """The whole encoder. `biases[n]` [heads, n, n] is what attention adds to logits of a session of n clicks."""

    layers: Sequence[FusedLayer]
    pool: Float32
    pool_bias: Float32
    residual: Float32
    biases: Sequence[Float32]


def _fuse(weights: EncoderWeights) -> Fused:
    t, dim, heads = weights.tensors, weights.dim, weights.heads

    def linear(name: str, norm: Float32 | None = None, scale: float = 1.0) -> tuple[Float32, Float32]:
        matrix, bias = t[name + ".weight"].T * scale, t[name + ".bias"] * scale
        if norm is not None:
            matrix = norm[:, None] * matrix
        return np.ascontiguousarray(matrix, np.float32), np.array(bias, np.float32)

    def multiply(part: slice, factor: float, *arrays: Float32) -> None:
        for array in arrays:
            array[..., part] *= np.float32(factor)

    layers = []
    for number in range(weights.layers):
        at = f"layers.{number}."
        attend = linear(at + "attend", t[at + "norm_attention.weight"])
        # A query's products are divided by the square root of a head's width.
        multiply(slice(dim), 1 / math.sqrt(dim // heads), *attend)
        multiply(slice(3 * dim, None), 0.5, *attend)
        feed = linear(at + "feed", t[at + "norm_feed.weight"])
        multiply(slice(4 * dim, None), 0.5, *feed)
        # sigmoid(x) is (tanh(x / 2) + 1) / 2: its last half goes here, and that of the swish too.
        out, feed_out = linear(at + "out", scale=0.5), linear(at + "feed_out", scale=0.5)
        feed_matrix = np.ascontiguousarray(feed_out[0] * np.float32(0.5))
        layers.append(FusedLayer(*attend, *out, *feed, feed_matrix, feed_out[1]))
    pool, pool_bias = linear("pool", t["norm.weight"])
    multiply(slice(dim, None), 1 / math.sqrt(dim), pool, pool_bias)
    residual = np.asarray(t["residual_gate"] * t["norm.weight"], np.float32)
    place = np.arange(weights.max_length)
    distance = np.maximum(place[:, None] - place[None], 0)
    future = np.where(place[:, None] >= place[None], 0.0, -np.inf).astype(np.float32)
    bias = np.asarray(t["relative"][:, distance] + future, np.float32)
    biases = [np.ascontiguousarray(bias[:, :length, :length]) for length in range(weights.max_length + 1)]
    return Fused(layers, pool, pool_bias, residual, biases)


def _encode(weights: EncoderWeights, rows: Int32) -> Float32:
    """Sessions of one length, [sessions, length] -> [sessions, dim]."""
    fused, dim = weights.fused, weights.dim
    batch, length = rows.shape
    raw = weights.vectors[rows.ravel()]
    raw *= np.float32(math.sqrt(dim) * INPUT_SCALE)
    raw = raw.reshape(batch, length, dim)
    bias = fused.biases[length]
    x = (raw + weights.tensors["position"][:length]).reshape(batch * length, dim)
    for layer in fused.layers:
        x = _layer(x, bias, layer, batch, weights.heads)
    y = _normalised(x)
    keys_and_query = y @ fused.pool
    keys_and_query += fused.pool_bias
    keys_and_query = keys_and_query.reshape(batch, length, 2 * dim)
    logits = keys_and_query[:, :, :dim] @ keys_and_query[:, -1, dim:, None]
    attention = _softmax(logits[:, :, 0] + bias[0, -1])
    out = (attention[:, None] @ raw)[:, 0]
    out += fused.residual * y.reshape(batch, length, dim)[:, -1]
    norm = np.sqrt(np.einsum("bd,bd->b", out, out))[:, None]
    return np.asarray(out / np.maximum(norm, 1e-12), np.float32)


def _layer(x: Float32, bias: Float32, layer: FusedLayer, batch: int, heads: int) -> Float32:
    dim = x.shape[1]
    mixed = _normalised(x) @ layer.attend
    mixed += layer.attend_bias
    split = mixed[:, : 3 * dim].reshape(batch, -1, 3, heads, dim // heads)
    query, key, value = split.transpose(2, 0, 3, 1, 4)
    logits = query @ key.swapaxes(-1, -2)
    logits += bias
    seen = (_softmax(logits) @ value).swapaxes(1, 2).reshape(-1, dim) @ layer.out
    seen += layer.out_bias
    seen *= _doubled_sigmoid(mixed[:, 3 * dim :])
    x = x + seen
    mixed = _normalised(x) @ layer.feed
    mixed += layer.feed_bias
    swish = mixed[:, 2 * dim : 4 * dim]
    fed = _doubled_sigmoid(swish * np.float32(0.5))
    fed *= swish
    fed *= mixed[:, : 2 * dim]
    fed = fed @ layer.feed_out
    fed += layer.feed_out_bias
    fed *= _doubled_sigmoid(mixed[:, 4 * dim :])
    x += fed
    return x


def _normalised(x: Float32) -> Float32:
    """Rows with a root mean square of one; the norm's own scale is in the matrix that follows."""
    mean = np.einsum("nd,nd->n", x, x)
    mean /= np.float32(x.shape[1])
    mean += _EPSILON
    return np.asarray(x / np.sqrt(mean)[:, None])


def _doubled_sigmoid(half: Float32) -> Float32:
    """Twice the sigmoid of twice the input."""
    gate = np.tanh(half)
    gate += np.float32(1.0)
    return np.asarray(gate)


def _softmax(x: Float32) -> Float32:
    """Over the last axis, in place."""
    x -= x.max(axis=-1, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(axis=-1, keepdims=True)
    return x
