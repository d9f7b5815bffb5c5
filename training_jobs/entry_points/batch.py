"""SageMaker starts this with the unpacked source as its working directory."""

import os

# Matrices here are small: with one thread per core, waiting takes several times as long as the work. Set before numpy loads.
for _library in ("OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

from training_jobs.batch import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
