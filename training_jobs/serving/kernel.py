"""The compiled kernels: native/ as a shared library, compiled when a model is written and loaded when it is read.

One call does for one session what encoder_numpy.py, knn.py, ranker.py and scan.py do in many steps of numpy.
Each of those steps takes longer to begin than to do. Without a C compiler, or on another kind of processor than the library
was compiled on, those modules run in numpy; a test compares both. The library itself finds out at run time which
instructions the processor has (AVX2, AVX-512, VNNI).
"""

from __future__ import annotations

import ctypes
import json
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_INTERFACE = 2  # another with each change of a structure: the gate reads the kernel of the champion, too

_POINTER, _COUNT, _FLOAT, _DOUBLE = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_double


def _fields(kind: Any, names: str) -> Sequence[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class ScanArguments(ctypes.Structure):
    """`Scan` of scan.c."""

    _fields_ = (
        *_fields(_POINTER, "codes query scales hidden"),
        *_fields(_COUNT, "items"),
        *_fields(_FLOAT, "step steepness"),
        *_fields(_POINTER, "cosines peaks"),
        *_fields(_FLOAT, "largest"),
        *_fields(_DOUBLE, "total"),
    )


class LayerArguments(ctypes.Structure):
    """`Layer` of encode.c."""

    _fields_ = (*_fields(_POINTER, "attend attend_bias out out_bias feed feed_bias feed_out feed_out_bias"),)


class EncoderArguments(ctypes.Structure):
    """`Encoder` of encode.c."""

    _fields_ = (
        *_fields(_POINTER, "layers pool pool_bias residual position relative"),
        *_fields(_COUNT, "layer_count heads max_length"),
        *_fields(_POINTER, "vectors rows"),
        *_fields(_COUNT, "length"),
        *_fields(_FLOAT, "scale"),
        *_fields(_POINTER, "scratch query"),
    )


class RankerArguments(ctypes.Structure):
    """`Ranker` of rank.c."""

    _fields_ = (
        *_fields(_POINTER, "candidate context first_bias second second_bias out"),
        *_fields(_COUNT, "hidden"),
        *_fields(_POINTER, "vectors facts clicks"),
        *_fields(_COUNT, "click_count"),
        *_fields(_POINTER, "rows probability votes"),
        *_fields(_COUNT, "count"),
        *_fields(_POINTER, "scratch raised"),
    )


class KnnArguments(ctypes.Structure):
    """`Knn` of knn.c."""

    _fields_ = (
        *_fields(_POINTER, "posting_sessions session_items posting_offsets session_offsets idf freshness"),
        *_fields(_POINTER, "query_weights near_weights"),
        *_fields(_COUNT, "sessions recent_sessions neighbours"),
        *_fields(_DOUBLE, "position_decay backward_weight"),
        *_fields(_POINTER, "similarity match slot touched order partition alike query"),
        *_fields(_COUNT, "length"),
        *_fields(_POINTER, "found votes"),
        *_fields(_COUNT, "count"),
    )


@dataclass(frozen=True)
class Kernel:
    """The library's functions. Each fills what its arguments leave for an answer."""

    encode: Callable[[EncoderArguments], None]
    neighbours_vote: Callable[[KnnArguments], None]
    rank: Callable[[RankerArguments], None]
    scan: Callable[[ScanArguments], None]


_ARGUMENTS = {
    "encode": EncoderArguments,
    "neighbours_vote": KnnArguments,
    "rank": RankerArguments,
    "scan": ScanArguments,
}


def address(array: NDArray[Any], kind: Any, *shape: int) -> int:
    """Where an array's numbers lie. The kernel takes their type and count for granted, so others raise a ValueError."""
    if array.dtype != kind or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(f"{array.dtype} numbers {array.shape} where {np.dtype(kind)} {shape} belong")
    return int(array.ctypes.data)


def file_name(dim: int) -> str:
    """Other processors, other names: an archive may be read where it was not written."""
    return f"kernel{_INTERFACE}-{dim}-{platform.machine()}.so"


def load_kernel(directory: Path, dim: int) -> Kernel | None:
    """Load the library that `write_kernel` wrote to `directory`; return None if it does not run on this machine."""
    path = directory / file_name(dim)
    if not path.exists():
        return None
    try:
        library = ctypes.CDLL(str(path.resolve()))
        functions = {name: getattr(library, name) for name in _ARGUMENTS}
    except (OSError, AttributeError) as error:
        explain(f"{path} does not load: {error}")
        return None
    for name, function in functions.items():
        function.argtypes, function.restype = (ctypes.POINTER(_ARGUMENTS[name]),), None
    return Kernel(**functions)


def explain(reason: str) -> None:
    """Why there is no kernel, as a line of JSON for CloudWatch."""
    print(json.dumps({"event": "answers go without their kernel", "reason": reason}), file=sys.stderr)
