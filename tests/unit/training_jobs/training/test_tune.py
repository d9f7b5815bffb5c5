"""Settings are chosen on the validation tail, the same on a slow and on a fast machine."""

import numpy as np
import pytest

from tests.missing import missing
from tests.unit.training_jobs import shop
from training_jobs.gate import baselines, metrics
from training_jobs.gate.measure import measure
from training_jobs.serving.kernels.compile import compiled_kernels
from training_jobs.serving.kernels.reference import REFERENCE
from training_jobs.serving.knn import KnnScorer, KnnSettings, build_index
from training_jobs.snapshot.dataset import prefix_cases
from training_jobs.training import tune

LEARN, TAIL = shop.walks(300, seed=1), prefix_cases(shop.walks(60, seed=2))
INDEX = build_index(LEARN, shop.ITEMS)
SHARE = baselines.popularity(LEARN, shop.ITEMS)


def test_ranks_by_votes_are_those_of_the_scorer_that_shops_would_run() -> None:
    found = tune.knn_ranks(INDEX, KnnSettings(), TAIL, SHARE, True)
    expected = measure("knn", baselines.knn_scorer(KnnScorer(INDEX, KnnSettings()), SHARE), TAIL).rank
    voted = expected <= 20
    assert (found[voted] == expected[voted]).mean() > 0.99
    assert metrics.hit_rate(found, 20) == pytest.approx(metrics.hit_rate(expected, 20), abs=0.01)


def test_tuned_knn_is_no_worse_than_where_it_started() -> None:
    chosen, rank = tune.tune_knn(INDEX, TAIL, SHARE)
    before = tune.knn_ranks(INDEX, KnnSettings(), TAIL, SHARE, True)
    assert tune.objective(rank) > tune.objective(before)
    assert np.array_equal(rank, tune.knn_ranks(INDEX, chosen, TAIL, SHARE, True))


def test_a_job_that_has_run_out_of_time_keeps_the_defaults() -> None:
    chosen, _ = tune.tune_knn(INDEX, TAIL, SHARE, stop=lambda: True)
    assert chosen == KnnSettings()


def test_the_compiled_votes_choose_what_the_numpy_ones_choose() -> None:
    kernels = compiled_kernels(8)
    if kernels is REFERENCE:
        missing("a C compiler", "apt-get install gcc libc6-dev")
    chosen, rank = tune.tune_knn(INDEX, TAIL, SHARE, kernels=kernels)
    expected, expected_rank = tune.tune_knn(INDEX, TAIL, SHARE)
    assert chosen == expected
    assert np.array_equal(rank, expected_rank)


def test_a_sample_is_bounded_even_and_repeatable() -> None:
    few = tune.sample(TAIL, seed=1, limit=50)
    assert len(few) == 50
    assert np.array_equal(few.targets, tune.sample(TAIL, seed=1, limit=50).targets)
    assert tune.sample(TAIL, seed=1) is TAIL


def test_a_gain_on_many_cases_is_certain_and_the_same_on_few_may_be_chance() -> None:
    former = np.tile(np.array([1, 3, 30, 8]), 100)
    better = np.where(np.arange(400) % 40 == 2, 15, former)
    assert tune.certain_gain(better, former) > 0
    assert tune.certain_gain(better[:40], former[:40]) < 0
    assert tune.certain_gain(former, former) == 0


def test_a_gain_where_the_cases_weigh_nothing_is_none() -> None:
    former = np.full(200, 10)
    better = np.where(np.arange(200) < 100, 1, former)
    weight = (np.arange(200) >= 100).astype(np.float32)
    assert tune.certain_gain(better, former) > 0
    assert tune.certain_gain(better, former, weight) == 0
