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

from training_jobs.serving.blend import Items, Question, Shortlist
from training_jobs.serving.encoder_numpy import INPUT_SCALE, EncoderWeights, FusedLayer
from training_jobs.serving.kernels.header import BLOCK, FIELDS, HEADER, LANES, TILE, groups, interface_number
from training_jobs.serving.kernels.interface import Answer, Parts
from training_jobs.serving.knn import KnnIndex, KnnSettings, faded, freshness, weighted_idf
from training_jobs.serving.ranker import CANDIDATE_FEATURES, CLICKS, CONTEXT_FEATURES, SHORTLIST, Ranker
from training_jobs.serving.returns import CLICKS as RETURN_CLICKS
from training_jobs.serving.scan import Int8, Near, correction, margin_of, sketch
from training_jobs.serving.sessions import Float32, Float64, Int32, Int64, UInt8

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

    def encoder(self, weights: EncoderWeights) -> _Encoder:
        """Implement Kernels.encoder."""
        return _Encoder(self._functions["encode"], weights)

    def voter(self, index: KnnIndex, settings: KnnSettings) -> _Voter:
        """Implement Kernels.voter."""
        return _Voter(self._functions["neighbours_vote"], index, settings)

    def ranker(self, ranker: Ranker, vectors: Float32) -> _Ranker:
        """Implement Kernels.ranker."""
        return _Ranker(self._functions["rank"], ranker, vectors)

    def scanner(self, codes: Int8, scales: Float32, hidden: NDArray[np.bool_]) -> _Scanner:
        """Implement Kernels.scanner."""
        return _Scanner(self._functions["scan"], codes, scales, hidden)

    def blender(self, items: Items, steepness: float) -> _Blender:
        """Implement Kernels.blender."""
        return _Blender(self._functions["blend"], items, steepness)

    def answerer(self, parts: Parts) -> Answer:
        """Implement Kernels.answerer."""
        return _Answerer(self._functions["answer"], self, parts)


