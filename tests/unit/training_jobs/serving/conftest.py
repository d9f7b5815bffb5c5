"""Both implementations of the kernels."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.training_jobs.kernels import compiled
from training_jobs.serving.kernels.interface import Kernels
from training_jobs.serving.kernels.reference import REFERENCE


@pytest.fixture(params=["numpy", "compiled"])
def kernels_for(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], Kernels]:
    """The kernels for vectors of a dimension."""
    if request.param == "numpy":
        return lambda dim: REFERENCE
    return lambda dim: compiled(dim, tmp_path)


@pytest.fixture
def kernels(kernels_for: Callable[[int], Kernels]) -> Kernels:
    """The kernels for vectors of 16 numbers."""
    return kernels_for(16)
