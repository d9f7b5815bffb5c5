"""The last word on the order: a small network looks again at the 128 items that the blend puts first.

Its features are the scores of encoder and neighbours, and the item's similarity to the session's items. Others are its
popularity, the time since the session saw it, and the session's pattern of returns.
It is fitted to the validation tail (fit_ranker.py), which encoder and neighbours have not learnt. This is stacking
(Wolpert, 1992), as in the two stages of winners of the RecSys challenges. Numpy only, because the endpoint runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from training_jobs.serving.sessions import DAY_MS, Float32, Int32, Int64, Sessions, slices

SHORTLIST = 128
CLICKS = 50  # how far back in the session it looks
NEAR = 10  # clicks whose vectors a candidate is compared with

LEAST = 1e-7  # of a probability, before its logarithm is taken
PLACES = 4  # last, one before, two before, older
_KINDS = 2 * PLACES
_OWN = 3 + _KINDS

CANDIDATE_FEATURES = (
    *("encoder", "knn", "cosine_last", "cosine_max", "cosine_mean"),
    *("popularity", "popularity_of_a_day", "age", "encoder_place", "knn_place"),
    *("of_the_session", *(f"kind_{kind}" for kind in range(_KINDS)), "times_clicked", "recency"),
)
CONTEXT_FEATURES = (
    *("length", "different", "share_different"),
    *(f"revisit_{back}" for back in range(1, 5)),
    *(f"repeat_{back}" for back in range(1, 4)),
)


@dataclass(frozen=True)
class Network:
    """Two hidden layers of ReLU. Matrices are [in, out]; the features' scales are multiplied into the first."""

    candidate: Float32
    context: Float32
    first_bias: Float32
    second: Float32
    second_bias: Float32
    out: Float32

    def __call__(self, candidate: Float32, context: Float32) -> Float32:
        """How much each candidate's logit rises: [candidates, features], [features] -> [candidates]."""
        hidden = candidate @ self.candidate
        hidden += context @ self.context + self.first_bias
        np.maximum(hidden, 0.0, out=hidden)
        hidden = hidden @ self.second
        hidden += self.second_bias
        np.maximum(hidden, 0.0, out=hidden)
        return np.asarray(hidden @ self.out)


@dataclass(frozen=True)
class Ranker:
    """The network, and `facts` of every item (item_facts), which change with the sessions and not with the network."""

    network: Network
    facts: Float32


def save_network(path: Path, network: Network) -> None:
    """Write the network's matrices."""
    np.savez(path, **{field.name: getattr(network, field.name) for field in fields(Network)})


def load_network(path: Path) -> Network:
    """Read the network's matrices."""
    with np.load(path, allow_pickle=False) as file:
        return Network(**{field.name: file[field.name] for field in fields(Network)})


def item_facts(sessions: Sessions, items: int) -> Float32:
    """Of each item: logarithms of its share of all clicks and of about the last day's, and of days since the last click."""
    now_ms = sessions.times_ms.max(initial=0)
    oldest_days = (now_ms - sessions.times_ms.min(initial=now_ms)) / DAY_MS
    all_clicks, recent_clicks = np.zeros(items), np.zeros(items)
    since = np.full(items, 2.0 * max(oldest_days, 1.0))
    for part in slices(len(sessions.items)):
        seen, age_days = sessions.items[part], (now_ms - sessions.times_ms[part]) / DAY_MS
        all_clicks += np.bincount(seen, minlength=items)
        np.add.at(recent_clicks, seen, np.exp(-age_days))
        np.minimum.at(since, seen, age_days)
    shares = [np.log((clicks + 0.1) / max(clicks.sum(), 1.0)) for clicks in (all_clicks, recent_clicks)]
    return np.stack([*shares, np.log1p(since)], axis=1).astype(np.float32)


def candidate_features(
    prefix: Int32,
    rows: Int64,
    probability: Float32,
    votes: Float32,
    vectors: Float32,
    facts: Float32,
) -> tuple[Float32, Float32]:
    """Return the network's inputs for the candidates at `rows`: [candidates, CANDIDATE_FEATURES] and [CONTEXT_FEATURES].

    `probability` and `votes` are those of the candidates, `vectors` and `facts` those of all items.
    """
    out = np.zeros((len(rows), len(CANDIDATE_FEATURES)), np.float32)
    out[:, 0] = np.log(np.maximum(probability, LEAST))
    out[:, 1] = np.log(np.maximum(votes, LEAST))
    cosines = vectors[prefix[-NEAR:]] @ vectors[rows].T
    out[:, 2] = cosines[-1]
    out[:, 3] = cosines.max(axis=0)
    out[:, 4] = cosines.sum(axis=0) / np.float32(len(cosines))
    out[:, 5:8] = facts[rows]
    out[:, 8] = _reciprocal_places(probability)
    out[:, 9] = _reciprocal_places(votes)
    of_session, context = _session_features(prefix)
    own = np.fromiter(of_session, np.int64, len(of_session))
    at, which = np.nonzero(np.equal(rows[:, None], own))
    out[at, 10:] = np.array(list(of_session.values()), np.float32)[which]
    return out, context


def _reciprocal_places(values: Float32) -> Float32:
    """1 for the greatest, 1/2 for the second; equals share the better place."""
    place = len(values) - np.searchsorted(np.sort(values), values, side="right")
    return (1.0 / (1.0 + place)).astype(np.float32)


def _session_features(prefix: Int32) -> tuple[dict[int, list[float]], Float32]:
    """Features of the session's own items (those that CANDIDATE_FEATURES ends with), and of the session."""
    clicks: Sequence[int] = prefix[-CLICKS:].tolist()
    n = len(clicks)
    times: dict[int, int] = {}
    place: dict[int, int] = {}
    revisit: list[bool] = []
    for at, item in enumerate(clicks):
        before = times.get(item, 0)
        revisit.append(before > 0)
        times[item] = before + 1
        place[item] = at
    own: dict[int, list[float]] = {}
    for item, clicked in times.items():
        back = n - 1 - place[item]
        row = [0.0] * _OWN
        row[0] = 1.0
        row[1 + 2 * min(back, PLACES - 1) + (clicked > 1)] = 1.0
        row[-2:] = clicked, 1.0 / (1 + back)
        own[item] = row
    context = np.zeros(len(CONTEXT_FEATURES), np.float32)
    context[:3] = np.log(n), np.log(len(times)), len(times) / n
    for back in range(1, min(n, 4) + 1):
        context[2 + back] = revisit[-back]
    for back in range(1, min(n - 1, 3) + 1):
        context[6 + back] = clicks[-back] == clicks[-back - 1]
    return own, context
