"""The encoder: it maps a session to a point in item space.

Two LiGR layers (pre-norm causal attention and gated feed-forward) read the session. The head pools the raw item vectors by
causal attention and adds a small gated residual. The output is therefore in the space of the items
("representation-consistent", CORE's idea), and its cosine with an item vector is the score. Content (category, brand, price,
words of the name, attributes) is added to an item's vector, so an item without clicks has a vector too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training_jobs.snapshot.dataset import ItemContent

INPUT_SCALE = 0.3
# A CPU plans a matrix product once per shape, at about the cost of the product. Candidates are padded to a multiple of this
# size, so that shapes repeat.
_CANDIDATE_MULTIPLE = 128
_LEAST_PROBABILITY = 1e-38


@dataclass(frozen=True)
class EncoderSettings:
    """The encoder's size and regularization."""

    dim: int = 128
    layers: int = 2
    heads: int = 2
    max_length: int = 50
    dropout: float = 0.3
    embedding_dropout: float = 0.5
    temperature: float = 0.07
    id_dropout: float = 0.1  # share of item ids hidden in training if the item has content


class Dropout(nn.Dropout):
    """nn.Dropout with cheap randomness on a CPU: one random byte per element, so p is rounded to 1/256."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the input with random elements set to zero and the others scaled up, while training."""
        dropped = round(256 * self.p)
        if not self.training or dropped == 0 or x.device.type != "cpu":
            return super().forward(x)
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        drawn = words.view(torch.uint8)[: x.numel()].view(x.shape)
        return x * torch.ge(drawn, dropped, out=torch.empty_like(x)).mul_(256 / (256 - dropped))


