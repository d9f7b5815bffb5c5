"""Vectors of items without a click: their content, moved towards clicked items of like prices and like embeddings.

How far each step moves is chosen on the clicked items, whose right vectors are known. Neighbors that say nothing move nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training_jobs.serving.sessions import Float32, Int64
from training_jobs.snapshot.dataset import ItemContent
from training_jobs.training.encoder_torch import Encoder
from training_jobs.training.warm_start import neighbor_matrix

_SHARES = (0.25, 0.5, 0.75, 1.0)
_LEAST_GAIN = 0.01  # of the mean cosine: neighbors that add less say nothing that is not known without them
_NEAREST = 50
# Of the weights of the nearest items, exp(cosine / temperature). A low one trusts the most similar item alone.
_TEMPERATURES = (0.05, 0.1, 0.2, 0.4)
_REFERENCES = 100_000  # clicked items that are compared with, the most clicked
# Compared at most: with a million items without a click there are fewer references.
_PAIRS = 10_000_000_000
_JUDGES = 4_000  # clicked items that the temperature and the share are chosen on
_BLOCK = 256


@dataclass(frozen=True)
class Shares:
    """How far items without a click moved, 0 to 1: towards their neighbors in price, then towards those of their embeddings."""

    by_price: float = 0.0
    by_embedding: float = 0.0


def place_unclicked(
    encoder: Encoder, vectors: Float32, clicks: Int64, content: ItemContent
) -> tuple[Float32, Shares]:
    """Move items without a click towards clicked items that the catalogue says are like them.

    A moved vector is a mean of its own, which its content gives, and of its neighbors' direction. Where the two disagree, the
    mean is short and the item scores less. The share of the neighbors is chosen on the items with clicks. With it, the mean of
    their content and neighbors has the greatest cosine with what they have learnt.

    Args:
        encoder: the trained encoder.
        vectors: the item vectors that it gives, [items, dim].
        clicks: the clicks per item that it has learnt.
        content: the content of the items.

    Returns:
        The vectors of all items, and the shares.
    """
    known = torch.from_numpy(clicks > 0)
    if bool(known.all()) or not bool(known.any()):
        return vectors, Shares()
    with torch.no_grad():
        learnt = torch.from_numpy(vectors)
        by_content = F.normalize(encoder.content_vectors().float().cpu(), dim=1)
        # Of each item, its vector as if nobody had clicked it.
        guess = torch.where(known[:, None], by_content, learnt)
        placed, by_price = _moved(guess, _by_price(learnt, known, content), learnt, clicks)
        placed, by_embedding = _moved(placed, _by_embedding(learnt, clicks, content), learnt, clicks)
        if placed is guess:
            return vectors, Shares()
        return torch.where(known[:, None], learnt, placed).numpy(), Shares(by_price, by_embedding)


def _moved(
    guess: Tensor, candidates: Iterable[Tensor], learnt: Tensor, clicks: Int64
) -> tuple[Tensor, float]:
    """Return the guesses moved towards the best of the candidates by the best share, and that share.

    A candidate has a direction per item, zero where it says nothing. It is judged on the clicked items with a direction. A guess
    of zero knows nothing, so the direction takes its place. That gain says nothing of the share of the other guesses: with 0,
    only guesses of zero move. If no candidate gains enough, the guesses are returned themselves.
    """
    best, best_share, most = guess, 0.0, _LEAST_GAIN
    for beside in candidates:
        says = beside.norm(dim=1) > 0
        judged = says & torch.from_numpy(clicks > 0)
        if not bool(judged.any()):
            continue
        weight, right = torch.from_numpy(clicks)[judged], learnt[judged]
        empty = guess[judged].norm(dim=1, keepdim=True) == 0
        own = torch.where(empty, beside[judged], guess[judged])
        before = _mean_cosine(guess[judged], right, weight)
        gains = {
            share: _mean_cosine(torch.lerp(own, beside[judged], share), right, weight) - before
            for share in (0.0, *_SHARES)
        }
        share = max(gains, key=gains.__getitem__)
        if gains[share] < gains[0.0] + _LEAST_GAIN:
            share = 1.0 if bool(empty.all()) else 0.0
        if gains[share] >= most:
            best, best_share, most = beside, share, gains[share]
    if best is guess:
        return guess, 0.0
    says = (best.norm(dim=1) > 0)[:, None]
    start = torch.where(guess.norm(dim=1, keepdim=True) > 0, guess, best)
    return torch.where(says, torch.lerp(start, best, best_share), guess), best_share


def _mean_cosine(vectors: Tensor, right: Tensor, weight: Tensor) -> float:
    return float((F.cosine_similarity(vectors, right) * weight).sum() / weight.sum())


def _by_price(learnt: Tensor, known: Tensor, content: ItemContent) -> Iterable[Tensor]:
    """Yield the mean direction of each item's clicked neighbors in the lists by price."""
    if len(content.by_price.items):
        yield F.normalize(neighbor_matrix(content.by_price, len(learnt)) @ (learnt * known[:, None]), dim=1)


def _by_embedding(learnt: Tensor, clicks: Int64, content: ItemContent) -> Iterable[Tensor]:
    """Yield, per temperature, the mean direction of the clicked items with the nearest embeddings.

    The mean of the clicked items is taken from all embeddings first, because those of pictures have most in common with each
    other. Directions are given for items without a click and for _JUDGES with clicks, whose own vector is not used.
    """
    embeddings = content.embeddings
    if not embeddings.size:
        return
    has = embeddings.any(axis=1)
    clicked = np.flatnonzero(has & (clicks > 0))
    if len(clicked) <= 1:
        return
    unclicked = np.flatnonzero(has & (clicks == 0))
    most = min(_REFERENCES, _PAIRS // (_JUDGES + len(unclicked)))
    references = clicked[np.argsort(-clicks[clicked], kind="stable")[:most]]
    judges = references[np.random.default_rng(0).permutation(len(references))[:_JUDGES]]
    asked = np.concatenate([judges, unclicked])
    centre = embeddings[references].mean(axis=0)
    compared = _centred(embeddings[references], centre)
    found = []
    for begin in range(0, len(asked), _BLOCK):
        rows = asked[begin : begin + _BLOCK]
        alike = _centred(embeddings[rows], centre) @ compared.T
        alike[torch.from_numpy(rows[:, None] == references[None])] = -2.0
        found.append((torch.from_numpy(rows), *alike.topk(min(_NEAREST, len(references) - 1), dim=1)))
    weighed = torch.from_numpy(np.sqrt(clicks[references])).float()
    vectors = learnt[torch.from_numpy(references)]
    for temperature in _TEMPERATURES:
        beside = torch.zeros_like(learnt)
        for of_block, cosine, near in found:
            weight = torch.exp((cosine - 1.0) / temperature) * weighed[near]
            beside[of_block] = F.normalize((weight[:, :, None] * vectors[near]).sum(dim=1), dim=1)
        yield beside


def _centred(embeddings: Float32, centre: Float32) -> Tensor:
    return F.normalize(torch.from_numpy(np.asarray(embeddings - centre, np.float32)), dim=1)
