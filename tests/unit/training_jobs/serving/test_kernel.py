"""Compiled code answers like its numpy reference on every processor, and may be missing."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training_jobs import shop
from tests.unit.training_jobs.kernels import PROCESSORS, compiled
from training_jobs.serving import kernel
from training_jobs.serving.encoder_numpy import EncoderWeights, SessionEncoder, encode
from training_jobs.serving.kernel import Kernel, address, load_kernel
from training_jobs.serving.knn import KnnIndex, KnnScorer, KnnSettings, build_index
from training_jobs.serving.ranker import CANDIDATE_FEATURES, CONTEXT_FEATURES, Network, Ranker, RankerScorer
from training_jobs.serving.scan import Scan, quantise
from training_jobs.serving.sessions import Float32
from training_jobs.snapshot.dataset import no_content
from training_jobs.training import compile_kernel
from training_jobs.training.compile_kernel import write_kernel
from training_jobs.training.encoder_torch import Encoder, EncoderSettings
from training_jobs.training.job import encoder_weights

ITEMS = 300
# VNNI needs a dimension that 64 divides; with another, the kernel is that of AVX-512.
MADE = [(name, dim) for name in PROCESSORS for dim in (40, 128) if dim % 64 == 0 or "vnni" not in name]


@pytest.fixture(scope="module", params=MADE, ids=lambda made: f"{made[0]}, {made[1]}")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Kernel, int]:
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
def test_a_session_is_encoded_as_by_numpy(made: tuple[Kernel, int], layers: int, heads: int) -> None:
    weights = weights_of(made[1], layers, heads)
    own, rng = SessionEncoder(weights, made[0]), np.random.default_rng(0)
    for length in (1, 2, 3, 4, 5, 8, 11, 12, 13, 40):
        prefix = rng.integers(0, ITEMS, length).astype(np.int32)
        assert np.abs(own(prefix) - encode(weights, [prefix])[0]).max() < 2e-6


def network_of(rng: np.random.Generator, hidden: int) -> Network:
    def normal(*shape: int) -> Float32:
        return (0.3 * rng.normal(size=shape)).astype(np.float32)

    return Network(
        *(normal(len(CANDIDATE_FEATURES), hidden), normal(len(CONTEXT_FEATURES), hidden), normal(hidden)),
        *(normal(hidden, hidden), normal(hidden), normal(hidden)),
    )


@pytest.mark.parametrize("hidden", [64, 24])
def test_a_shortlist_is_judged_as_by_numpy(made: tuple[Kernel, int], hidden: int) -> None:
    rng = np.random.default_rng(0)
    vectors = weights_of(made[1]).vectors
    facts = rng.normal(size=(ITEMS, 3)).astype(np.float32)
    ranker = Ranker(network_of(rng, hidden), facts)
    own, numpys = RankerScorer(ranker, vectors, made[0]), RankerScorer(ranker, vectors, None)
    for count, length in ((128, 1), (128, 4), (77, 9), (1, 60), (20, 200)):
        prefix = rng.integers(0, 15, length).astype(np.int32)
        rows = rng.permutation(40 if count <= 40 else ITEMS)[:count].astype(np.int64)
        probability, votes = rng.random((2, count)).astype(np.float32)
        votes[votes < 0.6] = 0.0
        found, expected = own(prefix, rows, probability, votes), numpys(prefix, rows, probability, votes)
        assert np.abs(found - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())


def test_cosines_and_their_sum_are_those_of_numpy(made: tuple[Kernel, int]) -> None:
    vectors = weights_of(made[1]).vectors
    codes, scales = quantise(vectors)
    for query in vectors[:5]:
        own, numpys = Scan(vectors, (codes, scales), kernel=made[0]), Scan(codes * scales[:, None])
        assert own.look(query, 14.0) == pytest.approx(numpys.look(query, 14.0), rel=1e-2)
        assert np.abs(own.cosines - numpys.cosines).max() < 0.01


def votes_of(scorer: KnnScorer, prefix: list[int]) -> dict[int, float]:
    found, votes = scorer.score(np.array(prefix, np.int32))
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
def test_neighbours_vote_as_by_numpy(made: tuple[Kernel, int], index: KnnIndex, changed: KnnSettings) -> None:
    own, numpys = KnnScorer(index, changed, made[0]), KnnScorer(index, changed)
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
    knn_kernel: Callable[[], Kernel], clicks: list[list[int]], prefix: list[int], neighbours: int
) -> None:
    small = build_index(shop.packed(clicks), 10)
    changed = KnnSettings(recent_sessions=8, neighbours=neighbours, last_items=6, query_decay=1.3)
    found = votes_of(KnnScorer(small, changed, knn_kernel()), prefix)
    assert found == pytest.approx(votes_of(KnnScorer(small, changed), prefix), abs=1e-12)


@pytest.fixture(scope="module")
def knn_kernel(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Kernel]:
    found = compiled(16, tmp_path_factory.mktemp("kernel"))
    return lambda: found


@pytest.mark.parametrize(
    "wrong",
    [np.zeros(4), np.zeros(3, np.float32), np.zeros((4, 1), np.float32), np.zeros(8, np.float32)[::2]],
)
def test_numbers_of_another_kind_or_count_than_the_kernel_reads_are_refused(wrong: np.ndarray) -> None:
    assert address(np.zeros(4, np.float32), np.float32, 4)
    with pytest.raises(ValueError, match="belong"):
        address(wrong, np.float32, 4)


def test_a_file_that_is_no_kernel_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_kernel(tmp_path, 32) is None
    (tmp_path / kernel.file_name(32)).write_bytes(b"made for another machine")
    assert load_kernel(tmp_path, 32) is None
    assert "does not load" in json.loads(capsys.readouterr().err)["reason"]


def test_without_a_compiler_there_is_no_kernel_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training_jobs.training.compile_kernel.shutil.which", lambda name: None)
    assert write_kernel(tmp_path, 17) is None
    assert not list(tmp_path.iterdir())
    assert "no C compiler" in json.loads(capsys.readouterr().err)["reason"]


@pytest.mark.parametrize(
    ("compiler", "says"),
    [("#!/bin/sh\necho 'what is this?' >&2; exit 1", "what is this?"), ("#!/bin/sh\nsleep 9", "timed out")],
)
def test_a_compiler_that_fails_costs_the_kernel_and_not_the_model(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    compiler: str,
    says: str,
) -> None:
    (tmp_path / "cc").write_text(compiler)
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(compile_kernel, "_COMPILE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(compile_kernel, "_compiled", compile_kernel._compiled.__wrapped__)
    assert write_kernel(tmp_path, 18) is None
    assert says in json.loads(capsys.readouterr().err)["reason"]
