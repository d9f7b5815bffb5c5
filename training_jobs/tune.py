"""Choose kNN and blend settings on the validation tail: nothing is trained again, so the search takes seconds."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training_jobs import metrics
from training_jobs.data import Cases, Float32, Float64, Int64, Sessions, prefix_cases
from training_jobs.encoder import EncoderWeights, probabilities
from training_jobs.knn import KnnIndex, KnnScorer, KnnSettings
from training_jobs.recommend import LENGTH_BUCKETS, BlendSettings, length_buckets
from training_jobs.revisit import KINDS, fit_factors, session_items

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # never all: an item nobody has clicked has no votes
_GRID: dict[str, tuple[float, ...]] = {
    "near_decay": (2.0, 0.0, 1.0, 4.0),
    "backward_weight": (1.0, 0.7, 0.4),
    "last_items": (9, 3, 5, 20),
    "position_decay": (0.1, 0.0, 0.3),
    "query_decay": (0.0, 1.0, 2.0, 4.0),
    "age_decay_days": (0.0, 5.0, 20.0),
    "neighbours": (200, 100, 500),
    "recent_sessions": (1000, 500, 5000),
    "idf_power": (1.0, 0.0, 0.5),
}
_PAST_SESSIONS = 20_000  # tell how often shoppers go back
CASES = 5000  # tell settings apart well enough; more only take longer


def objective(rank: Int64) -> float:
    """Hits and how high they stand, weighed alike at the usual ratio of about two to one."""
    return metrics.mrr(rank, 20) + 0.5 * metrics.hit_rate(rank, 20)


def sample(cases: Cases, seed: int, limit: int = CASES) -> Cases:
    """At most `limit` cases, drawn evenly."""
    if len(cases) <= limit:
        return cases
    rows = np.random.default_rng(seed).choice(len(cases), limit, replace=False)
    return cases.take(np.sort(rows))


def tune_knn(
    index: KnnIndex,
    cases: Cases,
    floor: Float64,
    *,
    grid: dict[str, tuple[float, ...]] = _GRID,
    exclude_current: bool = True,
    deadline_s: float = 30.0,
) -> tuple[KnnSettings, Int64]:
    """One setting at a time, each kept where it helps, until the time is spent. Returns the ranks reached, too."""
    best, best_rank = KnnSettings(), knn_ranks(index, KnnSettings(), cases, floor, exclude_current)
    until = time.monotonic() + deadline_s
    for name, value in itertools.chain.from_iterable(((n, v) for v in values) for n, values in grid.items()):
        if time.monotonic() > until:
            break
        if getattr(best, name) == value:
            continue
        kind = type(getattr(best, name))
        tried = replace(best, **{name: kind(value)})
        rank = knn_ranks(index, tried, cases, floor, exclude_current)
        if objective(rank) > objective(best_rank) + 1e-4:
            best, best_rank = tried, rank
    return best, best_rank


def knn_ranks(
    index: KnnIndex, settings: KnnSettings, cases: Cases, floor: Float64, exclude_current: bool
) -> Int64:
    """Rank of each target by votes alone; below all votes items stand by popularity."""
    scorer = KnnScorer(index, settings)
    order = np.argsort(np.argsort(-floor, kind="stable"))
    out = np.empty(len(cases), np.int64)
    for row in range(len(cases)):
        prefix, target = cases.prefix(row), int(cases.targets[row])
        found, votes = scorer.score(prefix) if len(prefix) else (np.zeros(0, np.int64), np.zeros(0))
        if exclude_current and len(prefix):
            other = found != prefix[-1]
            found, votes = found[other], votes[other]
        own = votes[found == target]
        if len(own) and own[0] > 0:
            out[row] = int((votes >= own[0]).sum())
        else:
            out[row] = len(found) + 1 + (int(order[target]) if target >= 0 else index.items)
    return out


def tune_blend(
    weights: EncoderWeights,
    index: KnnIndex,
    knn: KnnSettings,
    cases: Cases,
    past: Sessions,
    *,
    exclude_current: bool = True,
) -> tuple[BlendSettings, Int64]:
    """Revisit factors of encoder and kNN, then the best share of kNN for each bucket of session lengths.

    How often shoppers go back differs from day to day, so it is counted in `past`, too. Shares are shrunk towards the best
    single one. Returns the ranks reached, too.
    """
    if len(cases) == 0:
        return BlendSettings(knn=knn), np.zeros(0, np.int64)
    scorer = KnnScorer(index, knn)
    asked = [_ask(scorer, cases, row, exclude_current) for row in range(len(cases))]
    bucket = np.array(length_buckets([cases.prefix(row) for row in range(len(cases))]))
    latest = past.take(np.arange(max(0, len(past) - _PAST_SESSIONS), len(past)))
    rates = _revisit_rates(prefix_cases(latest), cases)
    best: tuple[float, BlendSettings, Int64] | None = None
    for sharpness in (1.0, 1.5):
        factors = _revisit_factors(weights, cases, asked, bucket, rates, sharpness)
        rank = _blend_ranks(weights, cases, asked, factors[:, bucket], sharpness)
        overall = [objective(row) for row in rank]
        chosen = []
        for at in range(len(LENGTH_BUCKETS)):
            inside = bucket == at
            n = int(inside.sum())
            # A bucket with few cases says little: the whole tail counts as much as 300 cases of its own.
            score = [
                (n * objective(row[inside]) if n else 0.0) + 300 * overall[i] for i, row in enumerate(rank)
            ]
            chosen.append(int(np.argmax(score)))
        reached = rank[np.array(chosen)[bucket], np.arange(len(cases))]
        value = objective(reached)
        if best is None or value > best[0]:
            of_encoder, of_knn = (tuple(tuple(row) for row in table) for table in factors.round(4).tolist())
            shares = tuple(WEIGHTS[i] for i in chosen)
            best = (value, BlendSettings(shares, sharpness, knn, of_encoder, of_knn), reached)
    assert best is not None
    return best[1], best[2]


@dataclass(frozen=True)
class _Asked:
    """One case: votes (sorted by item), the session's items, the target (-1: none that can be hit); none is `barred`."""

    found: Int64
    votes: Float64
    items: Int64
    kinds: Int64
    target: int
    barred: int


