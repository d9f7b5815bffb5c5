"""Explain an answer: what encoder, similar sessions, catalogue, popularity and ranker gave each item, and which click brought it.

`make explain` runs the copy of this file in a model's archive, so the code that answered explains its own answer.
The server never calls it: it ranks all items once per item of the session.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.blend import Shortlist
from training_jobs.serving.encoder_numpy import probabilities
from training_jobs.serving.knn import KnnScorer
from training_jobs.serving.model_files import ArchiveError, ModelCard, load_recommender
from training_jobs.serving.ranker import CANDIDATE_FEATURES, candidate_features
from training_jobs.serving.returns import CLICKS, floor_of
from training_jobs.serving.session_recommender import POPULARITY_FLOOR, Recommender
from training_jobs.serving.sessions import Float32, Float64, Int32, Int64

SHOWN_FEATURES = 5

Json = dict[str, Any]


def explain(
    recommender: Recommender,
    items: Sequence[str],
    k: int,
    exclude: Collection[str] = (),
    wanted: Collection[str] = (),
) -> Json:
    """Answer the session again, and explain the items of this answer and those of `wanted`.

    Every `brought_by` is measured: without that item of the session, the explained item's score is lower.
    """
    found = recommender.recommend(items, k, exclude)
    rows = recommender.rows
    session = [item for item in items if item in rows]
    excluded = {rows[item] for item in {*exclude, *items[-1:]} if item in rows}
    explained = list(dict.fromkeys([*found.items, *(item for item in wanted if item in rows)]))
    out: Json = {
        "source": found.source,
        "reason": found.reason,
        "answer": [
            {"item_id": item, "score": _rounded(score)}
            for item, score in zip(found.items, found.scores, strict=True)
        ],
        "session_known": session,
        "session_unknown": list(dict.fromkeys(item for item in items if item not in rows)),
        "wanted_unknown": [item for item in wanted if item not in rows],
        "knn_weight": recommender.settings.knn_weight,
        "kernels": recommender.kernels.name,
    }
    if not session:
        places = {item: place for place, item in enumerate(found.items, 1)}
        out |= {"neighbours": 0, "items": [_popular(recommender, item, places) for item in explained]}
        return out
    return out | _Explanation(recommender, items, excluded).of(explained)


class _Explanation:
    """One session and the ranking of all items after it."""

    def __init__(self, recommender: Recommender, items: Sequence[str], excluded: set[int]) -> None:
        self.recommender = recommender
        self.excluded = excluded
        # -1 where an item is not known.
        self.session: list[int] = [recommender.rows.get(item, -1) for item in items]
        self.prefix: Int32 = np.array([row for row in self.session if row >= 0], np.int32)
        self.scores: Float32 = self.recommender.scores([self.prefix], [excluded])[0]
        blended, self.short = next(self.recommender.shortlists([self.prefix], [excluded]))
        self.blended: Float32 = blended
        self.probability: Float32 = probabilities(recommender.weights, [self.prefix])[0]
        self.features, self.effects, self.raised = _ranker(recommender, self.prefix, self.short)
        self.distinct: list[int] = list(dict.fromkeys(self.prefix.tolist()))
        self.without: NDArray[Any] = np.stack([self._scores_without(item) for item in self.distinct])
        self.knn = _Neighbours(recommender, self.prefix)

    def _scores_without(self, item: int) -> Float32:
        rest = [row for row in self.session if row != item]
        excluded = self.excluded | {row for row in rest[-1:] if row >= 0}
        scores: Float32 = self.recommender.scores([self.prefix[self.prefix != item]], [excluded])[0]
        return scores

    def of(self, items: Sequence[str]) -> Json:
        """Return the explanation of each item."""
        return {"neighbours": self.knn.count, "items": [self._item(item) for item in items]}

    def _item(self, item: str) -> Json:
        model, row = self.recommender, self.recommender.rows[item]
        shown = bool(np.isfinite(self.scores[row]))
        share = model.settings.knn_weight
        at = np.flatnonzero(self.short.rows == row)
        terms = {
            "encoder": (1 - share) * self._probability(row),
            "similar sessions": share * self.knn.votes(row),
            "catalogue": share * self.knn.catalogue_votes(row),
            "popularity": float(model.popularity[row]) * POPULARITY_FLOOR,
        }
        floor = self._return_floor(row)
        # The blend is the sum of the terms, raised to the floor of returns.
        mainly = "returns" if floor > sum(terms.values()) else max(terms, key=lambda name: terms[name])
        out: Json = {
            "item_id": item,
            "shown": shown,
            "place": int((self.scores > self.scores[row]).sum()) + 1 if shown else None,
            "why_not": None if shown else self._why_not(row),
            "score": _rounded(self.scores[row]) if shown else None,
            "blend": _rounded(self.blended[row]) if shown else None,
            "blend_place": int((self.blended > self.blended[row]).sum()) + 1 if shown else None,
            "encoder": _rounded(terms["encoder"]),
            "similar_sessions": {
                "score": _rounded(terms["similar sessions"]),
                "voters": self.knn.voters(row),
                "by_item": self.knn.by_item(row),
            },
            "catalogue": _rounded(terms["catalogue"]),
            "popularity": {
                "share": _rounded(model.popularity[row]),
                "place": int((model.popularity > model.popularity[row]).sum()) + 1,
            },
            "returns": _rounded(floor),
            "mainly": mainly if shown else None,
            "ranker": self._ranked(int(at[0])) if len(at) and self.features is not None else None,
        }
        return out | (self._brought(row) if shown else {"without": [], "brought_by": None})

    def _probability(self, row: int) -> float:
        known = self.recommender.codes[0][row].any()
        return float(self.probability[row]) if known else 0.0

    def _return_floor(self, row: int) -> float:
        floors = np.array(self.recommender.settings.return_floor or np.zeros(CLICKS), np.float32)
        own, floor = floor_of(floors, self.prefix)
        return float(floor[own == row].sum())

    def _why_not(self, row: int) -> str:
        if row == self.session[-1]:
            return "it is the session's last item, which is never recommended"
        if row in self.excluded:
            return "the request excludes it"
        return "it is on the out-of-stock list"

    def _ranked(self, at: int) -> Json:
        assert self.features is not None
        order = np.argsort(-np.abs(self.effects[at]), kind="stable")[:SHOWN_FEATURES]
        return {
            "logit_change": _rounded(self.raised[at]),
            "features": [
                {
                    "name": CANDIDATE_FEATURES[which],
                    "value": _rounded(self.features[at, which]),
                    "mean": _rounded(self.features[:, which].mean()),
                    "effect": _rounded(self.effects[at, which]),
                }
                for which in order.tolist()
                if self.effects[at, which]
            ],
        }

    def _brought(self, row: int) -> Json:
        """Return the item's score without each item of the session, and the one whose absence lowers it most."""
        names = self.recommender.vocabulary
        lower = [
            # Without the last item, the one before it is the current one and has no score.
            (names[item], _rounded(score) if np.isfinite(score) else None)
            for item, score in zip(self.distinct, self.without[:, row].tolist(), strict=True)
        ]
        measured = [(score, item) for item, score in lower if score is not None]
        least = min(measured, default=(np.inf, None))
        own = _rounded(self.scores[row])
        return {
            "without": [{"item_id": item, "score": score} for item, score in lower],
            "brought_by": least[1] if least[0] < own else None,
        }


