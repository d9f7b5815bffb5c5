"""Baselines for the served model, computed from the same training sessions.

Readable reference implementations: popularity, item-to-item co-occurrence and VMIS-kNN (Kersbergen et al.,
"Serenade", SIGMOD 2022). As in Serenade's evaluation, none of them recommends the session's current item.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Session = Sequence[str]
Recommender = Callable[[Session, int], list[str]]


@dataclass(frozen=True)
class Score:
    """Hit rate and mean reciprocal rank over every prefix of every test session."""

    hit_rate: float
    mrr: float
    prefixes: int


def prefixes(sessions: Iterable[Session]) -> list[tuple[Session, str]]:
    """Return every prefix of every session, with the item that came next."""
    return [(session[:end], session[end]) for session in sessions for end in range(1, len(session))]


def score(ranked: Iterable[tuple[Sequence[str], str]], k: int = 20) -> Score:
    """Score ranked lists against the item that came next."""
    hits, reciprocal_ranks, count = 0, 0.0, 0
    for items, target in ranked:
        count += 1
        top = list(items[:k])
        if target in top:
            hits += 1
            reciprocal_ranks += 1.0 / (top.index(target) + 1)
    return Score(hits / count, reciprocal_ranks / count, count) if count else Score(0.0, 0.0, 0)


def _best(scores: dict[str, float], k: int) -> list[str]:
    return sorted(scores, key=lambda item: (-scores[item], item))[:k]


def popularity(sessions: Sequence[Session]) -> Recommender:
    """Recommend the items with the most interactions, the same to everybody."""
    counts = Counter(item for session in sessions for item in session)
    ranking = _best(dict(counts), len(counts))

    def recommend(prefix: Session, k: int) -> list[str]:
        return [item for item in ranking[: k + 1] if item != prefix[-1]][:k]

    return recommend


def item_to_item(sessions: Sequence[Session]) -> Recommender:
    """Recommend the items that share the most sessions with the current item."""
    together: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for session in sessions:
        distinct = set(session)
        for item in distinct:
            together[item].update(distinct - {item})

    def recommend(prefix: Session, k: int) -> list[str]:
        return _best(dict(together.get(prefix[-1], {})), k)

    return recommend


def session_knn(
    sessions: Sequence[Session], neighbours: int = 200, candidates: int = 1000, last_clicks: int = 9
) -> Recommender:
    """Recommend items of the most similar recent sessions (VMIS-kNN).

    Sessions come oldest first. An item keeps its `candidates` most recent sessions.
    The `neighbours` sessions with the greatest overlap vote for their items; later clicks count more in the overlap.
    A vote is weighted by the session's similarity, by how late in the prefix it last matched, and by the item's rarity.
    """
    contents = [frozenset(session) for session in sessions]
    found_in: defaultdict[str, list[int]] = defaultdict(list)
    for number, items in enumerate(contents):
        for item in items:
            found_in[item].append(number)
    rarity = {item: math.log(len(contents) / len(numbers)) for item, numbers in found_in.items()}
    recent = {item: numbers[-candidates:] for item, numbers in found_in.items()}

    def recommend(prefix: Session, k: int) -> list[str]:
        clicks = list(prefix[-last_clicks:])
        weight_of = {item: (position + 1) / len(clicks) for position, item in enumerate(clicks)}
        similarity: defaultdict[int, float] = defaultdict(float)
        for item, weight in weight_of.items():
            for number in recent.get(item, ()):
                similarity[number] += weight
        nearest = sorted(similarity, key=lambda number: (-similarity[number], -number))[:neighbours]
        votes: defaultdict[str, float] = defaultdict(float)
        for number in nearest:
            steps_back = next(back for back, item in enumerate(reversed(clicks)) if item in contents[number])
            vote = similarity[number] * (1.0 - 0.1 * (steps_back + 1))
            for item in contents[number]:
                votes[item] += vote * rarity[item]
        votes.pop(prefix[-1], None)
        return _best(votes, k)

    return recommend
