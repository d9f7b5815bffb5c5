"""Find the items that are nearest to a vector: every item once, in int8.

An int8 copy of the vectors is a quarter of the bytes, and reading them is what a scan takes its time for.
The cosines found are within about .002. The caller asks for some more items than it needs, and ranks those by the vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.sessions import Float32, Int64

Int8 = NDArray[np.int8]
BLOCK = 64
_HIDDEN = np.float32(-1e30)  # finite: the kernels are compiled for numbers without infinities
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


def query_codes(query: Float32, out: NDArray[np.int8] | Float32) -> np.float32:
    """Write the codes of a vector to `out`; return their scale. A zero vector has zero codes."""
    step = max(np.abs(query).max(), _NEAR_ZERO) / np.float32(127.0)
    out[:] = np.rint(query / step)
    return np.float32(step)


class Blocks:
    """The cosines of all items with one query, and the largest of each block of items that may be shown.

    `penalty` is added to a cosine before it competes for its block's peak; None if every item competes.
    """

    def __init__(self, items: int, hidden: NDArray[np.bool_] | None = None) -> None:
        """Items that are `hidden` are never the reason that `best` looks no further."""
        self.penalty: Float32 | None = None
        if hidden is not None and hidden.any():
            self.penalty = np.where(hidden, _HIDDEN, np.float32(0.0))
        # The places after the last item can never be best.
        self._padded: Float32 = np.full((-(-items // BLOCK), BLOCK), -np.inf, np.float32)
        self.cosines: Float32 = self._padded.reshape(-1)[:items]
        self.peaks: Float32 = np.empty(len(self._padded), np.float32)

    def best(self, count: int) -> Int64:
        """Return rows that include the `count` shown ones with the largest cosines; all rows if fewer are shown."""
        # Each of the `count` highest peaks is an item, so no item below the last of them is among the best.
        peaks = self.peaks
        bound = np.partition(peaks, -count)[-count] if count < len(peaks) else _HIDDEN
        blocks = np.flatnonzero(peaks >= bound)
        block, place = np.divmod(np.flatnonzero(self._padded[blocks] >= bound), BLOCK)
        return np.asarray(blocks[block] * BLOCK + place)


class Scanner:
    """Compare one query at a time with all codes. It keeps scratch memory, so one serves one thread."""

    def __init__(self, codes: Int8, scales: Float32, blocks: Blocks) -> None:
        self._codes, self._scales, self._blocks = codes, scales, blocks
        self._floats: Float32 = np.empty((_CHUNK, codes.shape[1]), np.float32)
        self._query: Float32 = np.empty(codes.shape[1], np.float32)
        self._scratch: Float32 = np.full(len(blocks.peaks) * BLOCK, -np.inf, np.float32)

    def scan(self, query: Float32, steepness: float) -> tuple[float, float]:
        """Fill the blocks with the cosines of a unit vector and every item.

        Returns the largest cosine, and the sum of exp((cosine - largest) * steepness), which divides a softmax of cosines.
        """
        cosines, items = self._blocks.cosines, len(self._codes)
        step = query_codes(query, self._query)
        # Sums of products of codes are whole numbers, which float32 holds exactly for up to a thousand dimensions.
        for begin in range(0, items, _CHUNK):
            codes = self._codes[begin : begin + _CHUNK]
            floats = self._floats[: len(codes)]
            np.copyto(floats, codes)
            np.dot(floats, self._query, out=cosines[begin : begin + len(codes)])
        scratch = self._scratch[:items]
        np.multiply(self._scales, step, out=scratch)
        np.multiply(cosines, scratch, out=cosines)
        np.copyto(scratch, cosines)
        if self._blocks.penalty is not None:
            scratch += self._blocks.penalty
        self._scratch.reshape(-1, BLOCK).max(axis=1, out=self._blocks.peaks)
        largest = cosines.max()
        np.subtract(cosines, largest, out=scratch)
        scratch *= np.float32(steepness)
        np.exp(scratch, out=scratch)
        return float(largest), float(scratch.sum())
