"""Choose the kernels of a model: the compiled ones of its archive, or numpy."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from training_jobs.serving.kernels.compiled import FILE_NAME, Compiled
from training_jobs.serving.kernels.interface import Kernels
from training_jobs.serving.kernels.reference import REFERENCE


def load_kernels(directory: Path, dim: int) -> Kernels:
    """Return the kernels that `write_library` wrote to `directory`, or numpy's if those do not run here."""
    path = directory / FILE_NAME
    if not path.exists():
        return REFERENCE
    try:
        return Compiled(path, dim)
    except (OSError, ValueError) as error:
        explain(f"{path} does not load: {error}")
        return REFERENCE


def explain(reason: str) -> None:
    """Log the reason why numpy answers, as a line of JSON for CloudWatch."""
    print(json.dumps({"event": "numpy answers, without compiled kernels", "reason": reason}), file=sys.stderr)