def address(array: NDArray[Any], kind: Any, *shape: int) -> int:
    """Return where an array's numbers are. The kernel assumes their type and count, so raise ValueError for others."""
    if array.dtype != kind or array.shape != shape or not array.flags.c_contiguous:
        layout = "" if array.flags.c_contiguous else ", not in rows,"
        raise ValueError(f"{array.dtype} numbers {array.shape}{layout} where {np.dtype(kind)} {shape} belong")
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
        self._rows, self.query = np.zeros(longest, np.int32), np.empty(dim, np.float32)
        self._layers = [_layer(layer, dim) for layer in fused.layers]
        self._packed = (HEADER.structs["Layer"] * len(self._layers))(*self._layers)
        vectors, position, relative = (
            np.ascontiguousarray(array, np.float32)
            for array in (weights.vectors, weights.tensors["position"], weights.tensors["relative"])
        )
        scratch = longest * (10 * dim + 1)
        self.arguments = bound(
            "Encoder",
            {
                "pool": (tiled(fused.pool), (dim, 2 * dim)),
                "pool_bias": (fused.pool_bias, (2 * dim,)),
                "residual": (fused.residual, (dim,)),
                "position": (position, (longest, dim)),
                "relative": (relative, (weights.heads, longest)),
                "vectors": (vectors, (len(weights.vectors), dim)),
                "rows": (self._rows, (longest,)),
                "scratch": (np.empty(scratch, np.float32), (scratch,)),
                "query": (self.query, (dim,)),
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
        self.arguments.length = length
        self._function(self.arguments)
        return self.query


def _layer(layer: FusedLayer, dim: int) -> Any:
    sizes = {"attend": (dim, 4 * dim), "out": (dim, dim), "feed": (dim, 5 * dim), "feed_out": (2 * dim, dim)}
    arrays: dict[str, tuple[Float32, tuple[int, ...]]] = {}
    for name, size in sizes.items():
        arrays[name] = tiled(getattr(layer, name)), size
        arrays[f"{name}_bias"] = getattr(layer, f"{name}_bias"), size[1:]
    return bound("Layer", arrays)


def tiled(matrix: Float32) -> Float32:
    """Return a matrix [in, out] in the layout of product.c: TILE columns lie beside each other, one tile after the other.

    A product reads it from its first number to its last. The shape stays [in, out], and says nothing of the layout.
    """
    tiles = [matrix[:, begin : begin + TILE].ravel() for begin in range(0, matrix.shape[1], TILE)]
    return np.concatenate(tiles, dtype=np.float32).reshape(matrix.shape)


class _Voter:
    def __init__(self, function: _Function, index: KnnIndex, settings: KnnSettings) -> None:
        sessions, items, last = index.sessions, index.items, settings.last_items
        most = last * settings.recent_sessions
        longest = int(np.diff(index.session_offsets).max(initial=0)) + 1
        self._function = function
        self._query = np.zeros(last, np.int32)
        self._found, self._votes = np.zeros(items, np.int64), np.zeros(items, np.float64)
        self.arguments = bound(
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
        self.arguments.length = len(query)
        self._function(self.arguments)
        count = self.arguments.count
        return self._found[:count], self._votes[:count]


class _Ranker:
    def __init__(self, function: _Function, ranker: Ranker, vectors: Float32) -> None:
        network, hidden, features = ranker.network, len(ranker.network.out), len(CANDIDATE_FEATURES)
        self._function = function
        self._clicks, self._rows = np.zeros(CLICKS, np.int32), np.zeros(SHORTLIST, np.int64)
        self._probability, self._votes, self._raised = (np.zeros(SHORTLIST, np.float32) for _ in range(3))
        scratch = SHORTLIST * (features + 2 * hidden) + hidden
        self.arguments = bound(
            "Ranker",
            {
                "candidate": (tiled(network.candidate), (features, hidden)),
                "context": (tiled(network.context), (len(CONTEXT_FEATURES), hidden)),
                "first_bias": (network.first_bias, (hidden,)),
                "second": (tiled(network.second), (hidden, hidden)),
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
        self.arguments.click_count, self.arguments.count = clicks, count
        self._function(self.arguments)
        return self._raised[:count]


class _Scanner:
    def __init__(self, function: _Function, codes: Int8, scales: Float32, hidden: NDArray[np.bool_]) -> None:
        items, dim = codes.shape
        own = sketch(codes, scales)
        packed = packed_sketch(own.values)
        self._function, self._error = function, own.error
        self._query = np.empty(dim, np.float32)
        self._rows, self._cosines = np.empty(items + LANES, np.int32), np.empty(items + LANES, np.float32)
        self.arguments = bound(
            "Scan",
            {
                "sketch": (packed, packed.shape),
                "codes": (codes, (items, dim)),
                "hidden": (hidden.view(np.int8), (items,)),
                "sketch_scales": (own.scales, (items,)),
                "scales": (scales, (items,)),
                "query": (self._query, (dim,)),
                "rotation": (tiled(own.rotation), (dim, dim)),
                "rows": (self._rows, (items + LANES,)),
                "cosines": (self._cosines, (items + LANES,)),
            },
            items=items,
            zeros=own.zeros,
            margin=float(margin_of(own.error)),
        )

    def __call__(self, query: Float32, steepness: float, count: int) -> Near:
        given = self.arguments
        self._query[:] = query
        self.set_steepness(steepness)
        given.count = count
        self._function(given)
        found = given.found
        return Near(self._rows[:found], self._cosines[:found], given.largest, given.total)

    def set_steepness(self, steepness: float) -> None:
        """Set the steepness of the following scans."""
        self.arguments.steepness = steepness
        self.arguments.correction = correction(steepness, self._error)


def packed_sketch(values: Int8) -> UInt8:
    """Return the values of a sketch in two bits each, in the layout of Scan.sketch in kernels.h, in whole blocks."""
    items, dim = values.shape
    of_group = groups(dim)
    out = np.zeros((-(-items // BLOCK) * BLOCK // LANES, of_group, LANES, 4), np.uint8)
    padded = np.zeros((BLOCK, FIELDS * of_group * 4), np.uint8)
    for begin in range(0, items, BLOCK):
        part = values[begin : begin + BLOCK]
        padded[: len(part), :dim] = (part + 3) >> 1
        fields = padded.reshape(BLOCK // LANES, LANES, FIELDS, of_group, 4)
        packed = sum(fields[:, :, field] << (2 * field) for field in range(FIELDS))
        out[begin // LANES : (begin + BLOCK) // LANES] = np.swapaxes(packed, 1, 2)
    return out


_GIVEN = ("near", "near_cosines", "voted", "votes", "floored", "floors", "excluded", "only")
_FOUND = ("rows", "scores", "probability", "votes_at", "floors_at")
_SCRATCH = ("votes_of", "floor_of", "cosine_of", "state", "pool", "keys", "order")


class _Blender:
    def __init__(self, function: _Function, items: Items, steepness: float) -> None:
        count, dim = items.vectors.shape
        elements = HEADER.elements["Blend"]
        self._function, in_stock = function, len(items.by_popularity)
        self._query = np.empty(dim, np.float32)
        self.given = {name: np.empty(count, elements[name]) for name in _GIVEN}
        self.found = {name: np.empty(count, elements[name]) for name in _FOUND}
        scratch = {name: np.zeros(count, elements[name]) for name in _SCRATCH}
        self.arguments = bound(
            "Blend",
            {
                "vectors": (items.vectors, (count, dim)),
                "codes": (items.codes, (count, dim)),
                "scales": (items.scales, (count,)),
                "popularity": (items.popularity, (count,)),
                "unknown": (items.unknown.view(np.int8), (count,)),
                "out_of_stock": (items.out_of_stock.view(np.int8), (count,)),
                "by_popularity": (items.by_popularity, (in_stock,)),
                "query": (self._query, (dim,)),
                **{name: (array, (count,)) for name, array in (self.given | self.found | scratch).items()},
            },
            in_stock=in_stock,
            steepness=steepness,
        )

    def __call__(self, asked: Question) -> Shortlist:
        given, near = self.arguments, asked.near
        self._query[:] = asked.query
        given.near_count = self.fill("near", near.rows)
        self.fill("near_cosines", near.cosines)
        given.vote_count = self.fill("voted", asked.votes[0])
        self.fill("votes", asked.votes[1])
        given.floor_count = self.fill("floored", asked.floors[0])
        self.fill("floors", asked.floors[1])
        given.excluded_count = self.fill("excluded", asked.excluded)
        given.only_count = -1 if asked.only is None else self.fill("only", asked.only)
        given.popular, given.kept = asked.popular, asked.kept
        given.largest, given.total, given.knn_weight = near.largest, near.total, asked.knn_weight
        self._function(given)
        count = given.count
        return Shortlist(*[array[:count] for array in self.found.values()])

    def fill(self, name: str, values: NDArray[Any]) -> int:
        """Copy values to the kernel's array of this name, and return their number."""
        self.given[name][: len(values)] = values
        return len(values)


class _Answerer:
    def __init__(self, function: _Function, kernels: Compiled, parts: Parts) -> None:
        weights, items = parts.weights, parts.items
        steepness = 1.0 / weights.temperature
        encoder = kernels.encoder(weights)
        scanner = kernels.scanner(items.codes, items.scales, items.hidden)
        voter = kernels.voter(parts.index, parts.knn)
        blender = kernels.blender(items, steepness)
        ranker = kernels.ranker(parts.ranker, items.vectors) if parts.ranker else None
        scanner.set_steepness(steepness)
        floored, floors = np.zeros(RETURN_CLICKS, np.int64), np.zeros(RETURN_CLICKS, np.float32)
        longest = max(weights.max_length, parts.knn.last_items, CLICKS, RETURN_CLICKS)
        self._function, self._blender, self._query = function, blender, encoder.query
        self._rows, self._scores = blender.found["rows"], blender.found["scores"]
        self._prefix = np.zeros(longest, np.int32)
        self.arguments = bound(
            "Answer",
            {
                "new_items": (parts.new.view(np.int8), (len(items.vectors),)),
                "return_floor": (parts.return_floor, (RETURN_CLICKS,)),
                "prefix": (self._prefix, (longest,)),
                "floored": (floored, (RETURN_CLICKS,)),
                "floors": (floors, (RETURN_CLICKS,)),
            },
            encoder=ctypes.addressof(encoder.arguments),
            scan=ctypes.addressof(scanner.arguments),
            knn=ctypes.addressof(voter.arguments),
            blend=ctypes.addressof(blender.arguments),
            ranker=ctypes.addressof(ranker.arguments) if ranker else 0,
            last_items=parts.knn.last_items,
            floor_ranked=parts.floor_ranked,
        )
        self._steps = encoder, scanner, voter, blender, ranker
        # Each step reads what the steps before it have found.
        scan, knn, blend = scanner.arguments, voter.arguments, blender.arguments
        scan.query = blend.query = encoder.arguments.query
        blend.near, blend.near_cosines = scan.rows, scan.cosines
        blend.voted, blend.votes = knn.found, knn.votes
        blend.floored, blend.floors = self.arguments.floored, self.arguments.floors
        blend.knn_weight = parts.knn_weight
        if ranker:
            judged = ranker.arguments
            judged.rows, judged.probability, judged.votes = blend.rows, blend.probability, blend.votes_at

    def __call__(
        self,
        prefix: Int32,
        k: int,
        excluded: Int64,
        *,
        query: Float32 | None = None,
        only: Int64 | None = None,
    ) -> tuple[Int64, Float32]:
        given, blender = self.arguments, self._blender
        recent = prefix[-len(self._prefix) :]
        self._prefix[: len(recent)] = recent
        given.prefix_count, given.k, given.own_query = len(recent), k, query is not None
        if query is not None:
            self._query[:] = query
        blend = blender.arguments
        blend.excluded_count = blender.fill("excluded", excluded)
        blend.only_count = -1 if only is None else blender.fill("only", only)
        self._function(given)
        count = min(k, blend.count)
        return self._rows[:count], self._scores[:count]
