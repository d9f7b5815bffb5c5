"""The encoder: a session in, a point in item space out.

Two LiGR layers (pre-norm causal attention and gated feed-forward) look at the session; the head then pools the raw
item vectors by causal attention and adds a small gated residual. So the output lives in the same space as the items
("representation-consistent", CORE's idea), and its cosine with every item vector is the score. Content (category,
brand, price, words of the name) is added into an item's vector: an item nobody clicked yet still has a place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training_jobs.data import ItemContent

INPUT_SCALE = 0.3


@dataclass(frozen=True)
class EncoderSettings:
    dim: int = 128
    layers: int = 2
    heads: int = 2
    max_length: int = 50
    dropout: float = 0.3
    embedding_dropout: float = 0.5
    temperature: float = 0.07
    id_dropout: float = 0.1  # share of item ids hidden in training where content can stand in for them


class Layer(nn.Module):
    """Pre-norm attention and SwiGLU, each behind a sigmoid gate (LiGR)."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.RMSNorm(dim)
        self.norm_feed = nn.RMSNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.feed_in = nn.Linear(dim, 4 * dim)
        self.feed_out = nn.Linear(2 * dim, dim)
        self.gate_attention = nn.Linear(dim, dim)
        self.gate_feed = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        batch, length, dim = x.shape
        normed = self.norm_attention(x)
        qkv = self.qkv(normed).view(batch, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        seen = self.dropout(self.out(seen.transpose(1, 2).reshape(batch, length, dim)))
        x = x + seen * torch.sigmoid(self.gate_attention(normed))
        normed = self.norm_feed(x)
        up, gate = self.feed_in(normed).chunk(2, -1)
        fed = self.dropout(self.feed_out(up * F.silu(gate)))
        mixed: Tensor = x + fed * torch.sigmoid(self.gate_feed(normed))
        return mixed


class Encoder(nn.Module):
    """Sessions as padded rows of items (left-aligned) -> one unit vector for each position."""

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
        self.pool_query = nn.Linear(dim, dim)
        self.pool_key = nn.Linear(dim, dim)
        self.residual_gate = nn.Parameter(torch.full((dim,), 0.1))
        self.relative = nn.Parameter(torch.zeros(settings.heads, settings.max_length))
        self.position = nn.Parameter(torch.randn(settings.max_length, dim) * 0.02)
        self.embedding_dropout = nn.Dropout(settings.embedding_dropout)
        at = torch.arange(settings.max_length)
        self.register_buffer("distance", (at[:, None] - at[None]).clamp(min=0), persistent=False)
        future = torch.where(at[:, None] >= at[None], 0.0, float("-inf"))
        self.register_buffer("causal", future, persistent=False)

    def item_vectors(self, rows: Tensor) -> Tensor:
        """Unit vectors of the given items (a flat index)."""
        vectors = self.item(rows)
        if self.has_content:
            if self.training and self.settings.id_dropout > 0:
                kept = torch.rand(len(rows), 1, device=vectors.device) >= self.settings.id_dropout
                kept = kept | (self._content_sizes(rows) == 0)[:, None]
                vectors = vectors * kept
            vectors = vectors + self._content_vectors(rows)
        return F.normalize(vectors, dim=-1)

    def all_item_vectors(self) -> Tensor:
        device = self.item.weight.device
        return torch.cat(
            [
                self.item_vectors(rows)
                for rows in torch.arange(self.item.num_embeddings, device=device).split(65536)  # type: ignore[no-untyped-call]
            ]
        )

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

    def forward(self, rows: Tensor) -> Tensor:
        batch, length = rows.shape
        unique, inverse = torch.unique(rows, return_inverse=True)
        raw = self.item_vectors(unique).index_select(0, inverse.view(-1)).view(batch, length, -1)
        raw = self.embedding_dropout(raw * (math.sqrt(self.settings.dim) * INPUT_SCALE))
        x = raw + self.position[:length]
        causal = cast(Tensor, self.causal)[:length, :length]
        relative = self.relative[:, cast(Tensor, self.distance)[:length, :length]]
        bias = (relative + causal)[None]
        for layer in self.layers:
            x = layer(x, bias)
        y = self.norm(x)
        weights = self.pool_query(y) @ self.pool_key(y).transpose(1, 2) / math.sqrt(self.settings.dim)
        pooled = torch.softmax(weights + bias[:, 0], -1) @ raw
        return F.normalize(pooled + self.residual_gate * y, dim=-1)


class SampledSoftmax(torch.autograd.Function):
    """Cross-entropy against shared candidates, with the gradients worked out in the forward pass.

    `hidden` [positions, d] and `candidates` [c, d] are scored in chunks, so no [positions, c] matrix is kept.
    `offset` corrects each candidate's logit for how likely it was sampled. `hidden_candidate` names for each
    position a candidate it must not be compared with (its own column count: none).
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
        kind = torch.bfloat16 if low_precision else hidden.dtype
        wide, tall = candidates.to(kind), hidden.to(kind)
        grad_hidden = torch.empty_like(hidden)
        grad_candidates = torch.zeros_like(candidates)
        loss = hidden.new_zeros(())
        scale = weight / weight.sum()
        for begin in range(0, len(hidden), 1024):
            part = slice(begin, begin + 1024)
            logits = (tall[part] @ wide.T).float().add_(offset)
            skip = hidden_candidate[part, None]
            none = skip >= logits.shape[1]
            at_skip = skip.masked_fill(none, 0)
            logits.scatter_(1, at_skip, logits.gather(1, at_skip).masked_fill(~none, -1e9))
            at = target[part, None]
            own = logits.gather(1, at)[:, 0]
            top = logits.max(1, keepdim=True).values
            total = logits.sub_(top).exp_().sum(1)
            loss += ((total.log() + top[:, 0] - own) * scale[part]).sum()
            logits.mul_((scale[part] / total)[:, None])
            logits.scatter_add_(1, at, -scale[part, None])
            narrow = logits.to(kind)
            grad_hidden[part] = (narrow @ wide).to(hidden.dtype)
            grad_candidates += (narrow.T @ tall[part]).to(candidates.dtype)
        ctx.save_for_backward(grad_hidden, grad_candidates)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        grad_hidden, grad_candidates = ctx.saved_tensors
        return grad_hidden * grad, grad_candidates * grad, None, None, None, None, None


def sampled_loss(
    encoder: Encoder,
    hidden: Tensor,
    target: Tensor,
    weight: Tensor,
    negatives: int,
    pool: Tensor,
    generator: torch.Generator,
    low_precision: bool,
    current: Tensor,
    exclude_current: bool,
) -> Tensor:
    """Loss of `hidden` against its targets, the batch's other targets and `negatives` items drawn from `pool`.

    `pool` holds the items that can be drawn (those seen in training). With at least as many negatives as items the
    softmax is complete. Drawn items stand for all that were not drawn, so their share of Z is scaled up.
    `current` is each position's own item, left out of its comparison where a shop never recommends it.
    """
    # What the session looked at must compete too: left to chance, it is there mostly where it was right.
    batch, place = torch.unique(torch.cat([target, current]), return_inverse=True)
    own, looked_at = place[: len(target)], place[len(target) :]
    if negatives >= len(pool):
        drawn = pool
    else:
        at = torch.randint(0, len(pool), (negatives,), generator=generator)
        drawn = torch.unique(pool[at.to(pool.device)])
    drawn = drawn[~torch.isin(drawn, batch)]
    offset = hidden.new_zeros(len(batch) + len(drawn))
    missing = len(pool) - len(batch)
    if len(drawn) and missing > len(drawn):
        offset[len(batch) :] = math.log(missing / len(drawn))
    rows = torch.cat([batch, drawn])
    candidates = encoder.item_vectors(rows)
    skip = torch.full_like(own, len(rows))
    if exclude_current:
        skip = torch.where(looked_at == own, skip, looked_at)
    scaled = hidden / encoder.settings.temperature
    loss = SampledSoftmax.apply(scaled, candidates, own, offset, weight, skip, low_precision)  # type: ignore[no-untyped-call]
    return cast(Tensor, loss)
