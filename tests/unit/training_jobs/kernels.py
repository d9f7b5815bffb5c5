"""Compiled kernels for a test: for one kind of processor, and with sanitizers where the tests run under them.

No package here emulates AVX-512. QEMU's TCG has AVX2 and nothing wider (Debian's qemu-user 7.2 lists every AVX-512 feature as
unsupported). Intel does not publish SDE as a package. Bochs emulates a whole machine, which would have to boot first.
SIMDe emulates at the level of intrinsics. With it, the code that is written for VNNI runs on any processor.
The code for AVX-512 is the C code of the other processors, compiled with other flags. Only a processor with AVX-512 runs it.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from tests.missing import missing
from training_jobs.serving.kernels import compile as compile_kernels
from training_jobs.serving.kernels.compile import write_library
from training_jobs.serving.kernels.compiled import FILE_NAME, Compiled

_compile = compile_kernels._compiled.__wrapped__
SIMDE = Path(sysconfig.get_paths()["purelib"]) / "cmeel.prefix" / "include"
SIMDE_SHIM = Path(__file__).with_name("simde")
# `make test-sanitized` sets it, and preloads the sanitizers' runtime.
SANITIZED = bool(os.environ.get("TUGBOAT_SANITIZED"))
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")


@dataclass(frozen=True)
class Processor:
    """A simulated processor: the compiler flags for it, and the features that the real one must have."""

    flags: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


_NO_VNNI, _NO_AVX512, _NO_AVX2 = "-DHAS_VNNI=0", "-DHAS_AVX512=0", "-DHAS_AVX2=0"
_AVX2 = ("avx2", "fma")
_AVX512 = (*_AVX2, "avx512bw", "avx512dq", "avx512vl")
PROCESSORS = {
    "vnni": Processor(features=(*_AVX512, "avx512_vnni")),
    "vnni by SIMDe": Processor(("-DHAS_VNNI=1", _NO_AVX512, _NO_AVX2, f"-I{SIMDE_SHIM}", f"-I{SIMDE}")),
    "avx512": Processor((_NO_VNNI,), _AVX512),
    "avx2": Processor((_NO_VNNI, _NO_AVX512), _AVX2),
    "baseline": Processor((_NO_VNNI, _NO_AVX512, _NO_AVX2)),
}


def compiled(dim: int, directory: Path, processor: Processor | None = None) -> Compiled:
    """Compile and load the kernels for a dimension.

    Skips the test on a processor that cannot run it. Skips it, or fails it in CI, without a compiler.
    """
    need_compiler()
    if processor is not None:
        absent = sorted(set(processor.features) - cpu_features())
        if absent:
            pytest.skip(f"this processor has no {', '.join(absent)}, and no packaged emulator has AVX-512")
    flags = (*compile_kernels._FLAGS, *(processor.flags if processor else ()))
    if SANITIZED:
        flags = (*(flag for flag in flags if flag not in ("-O3", "-s")), *_SANITIZERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compile_kernels, "_compiled", lambda dim: _library(dim, flags))
        assert write_library(directory, dim) is not None
    return Compiled(directory / FILE_NAME, dim)


@lru_cache
def _library(dim: int, flags: tuple[str, ...]) -> bytes | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compile_kernels, "_FLAGS", flags)
        # The sanitizers' runtime is for this process. It makes a compiler ten times slower.
        patch.delenv("LD_PRELOAD", raising=False)
        return _compile(dim)


def need_compiler() -> None:
    """Skip the test without a C compiler, or fail it in CI."""
    if not (shutil.which("cc") or shutil.which("gcc")):
        missing("a C compiler", "apt-get install gcc libc6-dev")


@lru_cache
def cpu_features() -> frozenset[str]:
    """The features of this processor by Linux's names; none on another system."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split()[2:] for line in lines if line.startswith("flags")), []))
