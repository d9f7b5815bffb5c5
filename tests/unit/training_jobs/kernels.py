"""The kernel for a dimension, or the test is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from training_jobs.kernel import Kernel, load_kernel, write_kernel


def compiled(dim: int, directory: Path) -> Kernel:
    if write_kernel(directory, dim) is None:
        pytest.skip("no C compiler on this machine: install gcc to test the kernel")
    found = load_kernel(directory, dim)
    assert found is not None
    return found
