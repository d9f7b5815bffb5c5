"""The kernels compiled from native/. One call does for one session what numpy does in many steps.

Each of those steps takes numpy longer to begin than to do.
The library itself finds out at run time which instructions the processor has (AVX2, AVX-512, VNNI).
"""

from __future__ import annotations

import ctypes
import math
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.serving.encoder_numpy import INPUT_SCALE, EncoderWeights, FusedLayer
from training_jobs.serving.kernels.header import HEADER, interface_number
from training_jobs.serving.kernels.interface import Encode, Rank, Scan, Vote
from training_jobs.serving.knn import KnnIndex, KnnSettings, faded, freshness, weighted_idf
from training_jobs.serving.ranker import CANDIDATE_FEATURES, CLICKS, CONTEXT_FEATURES, SHORTLIST, Ranker
from training_jobs.serving.scan import Blocks, Int8, query_codes
from training_jobs.serving.sessions import Float32, Float64, Int32, Int64

# An archive may be read on another kind of processor than it was written on.
FILE_NAME = f"kernels-{platform.machine()}.so"

_Function = Callable[[ctypes.Structure], None]
_Arrays = Mapping[str, tuple[NDArray[Any] | None, tuple[int, ...]]]


class Compiled:
    """The functions of a library that was compiled for vectors of `dim` numbers."""

    name = "compiled"

    def __init__(self, path: Path, dim: int) -> None:
        """Load a library. Raise OSError if this machine cannot, ValueError if its interface is another one."""
        library = ctypes.CDLL(str(path.resolve()))
        found = ctypes.c_uint64.in_dll(library, "interface_number").value
        if found != interface_number(dim):
            raise ValueError("it was compiled from another header, or for another dimension")
        self._functions: dict[str, Any] = {}
        for name, struct in HEADER.functions.items():
            function = getattr(library, name)
            function.argtypes, function.restype = (ctypes.POINTER(HEADER.structs[struct]),), None
            self._functions[name] = function

    def encoder(self, weights: EncoderWeights) -> Encode:
        """Implement Kernels.encoder."""
        return _Encoder(self._functions["encode"], weights)

    def voter(self, index: KnnIndex, settings: KnnSettings) -> Vote:
        """Implement Kernels.voter."""
        return _Voter(self._functions["neighbours_vote"], index, settings)

    def ranker(self, ranker: Ranker, vectors: Float32) -> Rank:
        """Implement Kernels.ranker."""
        return _Ranker(self._functions["rank"], ranker, vectors)

    def scanner(self, codes: Int8, scales: Float32, blocks: Blocks) -> Scan:
        """Implement Kernels.scanner."""
        return _Scanner(self._functions["scan"], codes, scales, blocks)


def address(array: NDArray[Any], kind: Any, *shape: int) -> int:
    """Return where an array's numbers are. The kernel assumes their type and count, so raise ValueError for others."""
    if array.dtype != kind or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(f"{array.dtype} numbers {array.shape} where {np.dtype(kind)} {shape} belong")
    return int(array.ctypes.data)


def bound(name: str, arrays: _Arrays, **numbers: float) -> Any:
    """Return a struct of the header. It keeps its arrays alive; each comes with the shape that the kernel reads."""
    struct, elements = HEADER.structs[name], HEADER.elements[name]
    unknown = numbers.keys() - {field for field, *_ in struct._fields_}
    if unknown:
        raise ValueError(f"kernels.h has no {', '.join(sorted(unknown))} in {name}")
    pointers = {
        field: None if array is None else address(array, elements[field], *shape)
        for field, (array, shape) in arrays.items()
    }
    made: Any = struct(**pointers, **numbers)
    made.arrays = arrays
    return made


class _Encoder:
    def __init__(self, function: _Function, weights: EncoderWeights) -> None:
        fused, dim, longest = weights.fused, weights.dim, weights.max_length
        self._function = function
        self._rows, self._query = np.zeros(longest, np.int32), np.empty(dim, np.float32)
        self._layers = [_layer(layer, dim) for layer in fused.layers]
        self._packed = (HEADER.structs["Layer"] * len(self._layers))(*self._layers)
        vectors, position, relative = (
            np.ascontiguousarray(array, np.float32)
            for array in (weights.vectors, weights.tensors["position"], weights.tensors["relative"])
        )
        scratch = longest * (10 * dim + 1)
        self._arguments = bound(
            "Encoder",
            {
                "pool": (fused.pool, (dim, 2 * dim)),
                "pool_bias": (fused.pool_bias, (2 * dim,)),
                "residual": (fused.residual, (dim,)),
                "position": (position, (longest, dim)),
                "relative": (relative, (weights.heads, longest)),
                "vectors": (vectors, (len(weights.vectors), dim)),
                "rows": (self._rows, (longest,)),
                "scratch": (np.empty(scratch, np.float32), (scratch,)),
                "query": (self._query, (dim,)),
            },
            layers=ctypes.addressof(self._packed),
            layer_count=len(self._layers),
            heads=weights.heads,
            max_length=longest,
            scale=math.sqrt(dim) * INPUT_SCALE,
        )

    def __call__(self, prefix: Int32) -> Float32:
        length = min(len(prefix), len(self._rows))
        self._rows[:length] = prefix[-length:]
        self._arguments.length = length
        self._function(self._arguments)
        return self._query