class _Neighbours:
    """The votes of similar sessions, divided among the session's items that they share.

    A neighbor's similarity is a sum over the shared items, so each of its votes divides in the same proportions.
    Catalogue sessions are no similar sessions: no shopper had them.
    """

    def __init__(self, recommender: Recommender, prefix: Int32) -> None:
        index, settings = recommender.index, recommender.settings.knn
        self.names = recommender.vocabulary
        scorer = KnnScorer(index, settings)
        ballots = scorer.ballots(prefix)
        of_catalogue = ballots.neighbours < index.catalogue_sessions
        self.count = int((~of_catalogue).sum())
        self.items, self.weights = ballots.items, ballots.weights
        self.voter: Int64 = np.repeat(np.arange(len(ballots.neighbours)), ballots.sizes)
        self.of_shopper: NDArray[np.bool_] = ~of_catalogue[self.voter]
        self.total = float(self.weights.sum()) or 1.0
        query = prefix[-settings.last_items :]
        last_place = {item: place for place, item in enumerate(query.tolist())}
        self.shared: list[int] = list(last_place)
        weights: Float64 = np.zeros((len(ballots.neighbours), len(self.shared)))
        for column, (item, place) in enumerate(last_place.items()):
            begin = int(index.posting_offsets[item])
            end = min(int(index.posting_offsets[item + 1]), begin + settings.recent_sessions)
            has = np.isin(ballots.neighbours, index.posting_sessions[begin:end])
            weights[has, column] = scorer.click_weight(place, len(query))
        self.proportions: Float64 = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)

    def votes(self, row: int) -> float:
        """Return the similar sessions' votes for the item as a share of all votes."""
        return float(self.weights[(self.items == row) & self.of_shopper].sum()) / self.total

    def catalogue_votes(self, row: int) -> float:
        """Return the catalogue sessions' votes for the item as a share of all votes."""
        return float(self.weights[(self.items == row) & ~self.of_shopper].sum()) / self.total

    def voters(self, row: int) -> int:
        """Return the number of similar sessions that vote for the item."""
        return int(((self.items == row) & (self.weights > 0) & self.of_shopper).sum())

    def by_item(self, row: int) -> list[Json]:
        """Return, per item of the session, the similar sessions that share it and its part of the item's votes."""
        of_item = (self.items == row) & (self.weights > 0) & self.of_shopper
        parts = self.proportions[self.voter[of_item]]
        shares = self.weights[of_item] @ parts / self.total
        found = [
            {
                "item_id": self.names[item],
                "voters": int((parts[:, at] > 0).sum()),
                "votes": _rounded(shares[at]),
            }
            for at, item in enumerate(self.shared)
            if shares[at] > 0
        ]
        return sorted(found, key=lambda one: (-one["votes"], one["item_id"]))


