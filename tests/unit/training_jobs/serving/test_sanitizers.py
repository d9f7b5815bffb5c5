"""The sanitizers really watch the kernel: without this test, a run in which they are off would pass as well."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.training_jobs.kernels import SANITIZED

READS_OUTSIDE = """
import ctypes, sys
from pathlib import Path
import numpy as np
from tests.unit.training_jobs.kernels import compiled
from training_jobs.serving.kernel import ScanArguments, address

codes, query = np.ones((64, 16), np.int8), np.ones(16, np.int8)
scales, cosines, peaks = np.ones(64, np.float32), np.ones(64, np.float32), np.ones(1, np.float32)
arguments = ScanArguments(
    codes=address(codes, np.int8, 64, 16), query=address(query, np.int8, 16), scales=address(scales, np.float32, 64),
    items=int(sys.argv[2]), step=1.0, steepness=1.0,
    cosines=address(cosines, np.float32, 64), peaks=address(peaks, np.float32, 1),
)
compiled(16, Path(sys.argv[1])).scan(ctypes.byref(arguments))
"""


@pytest.mark.skipif(not SANITIZED, reason="`make test-sanitized` runs it, which is a part of `make test`")
@pytest.mark.parametrize(("items", "outside"), [(64, False), (65, True)])
def test_a_kernel_that_reads_outside_an_array_ends_its_process_with_a_report(
    tmp_path: Path, items: int, outside: bool
) -> None:
    command = [sys.executable, "-c", READS_OUTSIDE, str(tmp_path), str(items)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode != 0) == outside, found.stderr
    assert ("AddressSanitizer: heap-buffer-overflow" in found.stderr) == outside, found.stderr
