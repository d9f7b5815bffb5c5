"""Arrays mapped from files without a name."""

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from training_jobs.snapshot import mapped
from training_jobs.snapshot.dataset import DataError


def test_a_large_array_is_on_disk_without_a_name_and_a_small_one_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(mapped, "_LEAST_BYTES", 1000)
    small, large = mapped.empty(100, np.int64), mapped.empty(1000, np.int64)
    large[:] = np.arange(1000)
    assert large.sum() == 499_500
    assert list(tmp_path.iterdir()) == []
    maps = Path("/proc/self/maps").read_text()
    assert maps.count(str(tmp_path)) == 1
    assert small.base is None


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mapped, "_LEAST_BYTES", 0)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"has no room for .* VolumeSizeInGB"):
        mapped.empty(1000, np.int64)
