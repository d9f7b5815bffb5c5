"""Sessions as packed arrays, and the array types that all files here use.

A session's items are adjacent in one int32 array, oldest first. `offsets` contains the begin of each session.
No function here loops over sessions in Python, so tens of millions of events take seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class Sessions:
    """Sessions ordered by the time of their last event. `items` holds rows of the vocabulary."""

    items: Int32
    offsets: Int64
    times_ms: Int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64:
        """Return the number of clicks per session."""
        return np.diff(self.offsets)

    @property
    def starts_ms(self) -> Int64:
        """Return the time of the first click per session."""
        return self.times_ms[self.offsets[:-1]]

    @property
    def ends_ms(self) -> Int64:
        """Return the time of the last click per session."""
        return self.times_ms[self.offsets[1:] - 1]

    def take(self, rows: NDArray[Any]) -> Sessions:
        """Return the sessions at `rows` (indices or a mask), in that order."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64)
        flat, offsets = ragged_rows(self.offsets, rows)
        return Sessions(self.items[flat], offsets, self.times_ms[flat])

    def session(self, row: int) -> Int32:
        """Return the items of one session."""
        return self.items[self.offsets[row] : self.offsets[row + 1]]


def ragged_rows(offsets: Int64, rows: Int64) -> tuple[Int64, Int64]:
    """Return flat indices of the given rows of a packed array, and the offsets of the result."""
    lengths = offsets[rows + 1] - offsets[rows]
    out = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=out[1:])
    flat = np.arange(out[-1], dtype=np.int64) + np.repeat(offsets[rows] - out[:-1], lengths)
    return flat, out
