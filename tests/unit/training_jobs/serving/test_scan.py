"""The int8 scan, in numpy and compiled: close to the vectors, and never without the best."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training_jobs.serving.kernels.interface import Kernels
from training_jobs.serving.kernels.reference import REFERENCE
from training_jobs.serving.scan import Blocks, dequantised, quantise
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


@pytest.mark.parametrize("items", [1, 63, 64, 65, 1000, 1025])
@pytest.mark.parametrize("dim", [32, 100, 128])
def test_cosines_are_those_of_the_vectors_and_their_sum_that_of_the_softmax(
    kernels_for: Callable[[int], Kernels], items: int, dim: int
) -> None:
    vectors, blocks = unit_vectors(items, dim), Blocks(items)
    scan = kernels_for(dim).scanner(*quantise(vectors), blocks)
    for steepness, query in zip([0.5, 14.0, 40.0, 1000.0], unit_vectors(4, dim, seed=1), strict=True):
        largest, total = scan(query, steepness)
        expected = vectors @ query
        assert np.abs(blocks.cosines - expected).max() < 0.02
        assert largest == blocks.cosines.max()
        exact = np.exp((blocks.cosines.astype(np.float64) - largest) * steepness).sum()
        assert total == pytest.approx(exact, rel=2e-5)
        assert blocks.best(1)[np.argmax(expected[blocks.best(1)])] == expected.argmax()


def test_a_zero_vector_is_equally_far_from_all_items(kernels_for: Callable[[int], Kernels]) -> None:
    blocks = Blocks(100)
    scan = kernels_for(32).scanner(*quantise(unit_vectors(100)), blocks)
    assert scan(np.zeros(32, np.float32), 14.0) == (0.0, 100.0)
    assert not blocks.cosines.any()


def test_cosines_are_exactly_the_codes_multiplied(kernels_for: Callable[[int], Kernels]) -> None:
    vectors, query, blocks = unit_vectors(777, 128), unit_vectors(1, 128, seed=2)[0], Blocks(777)
    codes, scales = quantise(vectors)
    step = np.abs(query).max() / 127
    exact = (
        (codes.astype(np.int64) @ np.rint(query / step).astype(np.int64)) * scales.astype(np.float64) * step
    )
    kernels_for(128).scanner(codes, scales, blocks)(query, 14.0)
    assert np.abs(blocks.cosines - exact).max() < 1e-6


def test_hidden_items_do_not_take_the_place_of_those_that_may_be_shown(
    kernels_for: Callable[[int], Kernels],
) -> None:
    vectors = unit_vectors(640)
    query = unit_vectors(1, seed=3)[0]
    near = np.argsort(-(vectors @ query))
    hidden = np.zeros(640, bool)
    hidden[near[:500]] = True
    blocks, kernels = Blocks(640, hidden), kernels_for(32)
    largest, _ = kernels.scanner(*quantise(vectors), blocks)(query, 14.0)
    assert largest == pytest.approx(vectors[near[0]] @ query, abs=0.01)
    assert set(blocks.best(5).tolist()) >= set(near[500:503].tolist())
    hidden[:] = True
    blocks = Blocks(640, hidden)
    kernels.scanner(*quantise(vectors), blocks)(query, 14.0)
    assert len(blocks.best(5)) == 640


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=300),
    st.sets(st.integers(0, 299)),
    st.integers(1, 120),
)
def test_the_best_are_always_among_those_found(values: list[float], left_out: set[int], count: int) -> None:
    blocks = Blocks(len(values), np.array([at in left_out for at in range(len(values))]))
    scan = REFERENCE.scanner(*quantise(np.array(values, np.float32)[:, None]), blocks)
    scan(np.ones(1, np.float32), 1.0)
    found = set(blocks.best(count).tolist())
    order = sorted((at for at in range(len(values)) if at not in left_out), key=lambda at: -values[at])
    worst = values[order[:count][-1]] if order else 0.0
    assert found >= {at for at in order[:count] if values[at] > worst}
    assert len(found - left_out) >= min(count, len(order))
