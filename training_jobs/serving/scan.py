"""Find the items that are nearest to a vector: every item once in two bits per number, the best of them in int8.

A scan takes its time for reading. A sketch of two bits is a quarter of the int8 codes, which are a quarter of the vectors.
Vectors are rotated before they are sketched, so that each number has the same share of the error (RaBitQ, Gao and Long, 2024).
The error of a sketch's cosine has a known deviation, and items within a margin of several deviations get their int8 cosine.
Those are within about .002. The caller asks for some more items than it needs, and ranks those by the vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.sessions import Float32, Int32

Int8 = NDArray[np.int8]
# Cosines are counted in bins. Of a cosine, which is far within [-2, 2).
BINS = 2048
PER_UNIT = 512
# Deviations of a sketch's error between the worst item that is wanted and the worst one that gets its int8 cosine.
MARGIN = 3.0
# The best step between the four levels of a normal number, in deviations (Max, 1960).
_STEP = 0.9957
# The most that the logarithm of the mean exponent can be corrected by: beyond it the errors are not small.
_MOST = 1.0
ROUNDING = 1e-6  # of a cosine, when it gets its bin
_NEAR_ZERO = np.float32(1e-30)
_CHUNK = 1024  # items whose codes are floats at a time: they stay in a processor's cache


def quantise(vectors: Float32) -> tuple[Int8, Float32]:
    """Return codes [items, dim] and one scale per item: codes * scale is the vector, each number within half a scale."""
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    scales = np.asarray(np.where(largest > 0, largest, 1.0) / 127.0, np.float32)
    return np.rint(vectors / scales[:, None]).astype(np.int8, order="C"), scales


def dequantised(codes: Int8, scales: Float32) -> Float32:
    """Return the vectors that the codes stand for."""
    return codes * scales[:, None]


def query_codes(query: Float32, out: Float32) -> np.float32:
    """Write the int8 codes of a vector to `out`; return their scale. A zero vector has zero codes."""
    step = max(np.abs(query).max(), _NEAR_ZERO) / np.float32(127.0)
    np.rint(query / step, out=out)
    return np.float32(step)


@dataclass(frozen=True)
class Sketch:
    """Vectors in two bits per number: `values` [items, dim] are -3, -1, 1 or 3.

    `values` * `scales` is nearest to `vectors` @ `rotation` (least squares). `error` is the deviation of the difference
    between the products of a sketch and of its vector with a unit vector. `zeros` is the number of zero vectors, which have
    no error.
    """

    values: Int8
    scales: Float32
    rotation: Float32
    error: float
    zeros: int


def sketch(codes: Int8, scales: Float32) -> Sketch:
    """Return the sketch of the vectors that the codes stand for. A zero vector has a scale of zero."""
    items, dim = codes.shape
    # A rotation of its own for each dimension, the same in every process.
    rotation = np.linalg.qr(np.random.default_rng(dim).normal(size=(dim, dim)))[0].astype(np.float32)
    values, own_scales = np.empty((items, dim), np.int8), np.empty(items, np.float32)
    squares = 0.0
    for begin in range(0, items, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        rotated = codes[part].astype(np.float32) @ rotation
        norms = np.einsum("id,id->i", rotated, rotated)
        steps = np.sqrt(np.maximum(norms, _NEAR_ZERO) * np.float32(_STEP**2 / dim))
        level = 2.0 * np.clip(np.floor(rotated / steps[:, None]), -2.0, 1.0) + 1.0
        values[part] = level
        products = np.einsum("id,id->i", rotated, level)
        sizes = np.einsum("id,id->i", level, level)
        own_scales[part] = products / sizes * scales[part]
        squares += float(((norms - products**2 / sizes) * scales[part] ** 2).sum(dtype=np.float64))
    zeros = int(np.equal(own_scales, 0.0).sum())
    error = math.sqrt(max(squares, 0.0) / max(items - zeros, 1) / dim)
    return Sketch(values, own_scales, rotation, error, zeros)


class Near(NamedTuple):
    """The items nearest to a vector: `rows` in ascending order, and their int8 cosines.

    `largest` is the largest of these cosines. `total` is the sum of exp((cosine - `largest`) * steepness) over all items,
    which divides a softmax of cosines.
    """

    rows: Int32
    cosines: Float32
    largest: float
    total: float


class Scanner:
    """Compare one query at a time with all items. It keeps scratch memory, so one serves one thread."""

    def __init__(self, codes: Int8, scales: Float32, hidden: NDArray[np.bool_]) -> None:
        """Items that are `hidden` are never the reason that `scan` looks no further."""
        self._codes, self._scales, self._shown = codes, scales, np.logical_not(hidden)
        self._sketch = sketch(codes, scales)
        self._floats: Float32 = np.empty((_CHUNK, codes.shape[1]), np.float32)
        self._query: Float32 = np.empty(codes.shape[1], np.float32)
        self._coarse: Float32 = np.empty(len(codes), np.float32)

    def scan(self, query: Float32, steepness: float, count: int) -> Near:
        """Return the items nearest to a unit vector: they include the `count` shown ones with the largest cosines.

        If fewer than `count` items are shown, all items are returned.
        """
        sketched, coarse = self._sketch, self._coarse
        step = query_codes(query @ sketched.rotation, self._query)
        # Sums of products of codes are whole numbers, which float32 holds exactly for up to a thousand dimensions.
        for begin in range(0, len(coarse), _CHUNK):
            values = sketched.values[begin : begin + _CHUNK]
            floats = self._floats[: len(values)]
            np.copyto(floats, values)
            np.dot(floats, self._query, out=coarse[begin : begin + len(values)])
        coarse *= sketched.scales * step
        rows = np.flatnonzero(coarse >= least(coarse[self._shown], count, margin_of(sketched.error)))

        step = query_codes(query, self._query)
        cosines = (self._codes[rows].astype(np.float32) @ self._query) * (self._scales[rows] * step)
        largest = cosines.max()
        terms = np.exp((coarse - largest) * np.float32(steepness))
        # The terms of the others err by little and independently.
        terms *= np.where(sketched.scales, np.float32(correction(steepness, sketched.error)), np.float32(1.0))
        total = float(terms.sum(dtype=np.float64)) - float(terms[rows].sum(dtype=np.float64))
        total = max(total, 0.0) + float(
            np.exp((cosines - largest) * np.float32(steepness)).sum(dtype=np.float64)
        )
        near = cosines >= least(cosines[self._shown[rows]], count, np.float32(ROUNDING))
        return Near(rows[near].astype(np.int32), cosines[near], float(largest), total)


def margin_of(error: float) -> np.float32:
    """Return how far below the worst wanted item the cosine of a sketch may be, for an `error` of sketches."""
    return np.float32(MARGIN * error + ROUNDING)


def correction(steepness: float, error: float) -> float:
    """Return the mean of exp(a cosine's error * steepness), inverted: the errors of least squares shrink the cosines."""
    return math.exp(min((steepness * error) ** 2 / 2, _MOST))


def least(cosines: Float32, count: int, margin: np.float32) -> np.float32:
    """Return the lower edge of the bin of the `count`-th largest cosine, less `margin`; -inf if there are fewer."""
    if len(cosines) < count:
        return np.float32(-np.inf)
    bins = ((cosines + np.float32(2.0)) * np.float32(PER_UNIT)).astype(np.int32)
    from_top = np.cumsum(np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)[::-1])
    edge = BINS - 1 - int(np.searchsorted(from_top, count))
    return np.float32(np.float32(edge / PER_UNIT) - np.float32(2.0) - margin)
