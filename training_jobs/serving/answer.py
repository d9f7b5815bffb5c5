"""Answer a session: encode it, find the nearest items, let its neighbors vote, blend, and order the best with the ranker."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.blend import Question, Shortlist
from training_jobs.serving.kernels.interface import Kernels, Parts
from training_jobs.serving.ranker import SHORTLIST
from training_jobs.serving.returns import floor_of
from training_jobs.serving.sessions import Float32, Int32, Int64

# Candidates beyond those asked for. An error of int8 moves an item by far fewer places.
SPARE = 40
DEEPEST = -60.0  # of a logit below the best one: no score becomes zero
BELOW = 0.999  # so that the next item does not equal the last of the shortlist
NEAR_ZERO = 1e-30
NO_VOTES = (np.zeros(0, np.int64), np.zeros(0, np.float64))


class Answerer:
    """Answer one session at a time with the operations of `kernels`. It keeps scratch memory, so one serves one thread."""

    def __init__(self, parts: Parts, kernels: Kernels) -> None:
        items, weights = parts.items, parts.weights
        self._parts, self._steepness = parts, 1.0 / weights.temperature
        self._encode = kernels.encoder(weights)
        self._scan = kernels.scanner(items.codes, items.scales, items.hidden)
        self._vote = kernels.voter(parts.index, parts.knn)
        self.blend = kernels.blender(items, self._steepness)
        self._rank = kernels.ranker(parts.ranker, items.vectors) if parts.ranker else None

    def answer(
        self,
        prefix: Int32,
        k: int,
        excluded: Int64,
        *,
        query: Float32 | None = None,
        only: Int64 | None = None,
    ) -> tuple[Int64, Float32]:
        """Implement kernels.interface.Answer."""
        parts, rank = self._parts, self._rank if query is None else None
        short = self.blend(self.question(prefix, k, excluded, query=query, only=only))
        rows, scores = short.rows, short.scores
        if rank and len(rows):
            first = short.first(SHORTLIST)
            raised = rank(prefix, first.rows, first.probability, first.votes)
            by_ranker = ranker_scores(first, raised, parts.new[first.rows], floored=parts.floor_ranked)
            order = np.argsort(-by_ranker, kind="stable")
            scores[SHORTLIST:] *= behind(by_ranker, scores[SHORTLIST:])
            rows[:SHORTLIST], scores[:SHORTLIST] = first.rows[order], by_ranker[order]
        return rows[:k], scores[:k]

    def question(
        self,
        prefix: Int32,
        k: int,
        excluded: Int64,
        *,
        query: Float32 | None = None,
        only: Int64 | None = None,
    ) -> Question:
        """Return the evidence that `blend` scores the candidates by. The next question overwrites its arrays."""
        parts = self._parts
        kept = max(k, SHORTLIST) + SPARE
        wanted = kept + len(excluded) if only is None else 1
        query = self._encode(prefix) if query is None else query
        near = self._scan(query, self._steepness, wanted)
        votes = self._vote(prefix) if parts.knn_weight > 0 else NO_VOTES
        floors = floor_of(parts.return_floor, prefix)
        return Question(query, near, votes, floors, excluded, parts.knn_weight, wanted, kept, only)


def ranker_scores(short: Shortlist, raised: Float32, new: NDArray[np.bool_], *, floored: bool) -> Float32:
    """Return the scores of a shortlist whose logits are `raised`: as much in sum as the blend's.

    With `floored`, none is below its return floor. A `new` item, which nobody could click yet, keeps the blend's place:
    votes and popularity say nothing of it.
    """
    logits = short.logits + raised
    if new.any() and not new.all():
        logits[new] = _between(np.flatnonzero(new), np.flatnonzero(~new), -np.sort(-logits[~new]))
    return ranked_scores(logits, short.scores.sum(), short.floor if floored else None)


def ranked_scores(logits: Float32, total: np.float32, floor: Float32 | None) -> Float32:
    """Scores in proportion to exp(`logits`) that sum to `total`, each then raised to its `floor` where one is given."""
    weight = np.exp(np.maximum(logits - logits.max(), DEEPEST))
    scores = np.asarray(weight * (total / weight.sum()), np.float32)
    return scores if floor is None else np.maximum(scores, floor)


def behind(ranked: Float32, others: Float32) -> np.float32:
    """Return the factor that brings the scores of `others` below all that are `ranked`, if one is needed."""
    factor = np.float32(BELOW) * ranked.min(initial=np.inf) / others.max(initial=NEAR_ZERO)
    return np.float32(min(max(factor, NEAR_ZERO), 1.0))  # never zero: what is excluded stays at -inf


def _between(place: Int64, others: Int64, logits: Float32) -> NDArray[Any]:
    """Logits that stand at `place` where items of these `logits` (the greatest first) stand at the places `others`."""
    beyond = np.maximum(others[0] - place, 0) - np.maximum(place - others[-1], 0)
    return np.asarray(np.interp(place, others, logits) + beyond)
