"""The sanitizers really watch the kernel: without this test, a run in which they are off would pass as well."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.training_jobs.kernels import SANITIZED

READS_OUTSIDE = """
import sys
from pathlib import Path
import numpy as np
from tests.unit.training_jobs.kernels import compiled
from training_jobs.serving.kernels.compiled import bound

codes, hidden, sketch = np.ones((64, 16), np.int8), np.zeros(64, np.int8), np.ones((4, 1, 16, 4), np.uint8)
scales, cosines, query = np.ones(64, np.float32), np.ones(80, np.float32), np.ones(16, np.float32)
arrays = {
    "codes": (codes, (64, 16)), "hidden": (hidden, (64,)), "sketch": (sketch, sketch.shape),
    "rotation": (np.eye(16, dtype=np.float32), (16, 16)),
    "scales": (scales, (64,)), "sketch_scales": (scales, (64,)), "query": (query, (16,)),
    "cosines": (cosines, (80,)), "rows": (np.ones(80, np.int32), (80,)),
}
arguments = bound("Scan", arrays, items=int(sys.argv[2]), zeros=0, count=1, margin=0.1, steepness=1.0, correction=1.0)
compiled(16, Path(sys.argv[1]))._functions["scan"](arguments)
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
