"""The scan, in numpy and compiled: close to the vectors, and never without the best."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training_jobs.serving.kernels.interface import Kernels
from training_jobs.serving.kernels.reference import REFERENCE
from training_jobs.serving.scan import dequantised, quantise, sketch
from training_jobs.serving.sessions import Float32


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


def test_a_sketch_is_the_nearest_of_its_kind_and_its_error_is_measured() -> None:
    vectors = unit_vectors(2000, 128)
    vectors[7] = 0.0
    found = sketch(*quantise(vectors))
    assert set(np.unique(found.values)) == {-3, -1, 1, 3}
    assert found.scales[7] == 0.0
    assert np.abs(found.rotation @ found.rotation.T - np.eye(128)).max() < 1e-5
    sketched = dequantised(found.values, found.scales)
    queries = unit_vectors(50, 128, seed=1)
    errors = sketched @ (queries @ found.rotation).T - vectors @ queries.T
    assert errors.std() == pytest.approx(found.error, rel=0.03)
    assert 0.029 < found.error < 0.032


def test_a_rotation_gives_vectors_of_a_few_large_numbers_no_larger_error() -> None:
    vectors = np.zeros((500, 128), np.float32)
    vectors[np.arange(500), np.arange(500) % 128] = 1.0
    assert sketch(*quantise(vectors)).error < 0.032


@pytest.mark.parametrize("items", [1, 63, 64, 65, 1000, 1025, 5000])
@pytest.mark.parametrize("dim", [32, 100, 128])
def test_the_nearest_items_are_found_and_the_sum_is_that_of_the_softmax(
    kernels_for: Callable[[int], Kernels], items: int, dim: int
) -> None:
    vectors = unit_vectors(items, dim)
    scan = kernels_for(dim).scanner(*quantise(vectors), np.zeros(items, bool))
    for steepness, query in zip([0.5, 7.0, 14.0], unit_vectors(3, dim, seed=1), strict=True):
        near = scan(query, steepness, 20)
        exact = vectors @ query
        assert (np.diff(near.rows) > 0).all()
        assert np.abs(near.cosines - exact[near.rows]).max() < 0.02
        assert near.largest == near.cosines.max()
        assert near.total == pytest.approx(np.exp((exact - near.largest) * steepness).sum(), rel=0.06)
        assert set(near.rows.tolist()) >= set(np.argsort(-exact)[:15].tolist())
        assert len(near.rows) < max(60, min(items, 21))


def test_a_zero_vector_is_equally_far_from_all_items(kernels_for: Callable[[int], Kernels]) -> None:
    scan = kernels_for(32).scanner(*quantise(unit_vectors(100)), np.zeros(100, bool))
    near = scan(np.zeros(32, np.float32), 14.0, 10)
    assert (near.largest, near.total) == (0.0, 100.0)
    assert len(near.rows) == 100
    assert not near.cosines.any()


def test_cosines_are_exactly_the_codes_multiplied(kernels_for: Callable[[int], Kernels]) -> None:
    vectors, query = unit_vectors(777, 128), unit_vectors(1, 128, seed=2)[0]
    codes, scales = quantise(vectors)
    step = np.abs(query).max() / 127
    exact = (
        (codes.astype(np.int64) @ np.rint(query / step).astype(np.int64)) * scales.astype(np.float64) * step
    )
    near = kernels_for(128).scanner(codes, scales, np.zeros(777, bool))(query, 14.0, 777)
    assert near.rows.tolist() == list(range(777))
    assert np.abs(near.cosines - exact).max() < 1e-6
    assert near.total == pytest.approx(np.exp((exact - exact.max()) * 14.0).sum(), rel=2e-5)


def test_a_steep_softmax_has_the_sum_of_its_nearest_items(kernels_for: Callable[[int], Kernels]) -> None:
    vectors, query = unit_vectors(3000, 128), unit_vectors(1, 128, seed=2)[0]
    near = kernels_for(128).scanner(*quantise(vectors), np.zeros(3000, bool))(query, 1000.0, 50)
    expected = np.exp((near.cosines.astype(np.float64) - near.largest) * 1000.0).sum()
    assert near.total == pytest.approx(expected, rel=1e-4)


def test_hidden_items_do_not_take_the_place_of_those_that_may_be_shown(
    kernels_for: Callable[[int], Kernels],
) -> None:
    vectors = unit_vectors(640)
    query = unit_vectors(1, seed=3)[0]
    nearest = np.argsort(-(vectors @ query))
    hidden = np.zeros(640, bool)
    hidden[nearest[:500]] = True
    kernels = kernels_for(32)
    near = kernels.scanner(*quantise(vectors), hidden)(query, 14.0, 5)
    assert near.largest == pytest.approx(vectors[nearest[0]] @ query, abs=0.01)
    assert set(near.rows.tolist()) >= set(nearest[500:503].tolist())
    hidden[:] = True
    assert len(kernels.scanner(*quantise(vectors), hidden)(query, 14.0, 5).rows) == 640


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=300),
    st.sets(st.integers(0, 299)),
    st.integers(1, 120),
)
def test_the_best_are_always_among_those_found(values: list[float], left_out: set[int], count: int) -> None:
    hidden = np.array([at in left_out for at in range(len(values))])
    scan = REFERENCE.scanner(*quantise(np.array(values, np.float32)[:, None]), hidden)
    found = set(scan(np.ones(1, np.float32), 1.0, count).rows.tolist())
    order = sorted((at for at in range(len(values)) if at not in left_out), key=lambda at: -values[at])
    worst = values[order[:count][-1]] if order else 0.0
    assert found >= {at for at in order[:count] if values[at] > worst}
    assert len(found - left_out) >= min(count, len(order))
