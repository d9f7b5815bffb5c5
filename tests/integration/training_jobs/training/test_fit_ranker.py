"""The ranker learns from the tail what the blend does not know, and stays out where there is nothing to learn."""

import numpy as np
import pytest
import torch

from tests.unit.training_jobs import shop
from training_jobs.gate import baselines
from training_jobs.gate.measure import measure
from training_jobs.gate.metrics import mrr
from training_jobs.serving.knn import build_index
from training_jobs.serving.ranker import SHORTLIST, Ranker, item_facts
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import Int64, Sessions
from training_jobs.snapshot.dataset import Cases, no_content, prefix_cases
from training_jobs.training import fit_ranker
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.fit_ranker import (
    Shortlists,
    choose,
    fit_network,
    out_of_fold,
    reached,
    shortlists,
)
from training_jobs.training.job import encoder_weights

ITEMS = 300


def there_and_back(sessions: int, seed: int) -> Sessions:
    """Shoppers who look at a new item and then, always, at the one they saw two clicks before."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(sessions):
        first, second, third = rng.choice(ITEMS, 3, replace=False)
        rows.append([first, second, first, third, first])
    items = np.array(rows, np.int32).reshape(-1)
    times_ms = np.repeat(np.arange(sessions, dtype=np.int64) * 60_000, 5)
    return Sessions(items, np.arange(sessions + 1, dtype=np.int64) * 5, times_ms)


LEARN = there_and_back(400, 1)
TAIL = prefix_cases(there_and_back(150, 2))
FACTS = item_facts(LEARN, ITEMS)


def blend_of(
    sessions: Sessions, items: int = ITEMS, exclude_current: bool = True, ranker: Ranker | None = None
) -> Recommender:
    torch.manual_seed(0)
    encoder = Encoder(items, EncoderSettings(dim=8, layers=1, heads=2), no_content(items))
    return Recommender(
        [str(row) for row in range(items)],
        encoder_weights(encoder),
        build_index(sessions, items),
        baselines.popularity(sessions, items),
        BlendSettings(exclude_current=exclude_current),
        ranker=ranker,
    )


def on_the_shortlist(rank: Int64) -> Int64:
    return np.minimum(rank, SHORTLIST + 1)


@pytest.fixture(scope="module")
def lists() -> Shortlists:
    return shortlists(blend_of(LEARN), FACTS, TAIL)


def test_ranks_of_the_blend_are_those_of_its_whole_ranking_as_far_as_the_shortlist(lists: Shortlists) -> None:
    whole = measure("blend", blend_of(LEARN).scores, TAIL).rank
    assert (whole > SHORTLIST).any()
    assert np.array_equal(lists.rank, on_the_shortlist(whole))


@pytest.mark.parametrize("exclude_current", [True, False])
def test_ranks_under_the_network_are_those_that_the_recommender_with_it_reaches(
    exclude_current: bool,
) -> None:
    blend = blend_of(LEARN, exclude_current=exclude_current)
    lists = shortlists(blend, FACTS, TAIL)
    network = fit_network(lists, np.arange(len(lists)), 0)
    ranked = blend_of(LEARN, exclude_current=exclude_current, ranker=Ranker(network, FACTS))
    found = measure("ranked", ranked.scores, TAIL, exclude_current=exclude_current).rank
    _, free = reached(lists, network, np.arange(len(lists)))
    assert (on_the_shortlist(found) == free).mean() > 0.99


def test_a_habit_of_going_back_is_learnt(lists: Shortlists) -> None:
    choice = choose(blend_of(LEARN), LEARN, TAIL, seed=0)
    rank = choice.rank
    assert choice.network is not None
    assert mrr(rank, 20) > mrr(lists.rank, 20) + 0.2
    back = TAIL.lengths == 4
    assert (rank[back] == 1).mean() > 0.9


def test_no_case_is_judged_by_a_network_that_has_learnt_its_session(
    lists: Shortlists, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[np.ndarray] = []
    judged: list[np.ndarray] = []
    fit, judge = fit_network, reached
    monkeypatch.setattr(
        fit_ranker, "fit_network", lambda ls, rows, seed: learnt.append(rows) or fit(ls, rows, seed)
    )
    monkeypatch.setattr(
        fit_ranker, "reached", lambda ls, network, rows: judged.append(rows) or judge(ls, network, rows)
    )
    out_of_fold(lists, TAIL.session, seed=0)
    for left, right in zip(learnt, judged, strict=True):
        assert not set(TAIL.session[left]) & set(TAIL.session[right])
    assert sorted(np.concatenate(judged)) == list(range(len(TAIL)))


def test_a_seed_gives_one_network_and_leaves_the_generator_of_others_alone(lists: Shortlists) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one = fit_network(lists, np.arange(300), 7)
    assert torch.rand(1) == expected
    again = fit_network(lists, np.arange(300), 7)
    assert np.array_equal(one.second, again.second)


def test_where_nothing_can_be_learnt_the_blend_keeps_the_last_word() -> None:
    rng = np.random.default_rng(0)
    noise = Cases(
        rng.integers(0, ITEMS, 900).astype(np.int32),
        np.arange(301, dtype=np.int64) * 3,
        rng.integers(0, ITEMS, 300),
        np.arange(300, dtype=np.int64),
    )
    blend = blend_of(LEARN)
    choice = choose(blend, LEARN, noise, seed=0)
    expected = measure("blend", blend.scores, noise).rank
    assert choice.network is not None or np.array_equal(choice.rank, on_the_shortlist(expected))
    few = noise.take(np.arange(fit_ranker.LEAST_CASES - 1))
    choice = choose(blend, LEARN, few, seed=0)
    assert choice.network is None
    assert np.array_equal(choice.rank, expected[: len(few)])


def test_a_shop_with_fewer_items_than_the_list_is_long_is_ranked_too() -> None:
    sessions = shop.walks(300, seed=1)
    blend = blend_of(sessions, shop.ITEMS)
    cases = prefix_cases(shop.walks(100, seed=2))
    choice = choose(blend, sessions, cases, seed=0)
    assert choice.network is not None
    assert mrr(choice.rank, 20) > mrr(measure("blend", blend.scores, cases).rank, 20)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("others", [[], [[5, 5], [6, 6]]])
def test_where_one_session_has_all_targets_the_blend_s_own_order_stays(others: list[list[int]]) -> None:
    session = np.random.default_rng(0).integers(0, ITEMS, 230).tolist()
    tail = prefix_cases(shop.packed([session, *others]))
    assert len(tail) >= fit_ranker.LEAST_CASES
    blend = blend_of(LEARN)
    choice = choose(blend, LEARN, tail, 0)
    assert choice.network is None
    assert np.array_equal(choice.rank, on_the_shortlist(measure("blend", blend.scores, tail).rank))
