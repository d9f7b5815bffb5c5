"""Arrays that may be larger than memory: the kernel writes their pages to a file when memory is short, and drops them."""

from __future__ import annotations

import errno
import os
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from training_jobs.snapshot.dataset import DataError

# Smaller arrays stay in memory.
_LEAST_BYTES = 2**26


def empty(rows: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return a new array, mapped from a file without a name if it is large. The file's space is free when the array is.

    Raises:
        DataError: the disk is full.
    """
    size = rows * np.dtype(dtype).itemsize
    if size < _LEAST_BYTES:
        return np.empty(rows, dtype)
    with tempfile.TemporaryFile() as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise DataError(
                f"{tempfile.gettempdir()} has no room for {size / 2**30:.1f} GiB of the snapshot: raise VolumeSizeInGB of this "
                "job's state in statemachine/pipeline.asl.json, or set TMPDIR to a larger disk"
            ) from error
        # The mapping keeps the space after the file is closed.
        return np.asarray(np.memmap(file, dtype, "r+", shape=(rows,)))