def _layer(layer: FusedLayer, dim: int) -> Any:
    sizes = {"attend": (dim, 4 * dim), "out": (dim, dim), "feed": (dim, 5 * dim), "feed_out": (2 * dim, dim)}
    arrays: dict[str, tuple[Float32, tuple[int, ...]]] = {}
    for name, size in sizes.items():
        arrays[name] = getattr(layer, name), size
        arrays[f"{name}_bias"] = getattr(layer, f"{name}_bias"), size[1:]
    return bound("Layer", arrays)


class _Voter:
    def __init__(self, function: _Function, index: KnnIndex, settings: KnnSettings) -> None:
        sessions, items, last = index.sessions, index.items, settings.last_items
        most = last * settings.recent_sessions
        longest = int(np.diff(index.session_offsets).max(initial=0)) + 1
        self._function = function
        self._query = np.zeros(last, np.int32)
        self._found, self._votes = np.zeros(items, np.int64), np.zeros(items, np.float64)
        self._arguments = bound(
            "Knn",
            {
                "posting_sessions": (index.posting_sessions, (int(index.posting_offsets[-1]),)),
                "session_items": (index.session_items, (int(index.session_offsets[-1]),)),
                "posting_offsets": (index.posting_offsets, (items + 1,)),
                "session_offsets": (index.session_offsets, (sessions + 1,)),
                "idf": (weighted_idf(index, settings), (items,)),
                "freshness": (freshness(index, settings), (sessions,)),
                "query_weights": (faded(last, settings.query_decay), (last,)),
                "near_weights": (faded(longest, settings.near_decay), (longest,)),
                "similarity": (np.zeros(sessions, np.float64), (sessions,)),
                "match": (np.zeros(sessions, np.int32), (sessions,)),
                "slot": (np.zeros(items, np.int32), (items,)),
                "touched": (np.zeros(most, np.int32), (most,)),
                "order": (np.zeros(most, np.int64), (most,)),
                "partition": (np.zeros(most, np.int64), (most,)),
                "alike": (np.zeros(most, np.float64), (most,)),
                "query": (self._query, (last,)),
                "found": (self._found, (items,)),
                "votes": (self._votes, (items,)),
            },
            sessions=sessions,
            recent_sessions=settings.recent_sessions,
            neighbours=settings.neighbours,
            position_decay=settings.position_decay,
            backward_weight=settings.backward_weight,
        )

    def __call__(self, prefix: Int32) -> tuple[Int64, Float64]:
        query = prefix[-len(self._query) :]
        self._query[: len(query)] = query
        self._arguments.length = len(query)
        self._function(self._arguments)
        count = self._arguments.count
        return self._found[:count], self._votes[:count]


class _Ranker:
    def __init__(self, function: _Function, ranker: Ranker, vectors: Float32) -> None:
        network, hidden, features = ranker.network, len(ranker.network.out), len(CANDIDATE_FEATURES)
        self._function = function
        self._clicks, self._rows = np.zeros(CLICKS, np.int32), np.zeros(SHORTLIST, np.int64)
        self._probability, self._votes, self._raised = (np.zeros(SHORTLIST, np.float32) for _ in range(3))
        scratch = SHORTLIST * (features + 2 * hidden) + hidden
        self._arguments = bound(
            "Ranker",
            {
                "candidate": (network.candidate, (features, hidden)),
                "context": (network.context, (len(CONTEXT_FEATURES), hidden)),
                "first_bias": (network.first_bias, (hidden,)),
                "second": (network.second, (hidden, hidden)),
                "second_bias": (network.second_bias, (hidden,)),
                "out": (network.out, (hidden,)),
                "vectors": (vectors, vectors.shape),
                "facts": (ranker.facts, (len(vectors), 3)),
                "clicks": (self._clicks, (CLICKS,)),
                "rows": (self._rows, (SHORTLIST,)),
                "probability": (self._probability, (SHORTLIST,)),
                "votes": (self._votes, (SHORTLIST,)),
                "scratch": (np.empty(scratch, np.float32), (scratch,)),
                "raised": (self._raised, (SHORTLIST,)),
            },
            hidden=hidden,
        )

    def __call__(self, prefix: Int32, rows: Int64, probability: Float32, votes: Float32) -> Float32:
        clicks, count = min(len(prefix), CLICKS), len(rows)
        self._clicks[:clicks] = prefix[-clicks:]
        self._rows[:count], self._probability[:count], self._votes[:count] = rows, probability, votes
        self._arguments.click_count, self._arguments.count = clicks, count
        self._function(self._arguments)
        return self._raised[:count]


class _Scanner:
    def __init__(self, function: _Function, codes: Int8, scales: Float32, blocks: Blocks) -> None:
        items, dim = len(blocks.cosines), codes.shape[1]
        self._function = function
        self._query = np.empty(dim, np.int8)
        self._arguments = bound(
            "Scan",
            {
                "codes": (codes, (items, dim)),
                "query": (self._query, (dim,)),
                "scales": (scales, (items,)),
                "penalty": (blocks.penalty, (items,)),
                "cosines": (blocks.cosines, (items,)),
                "peaks": (blocks.peaks, (len(blocks.peaks),)),
            },
            items=items,
        )

    def __call__(self, query: Float32, steepness: float) -> tuple[float, float]:
        self._arguments.step = query_codes(query, self._query)
        self._arguments.steepness = steepness
        self._function(self._arguments)
        return self._arguments.largest, self._arguments.total
