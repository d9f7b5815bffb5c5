"""SageMaker starts this with the unpacked source as its working directory."""

import os

# Matrices here are small: with a thread a core, the threads' waiting takes several times the work. Before numpy loads.
for _library in ("OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

from training_jobs.evaluate import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