def _ranker(
    recommender: Recommender, prefix: Int32, short: Shortlist
) -> tuple[Float32 | None, Float32, Float32]:
    """Return the shortlist's features, the effect of each on the item's logit, and the logit's whole change.

    The effect of a feature is the change against the same item with the shortlist's mean of that feature.
    """
    ranker = recommender.ranker
    if ranker is None or len(short.rows) == 0:
        return None, np.zeros((0, 0), np.float32), np.zeros(0, np.float32)
    features, context = candidate_features(
        *(prefix, short.rows, short.probability, short.votes, recommender.weights.vectors, ranker.facts)
    )
    raised = ranker.network(features, context)
    effects = np.zeros_like(features)
    for which in range(features.shape[1]):
        replaced = features.copy()
        replaced[:, which] = features[:, which].mean()
        effects[:, which] = raised - ranker.network(replaced, context)
    return features, effects, raised


def _popular(recommender: Recommender, item: str, places: dict[str, int]) -> Json:
    """Return the explanation of an item after a session without a known item."""
    popularity = recommender.popularity
    own = popularity[recommender.rows[item]]
    return {
        "item_id": item,
        "shown": item in places,
        "place": places.get(item),
        "why_not": None,
        "score": _rounded(own),
        "popularity": {"share": _rounded(own), "place": int((popularity > own).sum()) + 1},
        "mainly": "popularity",
        "without": [],
        "brought_by": None,
    }


def _rounded(value: Any) -> float:
    """Return six significant digits, which is about what float32 holds."""
    return float(f"{float(value):.6g}")


def _card(card: ModelCard) -> Json:
    return {
        "model_version": card.model_version,
        "snapshot_id": card.snapshot_id,
        "trained_until_ms": card.trained_until_ms,
        "items": card.items,
        "metrics": card.metrics,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Read a question from standard input, and print its explanation as one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='example: echo \'{"items": ["a"], "k": 10}\' | python -m training_jobs.serving.explain model/',
    )
    parser.add_argument("model", type=Path, help="the folder of an unpacked model archive")
    options = parser.parse_args(argv)
    asked = json.load(sys.stdin)
    try:
        recommender, card = load_recommender(options.model)
    except ArchiveError as error:
        print(error, file=sys.stderr)
        return 1
    explanation = explain(
        recommender, asked["items"], asked["k"], asked.get("exclude", ()), asked.get("wanted", ())
    )
    print(json.dumps({**_card(card), **explanation}, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
