"""Sessions that nobody had: runs of products of one category in order of price, for the index of session-kNN.

A shop's first shoppers leave most items without a session, so session-kNN has no vote for them. Shoppers compare products of
one category and similar prices, and the catalogue shows these from the first hour. Real sessions have higher numbers in the
index. So they are the first among equally similar ones, and their votes outnumber those of the catalogue as they arrive.
"""

from __future__ import annotations

import numpy as np

from training_jobs.serving.sessions import Int64, Sessions, ragged_rows

# No neighbor of session-kNN is longer, and votes fade within a few places.
_LENGTH = 100


def catalogue_sessions(by_price: Sessions) -> Sessions:
    """Return each list in runs of at most _LENGTH items, once upwards and once downwards. Runs of one item are left out.

    In a longer list, the runs downwards begin half a run apart from those upwards. So no item is at an end of both.
    Each place in a list costs two places in the index: 4 int32 numbers, with the postings.

    Args:
        by_price: lists of items in order of price (`ItemContent.by_price`).
    """
    up, down = _runs(by_price.offsets, 0), _runs(by_price.offsets, _LENGTH // 2)
    upwards, downwards = by_price.items, by_price.items[::-1]
    # Read from the end of all lists, the runs are in the other order, and so are the items of each.
    ends = len(by_price.items) - down[::-1]
    items = np.concatenate([upwards, downwards])
    offsets = np.concatenate([up, len(upwards) + ends[1:]])
    long = np.flatnonzero(np.diff(offsets) > 1)
    flat, offsets = ragged_rows(offsets, long)
    return Sessions(items[flat], offsets, np.zeros(len(flat), np.int64))


def _runs(offsets: Int64, first: int) -> Int64:
    """Return the offsets of runs of _LENGTH items. The first run of a longer list ends after `first` items, if that is not 0."""
    sizes = np.diff(offsets)
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    cut = ((place - first) % _LENGTH == 0) & (np.repeat(sizes, sizes) > _LENGTH)
    return np.append(np.flatnonzero((place == 0) | cut), offsets[-1]).astype(np.int64)
