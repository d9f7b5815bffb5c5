"""The compiled kernels answer like the numpy reference, on every processor."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training_jobs import shop
from tests.unit.training_jobs.kernels import PROCESSORS, compiled
from training_jobs.serving.blend import Items, Question
from training_jobs.serving.encoder_numpy import EncoderWeights
from training_jobs.serving.kernels.interface import Kernels, Parts, Vote
from training_jobs.serving.kernels.reference import REFERENCE
from training_jobs.serving.knn import KnnIndex, KnnSettings, build_index
from training_jobs.serving.ranker import CANDIDATE_FEATURES, CONTEXT_FEATURES, Network, Ranker
from training_jobs.serving.returns import CLICKS as RETURN_CLICKS
from training_jobs.serving.scan import quantise
from training_jobs.serving.sessions import Float32
from training_jobs.snapshot.dataset import no_content
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.job import encoder_weights

ITEMS = 300
# VNNI needs a dimension that 64 divides; with another, the scan is that of AVX-512.
MADE = [(name, dim) for name in PROCESSORS for dim in (40, 128) if dim % 64 == 0 or "vnni" not in name]


@pytest.fixture(scope="module", params=MADE, ids=lambda made: f"{made[0]}, {made[1]}")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Kernels, int]:
    name, dim = request.param
    return compiled(dim, tmp_path_factory.mktemp("kernel"), PROCESSORS[name]), dim


def weights_of(dim: int, layers: int = 2, heads: int = 4, max_length: int = 12) -> EncoderWeights:
    torch.manual_seed(0)
    encoder = Encoder(ITEMS, EncoderSettings(dim, layers, heads, max_length), no_content(ITEMS))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder_weights(encoder)


@pytest.mark.parametrize(("layers", "heads"), [(2, 4), (1, 1), (0, 2)])
def test_a_session_is_encoded_as_by_numpy(made: tuple[Kernels, int], layers: int, heads: int) -> None:
    weights = weights_of(made[1], layers, heads)
    own, numpys = made[0].encoder(weights), REFERENCE.encoder(weights)
    rng = np.random.default_rng(0)
    for length in (1, 2, 3, 4, 5, 8, 11, 12, 13, 40):
        prefix = rng.integers(0, ITEMS, length).astype(np.int32)
        assert np.abs(own(prefix) - numpys(prefix)).max() < 2e-6


def network_of(rng: np.random.Generator, hidden: int) -> Network:
    def normal(*shape: int) -> Float32:
        return (0.3 * rng.normal(size=shape)).astype(np.float32)

    return Network(
        *(normal(len(CANDIDATE_FEATURES), hidden), normal(len(CONTEXT_FEATURES), hidden), normal(hidden)),
        *(normal(hidden, hidden), normal(hidden), normal(hidden)),
    )


@pytest.mark.parametrize("hidden", [64, 24, 1100])
def test_a_shortlist_is_judged_as_by_numpy(made: tuple[Kernels, int], hidden: int) -> None:
    rng = np.random.default_rng(0)
    vectors = weights_of(made[1]).vectors
    facts = rng.normal(size=(ITEMS, 3)).astype(np.float32)
    ranker = Ranker(network_of(rng, hidden), facts)
    own, numpys = made[0].ranker(ranker, vectors), REFERENCE.ranker(ranker, vectors)
    for count, length in ((128, 1), (128, 4), (77, 9), (1, 60), (20, 200)):
        prefix = rng.integers(0, 15, length).astype(np.int32)
        rows = rng.permutation(40 if count <= 40 else ITEMS)[:count].astype(np.int64)
        probability, votes = rng.random((2, count)).astype(np.float32)
        votes[votes < 0.6] = 0.0
        found, expected = own(prefix, rows, probability, votes), numpys(prefix, rows, probability, votes)
        assert np.abs(found - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("items", [1, 300, 2111])
def test_a_scan_finds_the_items_and_the_sum_of_numpy(made: tuple[Kernels, int], items: int) -> None:
    rng = np.random.default_rng(items)
    vectors = rng.normal(size=(items, made[1])).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[rng.random(items) < 0.05] = 0.0
    codes, scales = quantise(vectors)
    hidden = np.arange(items) % 7 == 3
    own, numpys = made[0].scanner(codes, scales, hidden), REFERENCE.scanner(codes, scales, hidden)
    for count in (1, 200, 5000):
        for query in rng.normal(size=(2, made[1])).astype(np.float32):
            query /= np.linalg.norm(query)
            found, expected = own(query, 14.0, count), numpys(query, 14.0, count)
            assert found.rows.tolist() == expected.rows.tolist()
            assert np.array_equal(found.cosines, expected.cosines)
            assert found.largest == expected.largest
            assert found.total == pytest.approx(expected.total, rel=1e-5)


@pytest.mark.parametrize("kept", [5, 40, 1000])
@pytest.mark.parametrize("knn_weight", [0.0, 0.4])
def test_candidates_are_blended_as_by_numpy(made: tuple[Kernels, int], kept: int, knn_weight: float) -> None:
    rng = np.random.default_rng(kept)
    vectors = weights_of(made[1]).vectors.copy()
    unknown, out_of_stock = rng.random((2, ITEMS)) < 0.1
    vectors[unknown] = 0.0
    codes, scales = quantise(vectors)
    popularity = rng.random(ITEMS).astype(np.float32) * 1e-6
    by_popularity = np.argsort(-popularity)
    by_popularity = by_popularity[~out_of_stock[by_popularity]]
    items = Items(vectors, codes, scales, popularity, unknown, out_of_stock, by_popularity)
    scan = REFERENCE.scanner(codes, scales, unknown | out_of_stock)
    own, numpys = made[0].blender(items, 14.0), REFERENCE.blender(items, 14.0)
    for query in vectors[~unknown][:5]:
        voted, floored, excluded, only = (rng.permutation(ITEMS)[:some] for some in (60, 9, 5, 90))
        asked = Question(
            *(query, scan(query, 14.0, min(kept, 50))),
            *((voted, rng.random(60)), (floored, rng.random(9).astype(np.float32)), excluded),
            *(knn_weight, kept, kept),
        )
        for question in (asked, asked._replace(only=only)):
            found, expected = own(question), numpys(question)
            assert set(found.rows.tolist()) == set(expected.rows.tolist())
            assert np.allclose(found.scores, expected.scores, rtol=2e-5, atol=1e-9)
            order, numpys_order = np.argsort(found.rows), np.argsort(expected.rows)
            for name in ("scores", "probability", "votes", "floor"):
                here, there = getattr(found, name)[order], getattr(expected, name)[numpys_order]
                assert np.allclose(here, there, rtol=2e-5, atol=1e-9)
            assert not out_of_stock[found.rows].any()
            assert not set(excluded.tolist()) & set(found.rows.tolist())


@pytest.mark.parametrize(("knn_weight", "hidden"), [(0.4, 24), (0.0, 24), (0.4, 0)])
def test_a_session_is_answered_as_by_numpy(made: tuple[Kernels, int], knn_weight: float, hidden: int) -> None:
    parts = parts_of(made[1], knn_weight, hidden)
    own, numpys = made[0].answerer(parts), REFERENCE.answerer(parts)
    rng = np.random.default_rng(0)
    for length, k, dropped in ((1, 20, 1), (3, 5, 0), (9, 200, 40), (30, 20, 1), (130, 20, 290)):
        prefix = rng.integers(0, ITEMS, length).astype(np.int32)
        excluded, only = rng.permutation(ITEMS)[:dropped], rng.permutation(ITEMS)[: min(k, 90)]
        for more in ({}, {"query": parts.weights.vectors[7]}, {"only": only}):
            rows, scores = (array.copy() for array in own(prefix, k, excluded, **more))
            expected = dict(
                zip(*(array.tolist() for array in numpys(prefix, k, excluded, **more)), strict=True)
            )
            assert np.allclose(scores, list(expected.values()), rtol=1e-3, atol=1e-9)
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
                assert score == pytest.approx(expected.get(row, min(expected.values())), rel=1e-3, abs=1e-9)
            assert not set(excluded.tolist()) & set(rows.tolist())
            assert not parts.items.out_of_stock[rows].any()


def parts_of(dim: int, knn_weight: float, hidden: int) -> Parts:
    """A model with items of every kind: unknown ones, new ones, and ones out of stock. Without `hidden`, it has no ranker."""
    rng = np.random.default_rng(1)
    unknown, out_of_stock, new = rng.random((3, ITEMS)) < 0.1
    weights = weights_of(dim)
    vectors = weights.vectors.copy()
    vectors[unknown] = 0.0
    popularity = np.where(new, 0.0, rng.random(ITEMS) * 1e-6).astype(np.float32)
    by_popularity = np.argsort(-popularity)
    by_popularity = by_popularity[~out_of_stock[by_popularity]]
    ranker = Ranker(network_of(rng, hidden), rng.normal(size=(ITEMS, 3)).astype(np.float32))
    return Parts(
        replace(weights, vectors=vectors),
        Items(vectors, *quantise(vectors), popularity, unknown, out_of_stock, by_popularity),
        *(build_index(shop.walks(400, ITEMS), ITEMS), KNN, ranker if hidden else None, knn_weight),
        *(new, np.linspace(0.1, 0.01, RETURN_CLICKS, dtype=np.float32), True),
    )


def votes_of(vote: Vote, prefix: list[int]) -> dict[int, float]:
    found, votes = vote(np.array(prefix, np.int32))
    return dict(zip(found.tolist(), votes.tolist(), strict=True))


KNN = KnnSettings(recent_sessions=20, neighbours=15)


@pytest.fixture(scope="module")
def index() -> KnnIndex:
    return build_index(shop.walks(400), shop.ITEMS)


@pytest.mark.parametrize(
    "changed",
    [
        KNN,
        replace(KNN, query_decay=2.0, near_decay=1.5, backward_weight=0.4),
        replace(KNN, age_decay_days=0.5, position_decay=0.3, idf_power=0.0),
        replace(KNN, last_items=2, neighbours=1),
        replace(KNN, recent_sessions=1000, neighbours=1000, backward_weight=0.0),
    ],
)
def test_neighbours_vote_as_by_numpy(
    made: tuple[Kernels, int], index: KnnIndex, changed: KnnSettings
) -> None:
    own, numpys = made[0].voter(index, changed), REFERENCE.voter(index, changed)
    rng = np.random.default_rng(0)
    for _ in range(200):
        prefix = rng.integers(0, shop.ITEMS, rng.integers(1, 14)).tolist()
        found, expected = votes_of(own, prefix), votes_of(numpys, prefix)
        assert found == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    clicks=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=40),
    prefix=st.lists(st.integers(0, 9), min_size=1, max_size=15),
    neighbours=st.integers(1, 12),
)
def test_whoever_the_neighbours_are_they_vote_as_by_numpy(
    knn_kernel: Callable[[], Kernels], clicks: list[list[int]], prefix: list[int], neighbours: int
) -> None:
    small = build_index(shop.packed(clicks), 10)
    changed = KnnSettings(recent_sessions=8, neighbours=neighbours, last_items=6, query_decay=1.3)
    found = votes_of(knn_kernel().voter(small, changed), prefix)
    assert found == pytest.approx(votes_of(REFERENCE.voter(small, changed), prefix), abs=1e-12)


@pytest.fixture(scope="module")
def knn_kernel(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Kernels]:
    found = compiled(16, tmp_path_factory.mktemp("kernel"))
    return lambda: found
