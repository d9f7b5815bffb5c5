"""Tests of what SageMaker runs."""

import os

# Before numpy loads: threads that wait for one another take longer than these small matrices do.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
