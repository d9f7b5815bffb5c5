import math
import random
from collections import Counter

import pytest

from demo import baselines
from demo.baselines import Session

SESSIONS: list[list[str]] = [
    [f"i{number}" for number in random.Random(seed).choices(range(12), k=random.Random(seed).randint(2, 6))]
    for seed in range(80)
]
PREFIXES = [["i1"], ["i2", "i3"], ["i4", "i1", "i4"], ["unknown"], ["i5", "unknown", "i6", "i7"]]


def brute_force_knn(prefix: Session, k: int) -> list[str]:
    """Compute VMIS-kNN by its definition, over all sessions, without an index or a limit."""
    scores = {}
    for item in {item for session in SESSIONS for item in session} - {prefix[-1]}:
        total = 0.0
        for session in SESSIONS:
            matched = [place for place in range(len(prefix)) if prefix[place] in session]
            if not matched or item not in session:
                continue
            similarity = sum(
                (max(p for p in matched if prefix[p] == seen) + 1) / len(prefix)
                for seen in {prefix[p] for p in matched}
            )
            recency = 1 - 0.1 * (len(prefix) - max(matched))
            rarity = math.log(len(SESSIONS) / sum(item in one for one in SESSIONS))
            total += similarity * recency * rarity
        if total > 0:
            scores[item] = total
    return sorted(scores, key=lambda item: (-round(scores[item], 9), item))[:k]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_session_knn_is_what_its_definition_says(prefix: list[str]) -> None:
    recommend = baselines.session_knn(SESSIONS, neighbours=1000, candidates=1000)
    assert recommend(prefix, 5) == brute_force_knn(prefix, 5)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_item_to_item_counts_the_sessions_that_hold_both(prefix: list[str]) -> None:
    items = {item for session in SESSIONS for item in session} - {prefix[-1]}
    counts = {item: sum(prefix[-1] in session and item in session for session in SESSIONS) for item in items}
    expected = sorted((item for item in items if counts[item]), key=lambda item: (-counts[item], item))[:5]
    assert baselines.item_to_item(SESSIONS)(prefix, 5) == expected


def test_popularity_ranks_by_interactions_and_leaves_out_the_current_item() -> None:
    counts = Counter(item for session in SESSIONS for item in session)
    ranking = sorted(counts, key=lambda item: (-counts[item], item))
    assert baselines.popularity(SESSIONS)(["unknown"], 4) == ranking[:4]
    assert baselines.popularity(SESSIONS)([ranking[1]], 3) == [ranking[0], ranking[2], ranking[3]]


def test_every_prefix_of_every_session_predicts_its_next_item() -> None:
    assert baselines.prefixes([["a", "b", "c"], ["d"], ["e", "f"]]) == [
        (["a"], "b"),
        (["a", "b"], "c"),
        (["e"], "f"),
    ]


def test_the_score_counts_hits_within_k_and_their_ranks() -> None:
    score = baselines.score([(["a", "b"], "a"), (["a", "b"], "b"), (["a", "b", "c"], "c"), ([], "x")], k=2)
    assert (score.hit_rate, score.mrr, score.prefixes) == (0.5, (1 + 0.5) / 4, 4)
