"""Revisits: how much more, or less, likely an item of the session comes next than encoder and neighbours say.

Both are drawn to what the session holds, and how often shoppers really go back differs from shop to shop. So the scores of
a session's own items are multiplied by a factor for where the item stood (last, one, two or more before) and whether it
was clicked more than once; there is one row of factors for each bucket of session lengths. Numpy only: the endpoint runs it.
"""

from __future__ import annotations

import numpy as np

from training_jobs.data import Float64, Int32, Int64

PLACES = 4
KINDS = 2 * PLACES
_PRIOR = 4.0  # as strong as so many cases that say: leave the scores as they are
_STEPS = 30


def session_items(prefix: Int32) -> tuple[Int64, Int64]:
    """Items of a session, each once, and the kind of each: twice its place from the end, plus one if clicked again."""
    kinds: dict[int, int] = {}
    for place, item in enumerate(reversed(prefix.tolist())):
        kinds[item] = kinds[item] | 1 if item in kinds else 2 * min(place, PLACES - 1)
    return np.array(list(kinds), np.int64), np.array(list(kinds.values()), np.int64)


def fit_factors(mass: Float64, kind: Int64, case: Int64, total: Float64, hits: Float64) -> Float64:
    """Factors [KINDS] under which as much is predicted of each kind as comes true.

    `mass`, `kind` and `case` describe items of sessions: predicted probability, kind, and which case it is of. `total` is
    each case's probability of all items, and `hits` [KINDS] in how many cases the next click is on an item of each kind.
    Where `hits` are counted in these cases, the factors are those of the greatest likelihood.
    """
    rest = np.maximum(total - np.bincount(case, weights=mass, minlength=len(total)), 1e-9)
    log_factor = np.zeros(KINDS)
    for _ in range(_STEPS):
        raised = mass * np.exp(log_factor)[kind]
        share = raised / (rest + np.bincount(case, weights=raised, minlength=len(total)))[case]
        gradient = np.bincount(kind, weights=share, minlength=KINDS) - hits + _PRIOR * log_factor
        curvature = np.bincount(kind, weights=share * (1 - share), minlength=KINDS) + _PRIOR
        log_factor -= np.clip(gradient / curvature, -1.0, 1.0)
    return np.asarray(np.exp(log_factor))
