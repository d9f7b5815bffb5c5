"""Compile native/ for the dimension of a model. serving/kernel.py loads the library."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from training_jobs.serving.kernel import Kernel, explain, file_name, load_kernel

_DIRECTORY = Path(__file__).with_name("native")
_SOURCES = tuple(_DIRECTORY / f"{name}.c" for name in ("encode", "knn", "product", "rank", "scan"))
_COMPILE_TIMEOUT_S = (
    600  # ten times the duration on a machine at a load of 8: a model must not depend on the load
)
# Together with the sources' `omp simd` these vectorize sums, minima and exponents. -ffast-math would also change how the
# whole process treats tiny numbers.
_FLAGS = (
    *("-O3", "-s", "-shared", "-fPIC", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"),
    *("-ffinite-math-only", "-fno-signed-zeros"),
)
_FLAGS_OF = {"x86_64": ("-mprefer-vector-width=512",)}


def write_kernel(directory: Path, dim: int) -> Path | None:
    """Compile the kernel for vectors of `dim` numbers into `directory`; return None if it cannot be compiled."""
    library = _compiled(dim)
    if library is None:
        return None
    path = directory / file_name(dim)
    # Write under another name first: the old file may be in use.
    partial = path.with_suffix(".partial")
    partial.write_bytes(library)
    partial.replace(path)
    return path


@lru_cache
def compiled_kernel(dim: int) -> Kernel | None:
    """Compile the kernel for vectors of `dim` numbers and load it; None if either fails."""
    with tempfile.TemporaryDirectory() as scratch:
        return load_kernel(Path(scratch), dim) if write_kernel(Path(scratch), dim) else None


@lru_cache
def _compiled(dim: int) -> bytes | None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        explain("there is no C compiler")
        return None
    flags = (*_FLAGS, *_FLAGS_OF.get(platform.machine(), ()), f"-DDIM={dim}")
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "kernel.so"
        command = [compiler, *flags, "-o", str(made), *map(str, _SOURCES), "-lm"]
        try:
            subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or error
            explain(f"it does not compile: {str(said)[-2000:]}")
            return None
        return made.read_bytes()
