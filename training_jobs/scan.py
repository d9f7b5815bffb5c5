"""Which items are nearest to a vector: every item once, in int8, as fast as memory can be read.

An int8 copy of the vectors is a quarter of the bytes. numkong has the dot products for each processor and picks them at run
time; where it is not installed the float vectors themselves are used, with the same answers. What is found is approximate
(cosines within about .002): the caller asks for some more than it needs, and ranks those by the vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.data import Float32, Int64

try:
    import numkong
except ImportError:  # the training container has none
    numkong = None  # type: ignore[assignment]

Int8 = NDArray[np.int8]
_BLOCK = 64


def quantise(vectors: Float32) -> tuple[Int8, Float32]:
    """Codes [items, dim] and one scale an item: codes * scale is the vector, each number within half a scale."""
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    scales = np.asarray(np.where(largest > 0, largest, 1.0) / 127.0, np.float32)
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales


def dequantised(codes: Int8, scales: Float32) -> Float32:
    """The vectors that the codes stand for."""
    return codes * scales[:, None]


class Scan:
    """Answers one query at a time: it keeps scratch memory. Without codes it reads the vectors themselves."""

    def __init__(self, vectors: Float32, codes: Int8 | None = None, scales: Float32 | None = None) -> None:
        self.items = len(vectors)
        self._vectors = vectors
        blocks = -(-self.items // _BLOCK)
        # Items of one column are a block; the places after the last item can never be best.
        self._padded: Float32 = np.full((_BLOCK, blocks), -np.inf, np.float32)
        self._cosines = self._padded.reshape(-1)[: self.items]
        self._packed: Any = None
        if numkong is not None and codes is not None and scales is not None and self.items:
            self._packed = numkong.dots_pack(codes)
            self._scales = scales
            self._out = numkong.zeros((1, self.items), dtype="int32")
            self._dots = np.asarray(self._out)[0]

    @property
    def uses_codes(self) -> bool:
        return self._packed is not None

    def cosines(self, query: Float32) -> Float32:
        """Of a unit vector and every item. The array is this object's own: it may be written to, and lasts till the next call."""
        if self._packed is None:
            return np.dot(self._vectors, query, out=self._cosines)
        step = np.abs(query).max() / np.float32(127.0)
        code = np.rint(query / step).astype(np.int8)
        numkong.dots_packed(code[None], self._packed, out=self._out)
        np.multiply(self._dots, self._scales, out=self._cosines, dtype=np.float32, casting="unsafe")
        self._cosines *= step
        return self._cosines

    def best(self, count: int) -> Int64:
        """At least the `count` rows with the largest values in `cosines` as it is by now; fewer where only -inf is left."""
        peaks = self._padded.max(axis=0)
        # Each of the `count` highest peaks is an item, so no item below the last of them is among the best.
        bound = np.partition(peaks, -count)[-count] if count < len(peaks) else -np.inf
        return np.flatnonzero(self._cosines >= max(bound, np.finfo(np.float32).min))
