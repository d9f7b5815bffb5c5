"""Sessions as packed arrays, and the array types that all files here use.

A session's items are adjacent in one int32 array, oldest first. `offsets` contains the begin of each session.
No function here loops over sessions in Python, so tens of millions of events take seconds. The arrays may be mapped from a
file. Work on all events goes by `blocks` or `slices`, so that its memory does not grow with their number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
BLOCK_EVENTS = 2**20


@dataclass(frozen=True)
class Sessions:
    """Sessions ordered by the time of their last event. `items` holds rows of the vocabulary.

    `networks` holds a number per session: one for each network that sent sessions, 0 where it is unknown. It is None for a
    snapshot without networks. `clients` holds a number per session, one for each client, and is None for a snapshot without
    clients. `kinds` holds a number per interaction: the strength of its event (EVENT_STRENGTHS), 0 for an unknown event. It is
    None for a snapshot without the events' names.
    """

    items: Int32
    offsets: Int64
    times_ms: Int64
    networks: Int32 | None = None
    clients: Int32 | None = None
    kinds: UInt8 | None = None

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
        networks, clients = (None if of is None else of[rows] for of in (self.networks, self.clients))
        kinds = None if self.kinds is None else self.kinds[flat]
        return Sessions(self.items[flat], offsets, self.times_ms[flat], networks, clients, kinds)

    def between(self, first: int, last: int) -> Sessions:
        """Return the sessions from `first` to before `last`. The columns of clicks are views, not copies."""
        begin, end = self.offsets[first], self.offsets[last]
        offsets = (
            self.offsets[: last + 1] if begin == 0 and first == 0 else self.offsets[first : last + 1] - begin
        )
        networks, clients = (None if of is None else of[first:last] for of in (self.networks, self.clients))
        kinds = None if self.kinds is None else self.kinds[begin:end]
        return Sessions(self.items[begin:end], offsets, self.times_ms[begin:end], networks, clients, kinds)

    def ended_before(self, time_ms: int) -> int:
        """Return the number of sessions whose last click is before this time: they come first."""
        return bisect_left(
            range(len(self)), time_ms, key=lambda row: int(self.times_ms[self.offsets[row + 1] - 1])
        )

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield the first session of each block and the one after its last: at most BLOCK_EVENTS events, or one session."""
        first = 0
        while first < len(self):
            end = int(np.searchsorted(self.offsets, self.offsets[first] + BLOCK_EVENTS, side="right")) - 1
            last = max(end, first + 1)
            yield first, last
            first = last

    def clicks(self, items: int) -> Int64:
        """Return the number of clicks per item."""
        counts = np.zeros(items, np.int64)
        for part in slices(len(self.items)):
            counts += np.bincount(self.items[part], minlength=items)
        return counts

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


def slices(rows: int) -> Iterator[slice]:
    """Yield slices of an array of `rows` elements, so that a copy of each is small."""
    return (slice(at, at + BLOCK_EVENTS) for at in range(0, rows, BLOCK_EVENTS))
