"""The int8 scan: close to the vectors, and never without the best."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.unit.training_jobs.kernels import compiled
from training_jobs.serving import scan
from training_jobs.serving.scan import Scan, dequantised, quantise
from training_jobs.serving.sessions import Float32

LIBRARIES = ("kernel", "numkong", "numpy")
Bools = NDArray[np.bool_]


def unit_vectors(count: int, dim: int = 32, seed: int = 0) -> Float32:
    found = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def test_a_code_is_within_half_a_step_and_a_zero_vector_stays_zero() -> None:
    vectors = unit_vectors(50)
    vectors[7] = 0.0
    codes, scales = quantise(vectors)
    assert codes.dtype == np.int8
    assert (np.abs(dequantised(codes, scales) - vectors) <= scales[:, None] * 0.5001).all()
    assert not codes[7].any()


def made_scan(
    library: str,
    vectors: Float32,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    hidden: Bools | None = None,
) -> Scan:
    if library == "numpy":
        monkeypatch.setattr(scan, "numkong", None)
    kernel = compiled(vectors.shape[1], tmp_path) if library == "kernel" else None
    made = Scan(vectors, quantise(vectors), hidden, kernel)
    assert made.library == library
    return made


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("items", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize("dim", [32, 100, 128])
def test_cosines_are_those_of_the_vectors_and_their_sum_that_of_the_softmax(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str, items: int, dim: int
) -> None:
    vectors = unit_vectors(items, dim)
    made = made_scan(library, vectors, monkeypatch, tmp_path)
    for steepness, query in zip([0.5, 14.0, 40.0, 1000.0], unit_vectors(4, dim, seed=1), strict=True):
        largest, total = made.look(query, steepness)
        expected = vectors @ query
        assert np.abs(made.cosines - expected).max() < (1e-6 if library == "numpy" else 0.02)
        assert largest == made.cosines.max()
        exact = np.exp((made.cosines.astype(np.float64) - largest) * steepness).sum()
        assert total == pytest.approx(exact, rel=2e-5)
        assert made.best(1)[np.argmax(expected[made.best(1)])] == expected.argmax()


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_library_gives_the_same_cosines_as_the_codes_multiplied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str
) -> None:
    vectors = unit_vectors(777, 128)
    made, query = made_scan(library, vectors, monkeypatch, tmp_path), unit_vectors(1, 128, seed=2)[0]
    codes, scales = quantise(vectors)
    step = np.abs(query).max() / 127
    exact = (
        (codes.astype(np.int64) @ np.rint(query / step).astype(np.int64)) * scales.astype(np.float64) * step
    )
    made.look(query, 14.0)
    assert np.abs(made.cosines - exact).max() < (0.02 if library == "numpy" else 1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_hidden_items_do_not_take_the_place_of_those_that_may_be_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str
) -> None:
    vectors = unit_vectors(640)
    query = unit_vectors(1, seed=3)[0]
    near = np.argsort(-(vectors @ query))
    hidden = np.zeros(640, bool)
    hidden[near[:500]] = True
    made = made_scan(library, vectors, monkeypatch, tmp_path, hidden)
    largest, _ = made.look(query, 14.0)
    assert largest == pytest.approx(vectors[near[0]] @ query, abs=0.01)
    assert set(made.best(5).tolist()) >= set(near[500:503].tolist())
    hidden[:] = True
    made = made_scan(library, vectors, monkeypatch, tmp_path, hidden)
    made.look(query, 14.0)
    assert len(made.best(5)) == 640


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=300),
    st.sets(st.integers(0, 299)),
    st.integers(1, 120),
)
def test_the_best_are_always_among_those_found(values: list[float], left_out: set[int], count: int) -> None:
    hidden = np.array([at in left_out for at in range(len(values))])
    made = Scan(np.array(values, np.float32)[:, None], hidden=hidden)
    made.look(np.ones(1, np.float32), 1.0)
    found = set(made.best(count).tolist())
    order = sorted((at for at in range(len(values)) if not hidden[at]), key=lambda at: -values[at])
    worst = values[order[:count][-1]] if order else 0.0
    assert found >= {at for at in order[:count] if values[at] > worst}
    assert len(found - left_out) >= min(count, len(order))
