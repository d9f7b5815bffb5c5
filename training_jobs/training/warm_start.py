"""Item vectors before the first step of training: a spectral embedding of the items viewed together.

One second of linear algebra places items that share sessions near each other. Gradient descent needs many epochs for that.
Content tokens start as the mean of their items' vectors, so a new item starts near similar items.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training_jobs.serving.sessions import Float64, Int32, Int64, Sessions
from training_jobs.snapshot.dataset import ItemContent
from training_jobs.training.encoder_torch import Encoder

_WINDOW = 10
_EVENTS = 5_000_000  # more are not counted, because time grows with the pairs
_PAIRS = 16_000_000  # sorted at once
_DAMPING = 5.0
_OVERSAMPLING = 32
_POWER_STEPS = 3


def warm_start(encoder: Encoder, sessions: Sessions, content: ItemContent, seed: int) -> None:
    """Set the item and content vectors of a new encoder from the sessions it is about to learn."""
    items, dim = encoder.item.weight.shape
    vectors = spectral_vectors(sessions, items, dim, seed)
    seen = vectors.norm(dim=1) > 0
    _place(encoder, vectors, seen, seen, content, seed)


def place_new_items(
    encoder: Encoder, known: Sessions, sessions: Sessions, content: ItemContent, seed: int
) -> None:
    """Set items of `sessions` that `known` lacks to the mean vector of the items viewed beside them."""
    items = encoder.item.num_embeddings
    was, now = known.clicks(items) > 0, sessions.clicks(items) > 0
    new = torch.from_numpy(now & ~was)
    if not bool(new.any()):
        return
    with torch.no_grad():
        encoder.eval()
        vectors = encoder.all_item_vectors().cpu()
        vectors[~torch.from_numpy(was)] = 0
        beside = neighbor_matrix(sessions, items) @ vectors
    _place(encoder, F.normalize(beside, dim=1), new & (beside.norm(dim=1) > 0), None, content, seed)


def spectral_vectors(sessions: Sessions, items: int, dim: int, seed: int) -> Tensor:
    """Return unit vectors from the leading eigenvectors of the damped, normalized co-occurrence matrix (randomized)."""
    matrix = neighbor_matrix(sessions, items)
    width = min(dim + _OVERSAMPLING, items)
    draws = torch.Generator().manual_seed(seed)
    span = matrix @ torch.randn(items, width, generator=draws)
    for _ in range(_POWER_STEPS):
        span = matrix @ torch.linalg.qr(span)[0]
    basis = torch.linalg.qr(span)[0]
    projected = matrix @ basis
    _, singular, rotation = torch.linalg.svd(projected, full_matrices=False)
    keep = min(dim, width)
    vectors = (basis @ rotation.T)[:, :keep] * singular[:keep].sqrt()
    vectors = F.normalize(F.pad(vectors, (0, dim - keep)), dim=1)
    vectors[torch.from_numpy(sessions.clicks(items) == 0)] = 0
    return vectors


def _place(
    encoder: Encoder, vectors: Tensor, rows: Tensor, seen: Tensor | None, content: ItemContent, seed: int
) -> None:
    """Set the own vectors of `rows` so that with their content they equal `vectors`.

    With `seen` (a first start), set the content tokens and the other items too. An item with content gets a zero vector of
    its own, any other a random direction.
    """
    with torch.no_grad():
        if seen is not None and content.size:
            token = torch.from_numpy(content.tokens.astype(np.int64))
            item = torch.from_numpy(np.repeat(np.arange(len(content.offsets) - 1), np.diff(content.offsets)))
            known = seen[item]
            total = torch.zeros(content.size, vectors.shape[1]).index_add_(
                0, token[known], vectors[item[known]]
            )
            count = torch.bincount(token[known], minlength=content.size).clamp(min=1)
            encoder.content.weight.copy_((total / count[:, None]).to(encoder.content.weight.device))
        by_content = encoder.content_vectors().cpu()
        own = encoder.item.weight.detach().cpu().clone()
        own[rows] = vectors[rows] - by_content[rows]
        if seen is not None:
            draws = torch.Generator().manual_seed(seed + 1)
            random = F.normalize(torch.randn(vectors.shape, generator=draws), dim=1)
            own[~rows] = torch.where((by_content.norm(dim=1) > 0)[:, None], torch.zeros_like(random), random)[
                ~rows
            ]
        encoder.item.weight.copy_(own.to(encoder.item.weight.device))


def neighbor_matrix(sessions: Sessions, items: int) -> Tensor:
    """Return the damped, normalized co-occurrence matrix [items, items], sparse."""
    left, right, weight = co_occurrence(sessions, items)
    total = np.bincount(left, weights=weight, minlength=items) + _DAMPING
    value = weight / np.sqrt(total[left] * total[right])
    pointer = torch.from_numpy(np.searchsorted(left, np.arange(items + 1)).astype(np.int64))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            pointer,
            torch.from_numpy(right),
            torch.from_numpy(value.astype(np.float32)),
            (items, items),
            check_invariants=False,
        )


def co_occurrence(sessions: Sessions, items: int) -> tuple[Int64, Int64, Float64]:
    """Return the sorted pairs of items at most ten clicks apart in a session, in both directions, weighted 1 / distance.

    Of a log of more than _EVENTS clicks, only every second session, third session and so on is counted.
    """
    every = -(-len(sessions.items) // _EVENTS)
    if every > 1:
        sessions = sessions.take(np.arange(0, len(sessions), every))
    # Pairs are sorted part by part of their left items: sorting takes several times the memory of the pairs.
    within = [_pairs(sessions, shift) for shift in range(1, _WINDOW + 1)]
    of_item = np.zeros(items, np.int64)
    for a, b in within:
        of_item += np.bincount(a, minlength=items) + np.bincount(b, minlength=items)
    part_of_item = (np.cumsum(of_item) - of_item) // _PAIRS
    codes, weights = [np.zeros(0, np.int64)], [np.zeros(0, np.float64)]
    for part in np.unique(part_of_item):
        code, weight = _counted(within, part_of_item == part, items)
        codes.append(code)
        weights.append(weight)
    code = np.concatenate(codes)
    return code // items, code % items, np.concatenate(weights)


def _pairs(sessions: Sessions, shift: int) -> tuple[Int32, Int32]:
    """Return the different items that are `shift` clicks apart in a session."""
    owner = np.repeat(np.arange(len(sessions), dtype=np.int32), sessions.lengths)
    flat = sessions.items
    same = (owner[shift:] == owner[:-shift]) & (flat[shift:] != flat[:-shift])
    return flat[:-shift][same], flat[shift:][same]


def _counted(within: list[tuple[Int32, Int32]], left: NDArray[np.bool_], items: int) -> tuple[Int64, Float64]:
    """Return the sorted codes of the pairs whose left item is in `left`, and their weights. `within` is ordered by distance."""
    codes, weights = [np.zeros(0, np.int64)], [np.zeros(0, np.float64)]
    for shift, (a, b) in enumerate(within, start=1):
        for one, other in ((a, b), (b, a)):
            at = left[one]
            codes.append(one[at].astype(np.int64) * items + other[at])
            weights.append(np.full(len(codes[-1]), 1.0 / shift))
    code, inverse = np.unique(np.concatenate(codes), return_inverse=True)
    weight = np.bincount(inverse, weights=np.concatenate(weights), minlength=len(code))
    return code, np.asarray(weight, np.float64)
