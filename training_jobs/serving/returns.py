"""The rates at which shoppers go back to an item that they viewed earlier in the session.

A ranker that is fitted to one day has seen few returns, and can sink an item that shoppers do go back to. The rates here
are counted over all sessions. Half a rate is the least score that an item of the session gets.
"""

from __future__ import annotations

import numpy as np

from training_jobs.serving.sessions import Float32, Int32, Int64, Sessions

# The largest number of clicks since an item's last view.
CLICKS = 50
# Share of the observed rate, measured on generated shops (docs/decisions/0021).
_SHARE = 0.5
# Relative, so that two places with equal rates still have an order.
_TIE_BREAK = 1e-4


def return_floor(sessions: Sessions) -> tuple[float, ...]:
    """Count returns and return the least score of the item viewed 0, 1, ... CLICKS - 1 clicks before the last one.

    A rate belongs to a distance `back`. It is a share of the clicks with more than `back` clicks before them. Those count whose
    item was viewed last `back` clicks before the preceding click. Empty where no session has two clicks.
    """
    lengths = sessions.lengths
    if not (lengths >= 2).any():
        return ()
    returns = np.zeros(CLICKS, np.int64)
    for first, last in sessions.blocks():
        returns += _returns(sessions.between(first, last))
    # A session of n clicks has n - 1 - back clicks with more than `back` clicks before them.
    sizes = np.bincount(lengths)
    n = np.arange(len(sizes))
    chances = np.array([(sizes * np.maximum(n - 1 - back, 0)).sum() for back in range(CLICKS)])
    rate = returns / np.maximum(chances, 1)
    floor = _SHARE * rate * (1 - _TIE_BREAK * np.arange(CLICKS))
    return tuple(round(float(value), 8) for value in floor)


def _returns(sessions: Sessions) -> Int64:
    """Return the number of clicks on an item whose last view was 0, 1, ... CLICKS - 1 clicks before the preceding click."""
    owner = np.repeat(np.arange(len(sessions), dtype=np.int64), sessions.lengths)
    place = np.arange(len(owner)) - sessions.offsets[:-1][owner]
    order = np.lexsort((place, sessions.items, owner))
    owner, place, item = owner[order], place[order], sessions.items[order]
    again = (owner[1:] == owner[:-1]) & (item[1:] == item[:-1])
    back = (place[1:] - place[:-1])[again] - 1
    return np.asarray(np.bincount(back[back < CLICKS], minlength=CLICKS), np.int64)


def floor_of(floor: Float32, prefix: Int32) -> tuple[Int64, Float32]:
    """Return the items of the last CLICKS clicks of a session, each once, and the least score of each."""
    rows, back = np.unique(prefix[: -CLICKS - 1 : -1], return_index=True)
    return rows.astype(np.int64), floor[back]
