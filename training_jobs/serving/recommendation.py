"""A model's answer, and the evidence of what it has learnt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Recommendation:
    """Items with their scores, the best first. `source` names the method, `reason` is for people."""

    items: list[str]
    scores: list[float]
    source: str
    reason: str


@dataclass(frozen=True)
class Evidence:
    """The number of sessions a model has learnt, and masks over its items.

    `from_clicks` marks items learnt from clicks. `scorable` marks items whose parameters are finite.
    `own_codes` marks items whose int8 codes, where a model has codes, are those of their vector.
    """

    sessions: int
    from_clicks: NDArray[np.bool_]
    scorable: NDArray[np.bool_]
    own_codes: NDArray[np.bool_]