def _ask(scorer: KnnScorer, cases: Cases, row: int, exclude_current: bool) -> _Asked:
    prefix, target = cases.prefix(row), int(cases.targets[row])
    barred = int(prefix[-1]) if exclude_current else -1
    found, votes = scorer.score(prefix)
    voted = np.argsort(found)
    voted = voted[found[voted] != barred]
    items, kinds = session_items(prefix)
    other = items != barred
    target = -1 if target == barred else target
    return _Asked(found[voted], votes[voted], items[other], kinds[other], target, barred)


def _revisit_rates(*parts: Cases) -> Float64:
    """How often the next click is on the session's item of each kind, where there is one: [buckets, KINDS]."""
    hits, there = np.zeros((2, len(LENGTH_BUCKETS), KINDS))
    for cases in parts:
        for row in range(len(cases)):
            prefix = cases.prefix(row)
            items, kinds = session_items(prefix)
            at = length_buckets([prefix])[0]
            there[at, np.unique(kinds)] += 1
            hits[at, kinds[items == cases.targets[row]]] += 1
    return np.asarray(hits / np.maximum(there, 1))


def _neural(weights: EncoderWeights, cases: Cases, sharpness: float) -> Iterator[tuple[int, Float32]]:
    for begin in range(0, len(cases), 128):
        prefixes = [cases.prefix(row) for row in range(begin, min(begin + 128, len(cases)))]
        yield from enumerate(probabilities(weights, prefixes, sharpness), start=begin)


def _revisit_factors(
    weights: EncoderWeights,
    cases: Cases,
    asked: Sequence[_Asked],
    bucket: Int64,
    rates: Float64,
    sharpness: float,
) -> Float64:
    """Factors of encoder and kNN, [2, buckets, KINDS], each as if it were alone."""
    sizes = np.array([len(one.items) for one in asked])
    ends = np.cumsum(sizes)
    case, kind = np.repeat(np.arange(len(asked)), sizes), np.concatenate([one.kinds for one in asked])
    mass, total = np.zeros((2, len(case))), np.zeros((2, len(asked)))
    for row, probability in _neural(weights, cases, sharpness):
        one, part = asked[row], slice(ends[row] - sizes[row], ends[row])
        mass[0, part] = probability[one.items]
        total[0, row] = 1.0 - (probability[one.barred] if one.barred >= 0 else 0.0)
        there = np.isin(one.items, one.found)
        mass[1, part][there] = one.votes[np.searchsorted(one.found, one.items[there])]
        total[1, row] = one.votes.sum()
    can_hit = np.array([one.target >= 0 for one in asked])
    out = np.ones((2, len(LENGTH_BUCKETS), KINDS))
    for member, at in itertools.product(range(2), range(len(LENGTH_BUCKETS))):
        inside = can_hit & (bucket == at) & (total[member] > 0)
        flat = inside[case]
        place = (np.cumsum(inside) - 1)[case[flat]]
        # Older places hold several items of one kind: a case counts once.
        cases_with = np.bincount(np.unique(place * KINDS + kind[flat]) % KINDS, minlength=KINDS)
        out[member, at] = fit_factors(
            mass[member, flat], kind[flat], place, total[member, inside], cases_with * rates[at]
        )
    return out


def _blend_ranks(
    weights: EncoderWeights, cases: Cases, asked: Sequence[_Asked], factors: Float64, sharpness: float
) -> Int64:
    """Ranks for every share of WEIGHTS, one row each, under each case's `factors` [2, cases, KINDS]."""
    out = np.empty((len(WEIGHTS), len(cases)), np.int64)
    for row, neural in _neural(weights, cases, sharpness):
        out[:, row] = _mixed_ranks(neural, asked[row], factors[:, row])
    return out


def _mixed_ranks(neural: Float32, asked: _Asked, factors: Float64) -> Int64:
    """Rank of the target under each share of WEIGHTS.

    Few items have votes or are of the session: of all others it is enough to count those that the encoder puts above what
    the target reaches.
    """
    target = asked.target
    if target < 0:
        return np.full(len(WEIGHTS), len(neural) + 1, np.int64)
    apart = np.unique(np.concatenate([asked.found, asked.items, [target]]))
    votes, factor = np.zeros(len(apart)), np.ones((2, len(apart)))
    votes[np.searchsorted(apart, asked.found)] = asked.votes
    factor[:, np.searchsorted(apart, asked.items)] = factors[:, asked.kinds]
    share = np.array(WEIGHTS)[:, None]
    mixed = (1 - share) * neural[apart] * factor[0] + share * votes * factor[1]
    at = int(np.searchsorted(apart, target))
    own = mixed[:, at : at + 1]
    enough = own / (1 - share)
    if votes[at] == 0 and target not in asked.items:
        enough[:] = neural[target]  # exactly, so that equals count against us
    rest = np.delete(neural, apart if asked.barred < 0 else np.append(apart, asked.barred))
    ranked: np.ndarray = (mixed >= own).sum(axis=1) + (rest >= enough).sum(axis=1)
    return ranked.astype(np.int64)
