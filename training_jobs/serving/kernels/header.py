"""Read native/kernels.h, so that the structs and their fields are declared once.

The grammar is the little C that the header needs: structs of numbers and pointers, and functions that take one struct.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training_jobs.serving import answer, blend, knn, ranker, returns, scan

# The layout of a sketch in memory: BLOCK items are scanned at a time, and LANES of them lie beside each other.
# A byte has FIELDS numbers of two bits.
BLOCK, LANES, FIELDS = 64, 16, 4
# Columns of a matrix that lie beside each other, so that a product keeps their sums in registers.
TILE = 64
NATIVE = Path(__file__).with_name("native")
_NUMBERS = {
    "int8_t": ctypes.c_int8,
    "uint8_t": ctypes.c_uint8,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
}
_COMMENT = re.compile(r"/\*.*?\*/|^#(?:pragma once|include <\w+\.h>)$", re.DOTALL | re.MULTILINE)
_DECLARATION = re.compile(r"\s*(?:typedef struct \{([^{}]*)\} (\w+);|void (\w+)\((\w+) \*\w+\);)\s*")
_FIELDS = re.compile(r"\s*(?:const )?(\w+) (\*?\w+(?:, \*?\w+)*);\s*")


@dataclass(frozen=True)
class Header:
    """`elements` are the types of the numbers that a struct's pointers point to. `functions` name the struct that each takes."""

    structs: Mapping[str, type[ctypes.Structure]]
    elements: Mapping[str, Mapping[str, np.dtype]]
    functions: Mapping[str, str]


def parse(text: str) -> Header:
    """Read the text of a header. Raise ValueError at the first declaration outside of the grammar."""
    structs: dict[str, type[ctypes.Structure]] = {}
    elements: dict[str, dict[str, np.dtype]] = {}
    functions: dict[str, str] = {}
    rest = _COMMENT.sub("", text)
    while rest.strip():
        found = _DECLARATION.match(rest)
        if found is None:
            raise ValueError(f"kernels.h is not understood at {rest.strip()[:60]!r}: extend header.py")
        body, struct, function, argument = found.groups()
        if struct:
            fields, elements[struct] = _fields_of(body, structs)
            structs[struct] = type(struct, (ctypes.Structure,), {"_fields_": fields})
        elif argument in structs:
            functions[function] = argument
        else:
            raise ValueError(f"kernels.h declares {function} before its struct {argument}")
        rest = rest[found.end() :]
    return Header(structs, elements, functions)


def _fields_of(
    body: str, structs: Mapping[str, object]
) -> tuple[list[tuple[str, type]], dict[str, np.dtype]]:
    fields: list[tuple[str, type]] = []
    elements: dict[str, np.dtype] = {}
    while body.strip():
        found = _FIELDS.match(body)
        if found is None or not (found[1] in _NUMBERS or found[1] in structs):
            raise ValueError(f"kernels.h is not understood at {body.strip()[:60]!r}: extend header.py")
        for name in found[2].split(", "):
            if name.startswith("*"):
                fields.append((name[1:], ctypes.c_void_p))
                if found[1] in _NUMBERS:
                    elements[name[1:]] = np.dtype(_NUMBERS[found[1]])
            elif found[1] in _NUMBERS:
                fields.append((name, _NUMBERS[found[1]]))
            else:
                raise ValueError(f"kernels.h has a struct inside a struct at {name}: use a pointer")
        body = body[found.end() :]
    return fields, elements


TEXT = (NATIVE / "kernels.h").read_text("utf-8")
HEADER = parse(TEXT)


def constants(dim: int) -> dict[str, int | float]:
    """Return the constants that the C code shares with the mathematics in Python, for vectors of `dim` numbers."""
    return {
        "DIM": dim,
        "BLOCK": BLOCK,
        "LANES": LANES,
        "FIELDS": FIELDS,
        "TILE": TILE,
        "GROUPS": groups(dim),
        "BINS": scan.BINS,
        "PER_UNIT": scan.PER_UNIT,
        "ROUNDING": scan.ROUNDING,
        "QUANTUM": knn.QUANTUM,
        "CLICKS": ranker.CLICKS,
        "NEAR": ranker.NEAR,
        "PLACES": ranker.PLACES,
        "LEAST": ranker.LEAST,
        "FEATURES": len(ranker.CANDIDATE_FEATURES),
        "CONTEXT": len(ranker.CONTEXT_FEATURES),
        "SHORTLIST": ranker.SHORTLIST,
        "RETURN_CLICKS": returns.CLICKS,
        "SPARE": answer.SPARE,
        "DEEPEST": answer.DEEPEST,
        "BELOW": answer.BELOW,
        "NEAR_ZERO": answer.NEAR_ZERO,
        "LEAST_SCORE": blend.LEAST_SCORE,
    }


def groups(dim: int) -> int:
    """Return the number of groups of 4 * FIELDS numbers that a vector of `dim` numbers fills."""
    return -(-dim // (4 * FIELDS))


def interface_number(dim: int) -> int:
    """Hash the header and the constants: a library with another number was compiled for other calls."""
    facts = f"{TEXT}{constants(dim)}"
    return int.from_bytes(hashlib.sha256(facts.encode()).digest()[:8])
