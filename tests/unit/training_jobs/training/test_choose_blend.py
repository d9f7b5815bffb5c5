"""Catalogue sessions are in the index of a shop with few sessions, and in that of others where they gain on the tail."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from tests.unit.training_jobs import shop
from training_jobs.gate import baselines
from training_jobs.serving.encoder_numpy import EncoderWeights
from training_jobs.serving.kernels.compile import compiled_kernels
from training_jobs.serving.kernels.reference import REFERENCE
from training_jobs.serving.knn import KnnSettings, build_index
from training_jobs.serving.returns import return_floor
from training_jobs.serving.session_recommender import BlendSettings, Recommender
from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import Cases, no_content, prefix_cases
from training_jobs.training import choose_blend as module
from training_jobs.training.catalogue_sessions import catalogue_sessions
from training_jobs.training.choose_blend import choose_blend, choose_share, ranks_by_share
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.fit_ranker import LEAST_CASES
from training_jobs.training.job import encoder_weights

ENCODER = EncoderSettings(dim=8, layers=1, heads=2, max_length=10)
NOTHING = no_content(shop.ITEMS).by_price
# The shoppers' own order, and one that says nothing of them.
RING = catalogue_sessions(shop.packed([list(range(shop.ITEMS))]))
MIXED = catalogue_sessions(shop.packed([np.random.default_rng(0).permutation(shop.ITEMS).tolist()]))


@pytest.fixture(scope="module")
def learnt() -> EncoderWeights:
    return encoder_weights(Encoder(shop.ITEMS, ENCODER, no_content(shop.ITEMS)))


def cases(sessions: int) -> Cases:
    return prefix_cases(shop.walks(sessions, seed=2))


def settings(blend: Recommender) -> dict[str, object]:
    return asdict(blend.settings)


def test_a_new_shop_has_its_catalogue_in_the_index_without_a_search(learnt: EncoderWeights) -> None:
    few = cases(20)
    assert len(few) < LEAST_CASES
    blend = choose_blend(learnt, shop.walks(30), RING, few)
    assert blend.index.catalogue_sessions == len(RING)
    assert blend.settings.knn == module._OF_A_NEW_SHOP


def test_a_new_shop_without_a_case_to_measure_has_its_catalogue_too(learnt: EncoderWeights) -> None:
    none = cases(1).take(np.zeros(0, np.int64))
    assert choose_blend(learnt, shop.walks(30), MIXED, none).index.catalogue_sessions == len(MIXED)


def test_a_new_shop_whose_catalogue_loses_more_than_the_limit_goes_without(
    learnt: EncoderWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LEAST_CHANGE", -1.0)
    blend = choose_blend(learnt, shop.walks(300), MIXED, cases(20))
    assert blend.index.catalogue_sessions == 0
    assert blend.settings.knn_weight == BlendSettings().knn_weight


def big(learnt: EncoderWeights, catalogue: Sessions) -> Recommender:
    return choose_blend(learnt, shop.walks(1500, seed=1), catalogue, cases(150))


@pytest.fixture
def full_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tail of a big shop be small."""
    assert len(cases(150)) >= LEAST_CASES
    monkeypatch.setattr(module, "SEARCHED_CASES", LEAST_CASES)


@pytest.mark.usefixtures("full_tail")
def test_a_big_shop_that_gains_nothing_chooses_as_without_a_catalogue(learnt: EncoderWeights) -> None:
    plain, found = big(learnt, NOTHING), big(learnt, MIXED)
    assert found.index.catalogue_sessions == 0
    assert settings(found) == settings(plain)


@pytest.mark.usefixtures("full_tail")
def test_where_they_gain_on_the_tail_they_are_chosen(learnt: EncoderWeights) -> None:
    found = choose_blend(learnt, shop.walks(8, seed=1), RING, cases(150))
    assert found.index.catalogue_sessions == len(RING)
    assert found.settings.knn.catalogue_weight > 0
    assert found.settings.knn != module._OF_A_NEW_SHOP


def test_below_a_full_tail_they_are_chosen_with_the_fixed_settings(learnt: EncoderWeights) -> None:
    assert LEAST_CASES <= len(cases(150)) < module.SEARCHED_CASES
    found = choose_blend(learnt, shop.walks(8, seed=1), RING, cases(150))
    assert found.settings.knn == module._OF_A_NEW_SHOP


def test_without_catalogue_and_cases_the_settings_are_the_defaults(learnt: EncoderWeights) -> None:
    found = choose_blend(learnt, shop.walks(30), NOTHING, cases(1).take(np.zeros(0, np.int64)))
    assert found.settings.knn == KnnSettings()


def even(weights: EncoderWeights, sessions: Sessions) -> Recommender:
    names = [str(row) for row in range(shop.ITEMS)]
    popularity = baselines.popularity(sessions, shop.ITEMS)
    return Recommender(names, weights, build_index(sessions, shop.ITEMS), popularity, BlendSettings())


def test_the_ranks_of_all_shares_are_those_of_a_blend_with_each(learnt: EncoderWeights) -> None:
    shares, asked = (0.15, 0.5, 0.85), cases(40)
    plain = even(learnt, shop.walks(300, seed=1))
    settings = replace(plain.settings, return_floor=return_floor(shop.walks(300, seed=1)))
    for kernels in (REFERENCE, compiled_kernels(ENCODER.dim)):
        plain.kernels = kernels
        blend = plain.unranked(settings)
        for share, ranks in zip(shares, ranks_by_share(blend, asked, shares), strict=True):
            other = blend.unranked(replace(settings, knn_weight=share))
            for row, rank in enumerate(ranks.tolist()):
                shown = other.recommend([other.vocabulary[item] for item in asked.prefix(row)], 20).items
                target = other.vocabulary[asked.targets[row]]
                assert rank == (shown.index(target) + 1 if target in shown else 21)


def test_an_encoder_that_has_learnt_nothing_gets_a_small_share(learnt: EncoderWeights) -> None:
    blend = even(learnt, shop.walks(300, seed=1))
    assert choose_share(blend, cases(60))[0].settings == replace(blend.settings, knn_weight=0.85)


def test_votes_that_say_nothing_get_a_small_share(learnt: EncoderWeights) -> None:
    rng = np.random.default_rng(0)
    noise = shop.packed([rng.integers(0, shop.ITEMS, 4).tolist() for _ in range(300)])
    angle = 2 * np.pi * np.arange(shop.ITEMS) / shop.ITEMS
    circle = np.zeros((shop.ITEMS, ENCODER.dim), np.float32)
    circle[:, 0], circle[:, 1] = np.cos(angle), np.sin(angle)
    assert choose_share(even(replace(learnt, vectors=circle), noise), cases(60))[0].settings.knn_weight < 0.5


def test_on_few_cases_no_share_is_chosen(learnt: EncoderWeights) -> None:
    blend = even(learnt, shop.walks(300, seed=1))
    assert choose_share(blend, cases(20))[0] is blend
