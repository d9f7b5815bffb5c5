"""Which items are nearest to a vector: every item once, in int8, as fast as memory can be read.

An int8 copy of the vectors is a quarter of the bytes. The model's own kernel (native/scan.c) reads them in one pass; where it is
not there, numkong has the products for each processor; where that is not installed either, the float vectors themselves are
used. The answers are the same. What is found in int8 is approximate (cosines within about .002): the caller asks for some
more than it needs, and ranks those by the vectors.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.kernel import Kernel, ScanArguments, address
from training_jobs.serving.sessions import Float32, Int64

try:
    import numkong
except ImportError:  # the training container has none
    numkong = None  # type: ignore[assignment]

Int8 = NDArray[np.int8]
_BLOCK = 64
_HIDDEN = np.float32(-1e30)  # finite: the kernel is compiled for numbers without infinities


def quantise(vectors: Float32) -> tuple[Int8, Float32]:
    """Codes [items, dim] and one scale an item: codes * scale is the vector, each number within half a scale."""
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    scales = np.asarray(np.where(largest > 0, largest, 1.0) / 127.0, np.float32)
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales


def dequantised(codes: Int8, scales: Float32) -> Float32:
    """Return the vectors that the codes stand for."""
    return codes * scales[:, None]


class Scan:
    """Answers one query at a time: it keeps scratch memory. Without codes it reads the vectors themselves."""

    def __init__(
        self,
        vectors: Float32,
        codes: tuple[Int8, Float32] | None = None,
        hidden: NDArray[np.bool_] | None = None,
        kernel: Kernel | None = None,
    ) -> None:
        """`codes` are the vectors' codes and scales (quantise).

        Items that are `hidden` are never the reason that `best` looks no further.
        """
        self.items = len(vectors)
        self._vectors = vectors
        self._hidden: Float32 | None = None
        if hidden is not None and hidden.any():
            self._hidden = np.where(hidden, _HIDDEN, np.float32(0.0))
        # The places after the last item can never be best.
        self._blocks: Float32 = np.full((-(-self.items // _BLOCK), _BLOCK), -np.inf, np.float32)
        self._peaks: Float32 = np.empty(len(self._blocks), np.float32)
        self.cosines: Float32 = self._blocks.reshape(-1)[: self.items]
        self.library = "numpy"
        if codes is None or not self.items:
            return
        self._codes, self._scales = (np.ascontiguousarray(array) for array in codes)
        self._code = np.empty(self._codes.shape[1], np.int8)
        if kernel is not None:
            self.library, self._kernel = "kernel", kernel.scan
            self._arguments = ScanArguments(
                codes=address(self._codes, np.int8, self.items, vectors.shape[1]),
                query=address(self._code, np.int8, vectors.shape[1]),
                scales=address(self._scales, np.float32, self.items),
                hidden=None if self._hidden is None else address(self._hidden, np.float32, self.items),
                items=self.items,
                cosines=address(self.cosines, np.float32, self.items),
                peaks=address(self._peaks, np.float32, len(self._blocks)),
            )
        elif numkong is not None:
            self.library = "numkong"
            self._packed = numkong.dots_pack(self._codes)
            self._out = numkong.zeros((1, self.items), dtype="int32")
            self._dots = np.asarray(self._out)[0]

    @cached_property
    def _scratch(self) -> Float32:
        """As large as the blocks: the kernel needs none."""
        return np.full_like(self._blocks, -np.inf)

    def look(self, query: Float32, steepness: float) -> tuple[float, float]:
        """Fill `cosines` with those of a unit vector and every item.

        Returns the largest and the sum of exp((cosine - largest) * steepness): what a softmax of cosines is divided by.
        """
        if self.library == "numpy":
            np.dot(self._vectors, query, out=self.cosines)
        else:
            step = np.abs(query).max() / np.float32(127.0)
            self._code[:] = np.rint(query / step)
            if self.library == "kernel":
                self._arguments.step, self._arguments.steepness = step, steepness
                self._kernel(self._arguments)
                return self._arguments.largest, self._arguments.total
            numkong.dots_packed(self._code[None], self._packed, out=self._out)
            np.multiply(self._dots, self._scales, out=self.cosines, dtype=np.float32, casting="unsafe")
            self.cosines *= step
        shown, scratch = self._blocks, self._scratch.reshape(-1)[: self.items]
        if self._hidden is not None:
            np.add(self.cosines, self._hidden, out=scratch)
            shown = self._scratch
        shown.max(axis=1, out=self._peaks)
        largest = self.cosines.max()
        np.subtract(self.cosines, largest, out=scratch)
        scratch *= np.float32(steepness)
        np.exp(scratch, out=scratch)
        return float(largest), float(scratch.sum())

    def best(self, count: int) -> Int64:
        """At least the `count` rows with the largest `cosines` that are not hidden, with others; all where there are fewer."""
        # Each of the `count` highest peaks is an item, so no item below the last of them is among the best.
        peaks = self._peaks
        bound = np.partition(peaks, -count)[-count] if count < len(peaks) else _HIDDEN
        blocks = np.flatnonzero(peaks >= bound)
        block, place = np.divmod(np.flatnonzero(self._blocks[blocks] >= bound), _BLOCK)
        return np.asarray(blocks[block] * _BLOCK + place)