class Layer(nn.Module):
    """Pre-norm attention and SwiGLU, each behind a sigmoid gate (LiGR)."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.RMSNorm(dim)
        self.norm_feed = nn.RMSNorm(dim)
        self.attend = nn.Linear(dim, 4 * dim)  # query, key, value, gate
        self.out = nn.Linear(dim, dim)
        self.feed = nn.Linear(dim, 5 * dim)  # up, swish (2 dim each), gate
        self.feed_out = nn.Linear(2 * dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Return the layer's output [sessions, length, dim]."""
        batch, length, dim = x.shape
        qkv, gate = self.attend(self.norm_attention(x)).split([3 * dim, dim], -1)
        q, k, v = qkv.view(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        seen = self.dropout(self.out(seen.transpose(1, 2).reshape(batch, length, dim)))
        x = x + seen * torch.sigmoid(gate)
        up, swish, gate = self.feed(self.norm_feed(x)).split([2 * dim, 2 * dim, dim], -1)
        fed = self.dropout(self.feed_out(up * F.silu(swish)))
        mixed: Tensor = x + fed * torch.sigmoid(gate)
        return mixed


class Encoder(nn.Module):
    """The encoder: padded rows of items (left-aligned) -> one unit vector per position."""

    def __init__(self, items: int, settings: EncoderSettings, content: ItemContent) -> None:
        super().__init__()
        self.settings = settings
        dim = settings.dim
        self.item = nn.Embedding(items, dim)
        nn.init.normal_(self.item.weight, std=1 / math.sqrt(dim))
        self.content = nn.EmbeddingBag(max(content.size, 1), dim, mode="mean")
        nn.init.normal_(self.content.weight, std=0.5 / math.sqrt(dim))
        self.has_content = content.size > 0
        self.register_buffer(
            "content_tokens", torch.from_numpy(content.tokens.astype("int64")), persistent=False
        )
        self.register_buffer("content_offsets", torch.from_numpy(content.offsets), persistent=False)
        self.layers = nn.ModuleList(
            Layer(dim, settings.heads, settings.dropout) for _ in range(settings.layers)
        )
        self.norm = nn.RMSNorm(dim)
        self.pool = nn.Linear(dim, 2 * dim)  # key, query
        self.residual_gate = nn.Parameter(torch.full((dim,), 0.1))
        self.relative = nn.Parameter(torch.zeros(settings.heads, settings.max_length))
        self.position = nn.Parameter(torch.randn(settings.max_length, dim) * 0.02)
        self.embedding_dropout = Dropout(settings.embedding_dropout)
        at = torch.arange(settings.max_length)
        self.register_buffer("distance", (at[:, None] - at[None]).clamp(min=0), persistent=False)
        future = torch.where(at[:, None] >= at[None], 0.0, float("-inf"))
        self.register_buffer("causal", future, persistent=False)

    def item_vectors(self, rows: Tensor, own: Tensor | None = None) -> Tensor:
        """Return unit vectors of the given items (a flat index). `own` are their rows of the item table, if already read."""
        vectors = self.item(rows) if own is None else own
        if self.has_content:
            if self.training and self.settings.id_dropout > 0:
                kept = torch.rand(len(rows), 1, device=vectors.device) >= self.settings.id_dropout
                kept = kept | (self._content_sizes(rows) == 0)[:, None]
                vectors = vectors * kept
            vectors = vectors + self._content_vectors(rows)
        return F.normalize(vectors, dim=-1)

    def all_item_vectors(self) -> Tensor:
        """Return the unit vectors of all items."""
        device = self.item.weight.device
        return torch.cat(
            [
                self.item_vectors(rows)
                for rows in torch.arange(self.item.num_embeddings, device=device).split(65536)  # type: ignore[no-untyped-call]
            ]
        )

    def content_vectors(self) -> Tensor:
        """Return the part of all items' vectors that their content gives: zero without content."""
        if not self.has_content:
            return torch.zeros_like(self.item.weight)
        return self._content_vectors(torch.arange(self.item.num_embeddings, device=self.item.weight.device))

    def _content_sizes(self, rows: Tensor) -> Tensor:
        offsets = cast(Tensor, self.content_offsets)
        return offsets[rows + 1] - offsets[rows]

    def _content_vectors(self, rows: Tensor) -> Tensor:
        offsets = cast(Tensor, self.content_offsets)
        sizes = self._content_sizes(rows)
        starts = torch.cumsum(sizes, 0) - sizes
        shift = torch.repeat_interleave(offsets[rows] - starts, sizes)
        flat = torch.arange(len(shift), device=rows.device) + shift
        return cast(Tensor, self.content(cast(Tensor, self.content_tokens)[flat], starts))

    def forward(self, vectors: Tensor, places: Tensor) -> Tensor:
        """Encode sessions, given as indices [batch, length] of the item vectors [n, dim], to [batch, length, dim]."""
        batch, length = places.shape
        raw = vectors.index_select(0, places.view(-1)).view(batch, length, -1)
        raw = self.embedding_dropout(raw * (math.sqrt(self.settings.dim) * INPUT_SCALE))
        x = raw + self.position[:length]
        causal = cast(Tensor, self.causal)[:length, :length]
        relative = self.relative[:, cast(Tensor, self.distance)[:length, :length]]
        bias = (relative + causal)[None]
        for layer in self.layers:
            x = layer(x, bias)
        y = self.norm(x)
        key, query = self.pool(y).chunk(2, -1)
        weights = query @ key.transpose(1, 2) / math.sqrt(self.settings.dim)
        pooled = torch.softmax(weights + bias[:, 0], -1) @ raw
        return F.normalize(pooled + self.residual_gate * y, dim=-1)


class SampledSoftmax(torch.autograd.Function):
    """Cross-entropy against shared candidates, with the gradients computed in the forward pass.

    `hidden` [positions, d] and `candidates` [c, d] are scored in chunks, so no [positions, c] matrix is kept.
    `offset` corrects each candidate's logit for its sampling probability. `hidden_candidate` is, per position, the
    candidate to exclude (the number of candidates for none).
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        candidates: Tensor,
        target: Tensor,
        offset: Tensor,
        weight: Tensor,
        hidden_candidate: Tensor,
        low_precision: bool,
    ) -> Tensor:
        """Return the weighted mean of the loss."""
        kind = torch.bfloat16 if low_precision else hidden.dtype
        wide, tall = candidates.to(kind), hidden.to(kind)
        scale = (weight / weight.sum())[:, None]
        grad_hidden = torch.empty_like(hidden)
        grad_candidates = torch.zeros_like(candidates)
        loss = hidden.new_zeros(())
        for begin in range(0, len(hidden), 1024):
            part = slice(begin, begin + 1024)
            logits = (tall[part] @ wide.T).float().add_(offset)
            skip = hidden_candidate[part, None]
            none = skip >= logits.shape[1]
            at_skip = skip.masked_fill(none, 0)
            logits.scatter_(1, at_skip, logits.gather(1, at_skip).masked_fill(~none, -1e9))
            at = target[part, None]
            share = torch.softmax(logits, 1)
            loss -= (share.gather(1, at).clamp_min(_LEAST_PROBABILITY).log() * scale[part]).sum()
            share.scatter_add_(1, at, torch.full_like(scale[part], -1.0))
            narrow = share.to(kind)
            grad_hidden[part] = (narrow @ wide).to(hidden.dtype) * scale[part]
            grad_candidates += (narrow.T @ (tall[part] * scale[part].to(kind))).to(candidates.dtype)
        ctx.save_for_backward(grad_hidden, grad_candidates)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Return the gradients of the arguments of `forward`."""
        grad_hidden, grad_candidates = ctx.saved_tensors
        return grad_hidden * grad, grad_candidates * grad, None, None, None, None, None


@dataclass(frozen=True)
class Candidates:
    """The items that a step compares: its sessions' own, then drawn ones.

    `inputs` and `targets` are indices of `rows`. `offset` [candidates] corrects the logits for the sampling probabilities.
    """

    rows: Tensor
    inputs: Tensor
    targets: Tensor
    offset: Tensor


def draw_candidates(
    inputs: Tensor, target: Tensor, negatives: int, pool: Tensor, generator: torch.Generator
) -> Candidates:
    """Return the step's own items and `negatives` drawn from `pool`, the items seen in training.

    With at least as many negatives as items the softmax is complete. Drawn items represent all items that were not drawn,
    so their share of Z is scaled up. A session's own items always compete. If they were only drawn, they would be
    candidates mostly where they are the target.
    """
    own, place = torch.unique(torch.cat([inputs.flatten(), target]), return_inverse=True)
    if negatives >= len(pool):
        drawn = pool[~torch.isin(pool, own)]
    else:
        at = torch.randint(0, len(pool), (negatives,), generator=generator)
        drawn = torch.unique(pool[at.to(pool.device)])
        drawn = drawn[~torch.isin(drawn, own)]
        kept = (len(own) + len(drawn)) // _CANDIDATE_MULTIPLE * _CANDIDATE_MULTIPLE - len(own)
        if kept > len(drawn) // 2:
            drawn = drawn[torch.randperm(len(drawn), generator=generator)[:kept].to(pool.device)]
    offset = torch.zeros(len(own) + len(drawn), device=own.device)
    missing = len(pool) - len(own)
    if len(drawn) and missing > len(drawn):
        offset[len(own) :] = math.log(missing / len(drawn))
    places = inputs.numel()
    return Candidates(torch.cat([own, drawn]), place[:places].view(inputs.shape), place[places:], offset)


def sampled_loss(
    hidden: Tensor,
    vectors: Tensor,
    candidates: Candidates,
    predicted: Tensor,
    weight: Tensor,
    temperature: float,
    low_precision: bool,
    exclude_current: bool,
) -> Tensor:
    """Return the loss of `hidden` [positions, dim] at the positions `predicted` of the inputs, against all candidates.

    With `exclude_current` a position's own item is not among its candidates, because a shop never recommends it.
    """
    target = candidates.targets
    skip = torch.full_like(target, len(vectors))
    if exclude_current:
        current = candidates.inputs.flatten()[predicted]
        skip = torch.where(current == target, skip, current)
    loss = SampledSoftmax.apply(  # type: ignore[no-untyped-call]
        hidden / temperature, vectors, target, candidates.offset, weight, skip, low_precision
    )
    return cast(Tensor, loss)
