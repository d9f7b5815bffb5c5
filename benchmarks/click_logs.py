"""Generate click logs with the size and shape of public ones, as packed sessions: for speed, not for accuracy.

The code is vectorized over all events of a part of the log: 195 million take about a minute and 4 GB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training_jobs.serving.sessions import Int32, Int64, Sessions

ITEMS_A_CLUSTER = 50
SHARE_OF_STEPS = 0.6  # share of clicks that follow from the click before; the others are drawn by popularity
ZIPF_SHIFT = (
    50.0  # popularity falls as 1 / (rank + this): the first item has about .3 % of 37,000 items' clicks
)
LONGEST = 200
_PART_EVENTS = 4_000_000
_BEGIN_MS = 1_600_000_000_000
_CLICK_MS = 30_000


@dataclass(frozen=True)
class Size:
    """The size of a log."""

    events: int
    items: int
    mean_length: float


# As published, without sessions of one click: Yoochoose's training clicks, OTTO's clicks.
SIZES = {"yoochoose": Size(31_637_239, 37_483, 3.97), "otto": Size(194_720_954, 1_855_603, 15.1)}


def generate(size: Size, seed: int, ranks_seed: int | None = None) -> Sessions:
    """Generate sessions of two clicks or more with geometric lengths, ordered by their last click.

    Items form clusters of similar popularity, each a ring: most clicks are one to three steps after the click before.
    Popular items and neighbours have random rows in the vocabulary, so that memory access is as random as a shop's. Logs with one
    `ranks_seed` have the same rows, so that together they are one shop's.
    """
    rng = np.random.default_rng(seed)
    offsets = _offsets(size, rng)
    row_of_rank = rng.permutation(size.items).astype(np.int32)
    if ranks_seed is not None:
        row_of_rank = np.random.default_rng(ranks_seed).permutation(size.items).astype(np.int32)
    items = np.empty(size.events, np.int32)
    times_ms = np.empty(size.events, np.int64)
    cuts = np.searchsorted(offsets, np.arange(0, size.events, _PART_EVENTS)).tolist()
    for first, last in zip(cuts, [*cuts[1:], len(offsets) - 1], strict=True):
        part = slice(offsets[first], offsets[last])
        begin = offsets[first : last + 1] - offsets[first]
        lengths = np.diff(begin)
        items[part] = row_of_rank[_ranks(begin, size.items, rng)]
        to_go = np.repeat(begin[1:], lengths) - np.arange(begin[-1]) - 1
        ends_ms = _BEGIN_MS + np.arange(first, last) * 100
        times_ms[part] = np.repeat(ends_ms, lengths) - to_go * _CLICK_MS
    return Sessions(items, offsets, times_ms)


def _offsets(size: Size, rng: np.random.Generator) -> Int64:
    """Return where sessions begin. The last one is cut, so that the log has exactly `size.events` events."""
    sessions = int(size.events / size.mean_length * 1.05) + 1000
    lengths = np.minimum(rng.geometric(1 / (size.mean_length - 1), sessions) + 1, LONGEST)
    ends = np.cumsum(lengths)
    whole = int(np.searchsorted(ends, size.events))
    return np.concatenate(([0], ends[:whole], [size.events]), dtype=np.int64)


def _ranks(begin: Int64, items: int, rng: np.random.Generator) -> Int64:
    """Return the clicked popularity ranks: runs of steps around a cluster, each run from a fresh draw."""
    events = int(begin[-1])
    fresh = rng.random(events, dtype=np.float32) >= SHARE_OF_STEPS
    fresh[begin[:-1]] = True
    drawn = _popular(int(fresh.sum()), items, rng)
    # One to three steps, most often one. The position in a run is a difference of running sums.
    steps = np.cumsum(1 + (3 * rng.random(events, dtype=np.float32) ** 2).astype(np.int64))
    run = np.cumsum(fresh) - 1
    steps -= steps[fresh][run]
    origin = drawn[run]
    cluster = origin // ITEMS_A_CLUSTER * ITEMS_A_CLUSTER
    size = np.minimum(items - cluster, ITEMS_A_CLUSTER)
    return np.asarray(cluster + (origin - cluster + steps) % size, np.int64)


def _popular(draws: int, items: int, rng: np.random.Generator) -> Int32:
    """Draw ranks with probability proportional to 1 / (rank + ZIPF_SHIFT), by the inverse of its integral."""
    at = ZIPF_SHIFT * ((1 + items / ZIPF_SHIFT) ** rng.random(draws) - 1)
    return np.asarray(np.minimum(at, items - 1), np.int32)
