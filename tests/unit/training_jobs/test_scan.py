"""The int8 scan: close to the vectors, and never without the best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training_jobs import scan
from training_jobs.data import Float32
from training_jobs.scan import Scan, dequantised, quantise


def unit_vectors(count: int, dim: int = 32, seed: int = 0) -> Float32:
    found = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_a_code_is_within_half_a_step_and_a_zero_vector_stays_zero() -> None:
    vectors = unit_vectors(50)
    vectors[7] = 0.0
    codes, scales = quantise(vectors)
    assert codes.dtype == np.int8
    assert (np.abs(dequantised(codes, scales) - vectors) <= scales[:, None] * 0.5001).all()
    assert not codes[7].any()


@pytest.mark.parametrize("with_numkong", [True, False])
@pytest.mark.parametrize("items", [1, 63, 64, 65, 1000])
def test_cosines_are_those_of_the_vectors(
    monkeypatch: pytest.MonkeyPatch, with_numkong: bool, items: int
) -> None:
    if not with_numkong:
        monkeypatch.setattr(scan, "numkong", None)
    vectors = unit_vectors(items)
    made = Scan(vectors, *quantise(vectors))
    for query in unit_vectors(5, seed=1):
        expected = vectors @ query
        assert np.abs(made.cosines(query) - expected).max() < (0.02 if with_numkong else 1e-6)
        assert made.best(1)[np.argmax(expected[made.best(1)])] == expected.argmax()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, -np.inf]), min_size=1, max_size=300), st.integers(1, 120)
)
def test_the_best_are_always_among_those_found(values: list[float], count: int) -> None:
    made = Scan(np.zeros((len(values), 1), np.float32))
    cosines = made.cosines(np.zeros(1, np.float32))
    cosines[:] = values
    found = set(made.best(count).tolist())
    order = sorted((at for at in range(len(values)) if np.isfinite(values[at])), key=lambda at: -values[at])
    worst = values[order[:count][-1]] if order else 0.0
    assert found >= {at for at in order[:count] if values[at] > worst}
    assert len(found) >= min(count, len(order))
    assert all(np.isfinite(values[at]) for at in found)
