"""Settings are chosen on the validation tail, within their time."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training_jobs import shop
from training_jobs import baselines, metrics, tune
from training_jobs.data import no_content, prefix_cases
from training_jobs.encoder import EncoderWeights
from training_jobs.knn import KnnScorer, KnnSettings, build_index
from training_jobs.measure import measure
from training_jobs.model import Encoder, EncoderSettings
from training_jobs.pipeline import encoder_weights
from training_jobs.recommend import LENGTH_BUCKETS, NO_FACTORS, BlendSettings, Recommender
from training_jobs.revisit import KINDS

LEARN, TAIL = shop.walks(300, seed=1), prefix_cases(shop.walks(60, seed=2))
INDEX = build_index(LEARN, shop.ITEMS)
SHARE = baselines.popularity(LEARN, shop.ITEMS)


def deaf_weights() -> EncoderWeights:
    """An encoder that has learnt nothing."""
    encoder = Encoder(shop.ITEMS, EncoderSettings(dim=8, layers=1, heads=2), no_content(shop.ITEMS))
    return encoder_weights(encoder)


def test_ranks_by_votes_are_those_of_the_scorer_that_shops_would_run() -> None:
    found = tune.knn_ranks(INDEX, KnnSettings(), TAIL, SHARE, True)
    expected = measure("knn", baselines.knn_scorer(KnnScorer(INDEX, KnnSettings()), SHARE), TAIL).rank
    voted = expected <= 20
    assert (found[voted] == expected[voted]).mean() > 0.99
    assert metrics.hit_rate(found, 20) == pytest.approx(metrics.hit_rate(expected, 20), abs=0.01)


def test_tuned_knn_is_no_worse_than_where_it_started() -> None:
    chosen, rank = tune.tune_knn(INDEX, TAIL, SHARE, deadline_s=5.0)
    before = tune.knn_ranks(INDEX, KnnSettings(), TAIL, SHARE, True)
    assert tune.objective(rank) > tune.objective(before)
    assert np.array_equal(rank, tune.knn_ranks(INDEX, chosen, TAIL, SHARE, True))


def test_no_time_leaves_the_defaults() -> None:
    began = time.monotonic()
    chosen, _ = tune.tune_knn(INDEX, TAIL, SHARE, deadline_s=0.0)
    assert chosen == KnnSettings()
    assert time.monotonic() - began < 2.0


def test_an_encoder_that_knows_nothing_gets_no_weight() -> None:
    chosen, rank = tune.tune_blend(deaf_weights(), INDEX, KnnSettings(), TAIL, LEARN)
    assert len(chosen.knn_weight) == len(LENGTH_BUCKETS)
    assert min(chosen.knn_weight) >= 0.7
    knn = tune.knn_ranks(INDEX, KnnSettings(), TAIL, SHARE, True)
    assert tune.objective(rank) > 0.95 * tune.objective(knn)


def test_votes_that_know_nothing_get_no_weight() -> None:
    silent = build_index(LEARN.take(np.zeros(len(LEARN), bool)), shop.ITEMS)
    assert max(tune.tune_blend(deaf_weights(), silent, KnnSettings(), TAIL, LEARN)[0].knn_weight) < 1.0


def test_without_cases_the_blend_keeps_its_defaults() -> None:
    nothing = TAIL.take(np.zeros(len(TAIL), bool))
    chosen, rank = tune.tune_blend(deaf_weights(), INDEX, KnnSettings(neighbours=7), nothing, LEARN)
    assert chosen == BlendSettings(knn=KnnSettings(neighbours=7))
    assert len(rank) == 0


def test_a_sample_is_bounded_even_and_repeatable() -> None:
    few = tune.sample(TAIL, seed=1, limit=50)
    assert len(few) == 50
    assert np.array_equal(few.targets, tune.sample(TAIL, seed=1, limit=50).targets)
    assert tune.sample(TAIL, seed=1) is TAIL


@given(st.integers(0, 2**32 - 1))
def test_ranks_counted_where_votes_are_few_are_those_of_the_whole_ranking(seed: int) -> None:
    rng = np.random.default_rng(seed)
    items = int(rng.integers(3, 30))
    neural = rng.random(items).astype(np.float32)
    neural[rng.integers(0, items)] = neural[rng.integers(0, items)]  # two may be equal
    target, barred = int(rng.integers(-1, items)), int(rng.integers(-1, items))
    allowed = np.setdiff1d(np.arange(items), [barred])
    found = np.sort(rng.choice(allowed, int(rng.integers(0, len(allowed))), replace=False))
    own = np.sort(rng.choice(allowed, int(rng.integers(0, len(allowed))), replace=False))
    kinds, factors = rng.integers(0, KINDS, len(own)), rng.random((2, KINDS)) * 2
    votes = rng.random(len(found)) + 0.01
    asked = tune._Asked(found, votes, own, kinds, -1 if target == barred else target, barred)
    reached = tune._mixed_ranks(neural, asked, factors)
    every, raise_by = np.zeros(items), np.ones((2, items))
    every[found] = votes
    raise_by[:, own] = factors[:, kinds]
    for share, rank in zip(tune.WEIGHTS, reached, strict=True):
        scores = (1 - np.float64(share)) * neural * raise_by[0] + share * every * raise_by[1]
        if barred >= 0:
            scores[barred] = -np.inf
        assert rank == metrics.ranks(scores[None], np.array([target]))[0]


def test_the_blend_reaches_the_ranks_that_the_recommender_with_its_settings_does() -> None:
    encoder = Encoder(shop.ITEMS, EncoderSettings(dim=8, layers=1, heads=2), no_content(shop.ITEMS))
    weights = encoder_weights(encoder)
    for exclude in (True, False):
        chosen, rank = tune.tune_blend(weights, INDEX, KnnSettings(), TAIL, LEARN, exclude_current=exclude)
        assert chosen.encoder_revisit != NO_FACTORS
        assert chosen.knn_revisit != NO_FACTORS
        names = [str(row) for row in range(shop.ITEMS)]
        served = Recommender(names, weights, INDEX, SHARE, chosen)
        found = measure("blend", served.scores, TAIL, exclude_current=exclude).rank
        assert (found == rank).mean() > 0.95  # popularity decides ties in the recommender
