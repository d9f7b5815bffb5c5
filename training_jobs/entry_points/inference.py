"""SageMaker's PyTorch container imports this from the model's code/ directory."""

import os

# A request is one small product after the other, and requests come side by side: a thread each. Before numpy loads.
for _library in ("OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

from training_jobs.inference import input_fn, model_fn, output_fn, predict_fn  # noqa: E402

__all__ = ["input_fn", "model_fn", "output_fn", "predict_fn"]
