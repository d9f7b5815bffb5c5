"""Compile native/ for the dimension of a model. Training does so when it writes one; load.py loads the library."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from training_jobs.serving.kernels.compiled import FILE_NAME
from training_jobs.serving.kernels.header import NATIVE, constants, interface_number
from training_jobs.serving.kernels.interface import Kernels
from training_jobs.serving.kernels.load import explain, load_kernels

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


def write_library(directory: Path, dim: int) -> Path | None:
    """Compile the kernels for vectors of `dim` numbers into `directory`; return None if they cannot be compiled."""
    library = _compiled(dim)
    if library is None:
        return None
    path = directory / FILE_NAME
    # Write under another name first: the old file may be in use.
    partial = path.with_suffix(".partial")
    partial.write_bytes(library)
    partial.replace(path)
    return path


@lru_cache
def compiled_kernels(dim: int) -> Kernels:
    """Compile the kernels for vectors of `dim` numbers and load them; return numpy's if either fails."""
    with tempfile.TemporaryDirectory() as scratch:
        write_library(Path(scratch), dim)
        return load_kernels(Path(scratch), dim)


@lru_cache
def _compiled(dim: int) -> bytes | None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        explain("there is no C compiler")
        return None
    defined = [f"-D{name}={value}" for name, value in constants(dim).items()]
    defined.append(f"-DINTERFACE={interface_number(dim)}U")
    flags = (*_FLAGS, *_FLAGS_OF.get(platform.machine(), ()), *defined)
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "kernels.so"
        command = [compiler, *flags, "-o", str(made), *map(str, sorted(NATIVE.glob("*.c"))), "-lm"]
        try:
            subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or error
            explain(f"it does not compile: {str(said)[-2000:]}")
            return None
        return made.read_bytes()
