"""Sessions of click logs as the warehouse makes them: a run of one item counts once, and sessions have two clicks or more."""

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import pack


def without_runs(sessions: Sessions) -> Sessions:
    """Return the first click of each run of one item, in the sessions that have two of them or more."""
    return _kept(sessions, np.ones(len(sessions.items), bool))


def without(sessions: Sessions, removed: NDArray[np.bool_]) -> Sessions:
    """Return the sessions without the clicks on removed items, as if nobody could see those. `removed` has a row per item."""
    return _kept(sessions, ~removed[sessions.items])


def _kept(sessions: Sessions, kept: NDArray[np.bool_]) -> Sessions:
    owner = np.repeat(np.arange(len(sessions)), sessions.lengths)[kept]
    items, times = sessions.items[kept], sessions.times_ms[kept]
    new = np.r_[True, (owner[1:] != owner[:-1]) | (items[1:] != items[:-1])][: len(items)]
    owner, items, times = owner[new], items[new], times[new]
    long = np.bincount(owner, minlength=len(sessions))[owner] > 1
    return pack(owner[long], items[long], times[long], np.arange(int(long.sum())))
