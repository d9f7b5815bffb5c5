"""scan.c as a shared library: compiled for the dimension of a model when it is written, loaded when it is read.

Neither has to succeed: without a C compiler, or on another kind of processor than it was compiled on, scan.py goes
without. What the processor can do beyond its kind (AVX2, AVX-512, VNNI) is asked at run time.
"""

from __future__ import annotations

import ctypes
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

Kernel = Callable[[Any], None]  # of Arguments

_SOURCE = Path(__file__).with_name("scan.c")
_COMPILE_TIMEOUT_S = 60
_INTERFACE = 1  # another with each change of Arguments: the gate reads the kernel of the champion, too
# Together with the source's `omp simd` these let sums, minima and exponents be vectorised. Not -ffast-math, which would also
# change how the whole process treats tiny numbers.
_FLAGS = (
    *("-O3", "-shared", "-fPIC", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"),
    *("-ffinite-math-only", "-fno-signed-zeros"),
)
_FLAGS_OF = {"x86_64": ("-mprefer-vector-width=512",)}


class Arguments(ctypes.Structure):
    """`Scan` of scan.c."""

    _fields_ = (
        ("codes", ctypes.c_void_p),
        ("query", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("hidden", ctypes.c_void_p),
        ("items", ctypes.c_int64),
        ("step", ctypes.c_float),
        ("steepness", ctypes.c_float),
        ("cosines", ctypes.c_void_p),
        ("peaks", ctypes.c_void_p),
        ("largest", ctypes.c_float),
        ("total", ctypes.c_double),
    )


def file_name(dim: int) -> str:
    """Other processors, other names: an archive may be read where it was not written."""
    return f"scan{_INTERFACE}-{dim}-{platform.machine()}.so"


def write_kernel(directory: Path, dim: int) -> Path | None:
    """The kernel for vectors of `dim` numbers as a file of `directory`; None where it cannot be compiled."""
    library = _compiled(dim)
    if library is None:
        return None
    path = directory / file_name(dim)
    # By another name first: the old file may be in use.
    partial = path.with_suffix(".partial")
    partial.write_bytes(library)
    partial.replace(path)
    return path


def load_kernel(directory: Path, dim: int) -> Kernel | None:
    """What `write_kernel` left in `directory`, if it runs on this machine."""
    path = directory / file_name(dim)
    if not path.exists():
        return None
    try:
        kernel = ctypes.CDLL(str(path.resolve())).scan
    except (OSError, AttributeError) as error:
        _explain(f"{path} does not load: {error}")
        return None
    kernel.argtypes, kernel.restype = (ctypes.POINTER(Arguments),), None
    found: Kernel = kernel
    return found


@lru_cache
def _compiled(dim: int) -> bytes | None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        _explain("there is no C compiler")
        return None
    flags = (*_FLAGS, *_FLAGS_OF.get(platform.machine(), ()), f"-DDIM={dim}")
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "scan.so"
        command = [compiler, *flags, "-o", str(made), str(_SOURCE)]
        try:
            subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or error
            _explain(f"scan.c does not compile: {str(said)[-2000:]}")
            return None
        return made.read_bytes()


def _explain(reason: str) -> None:
    """Why there is no kernel, as a line of JSON for CloudWatch."""
    print(json.dumps({"event": "the scan goes without its kernel", "reason": reason}), file=sys.stderr)
