"""Count the work of a training step from shapes, and measure the device's ceilings.

Forward multiply-adds of the encoder, two operations each, per position of the padded batch (width L, dimension d):

    a layer       24 d^2 + 4 L d    projections 6 + 2, feed-forward 8 + 4, two gates 2 + 2; attention's two products
    the head       4 d^2 + 4 L d    query and key; pooling's two products

Backward is twice that: one gradient for each side of each product.
The sampled softmax has three products of [positions predicted, d] with [candidates, d]: 6 d per pair.
Only matrix products count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from training_jobs.training.encoder_torch import Encoder, EncoderSettings

_FLOAT_BYTES = 4
# AdamW reads weight, gradient and two moments, and writes all but the gradient. Clipping reads it twice and writes it once.
_PASSES = 7 + 3
# Rows of the item table have these passes too, and before them each row and its moments are read, and the row is written.
_ROW_PASSES = 4


@dataclass
class Work:
    """The work of several steps, added up."""

    encoder_flops: int = 0
    softmax_flops: int = 0
    bytes: int = 0
    positions: int = 0
    padded: int = 0

    @property
    def flops(self) -> int:
        return self.encoder_flops + self.softmax_flops


def encoder_flops(settings: EncoderSettings, sessions: int, width: int) -> int:
    """Return the operations of a padded batch, forward and backward."""
    d = settings.dim
    layer, head = 24 * d * d + 4 * width * d, 4 * d * d + 4 * width * d
    return 3 * sessions * width * (settings.layers * layer + head)


def softmax_flops(settings: EncoderSettings, predicted: int, candidates: int) -> int:
    return 6 * settings.dim * predicted * candidates


def step_bytes(encoder: Encoder, candidates: int) -> int:
    """Return a lower bound of memory traffic: weights, gradients, moments, item rows; activations may stay in caches."""
    weights = sum(parameter.numel() for parameter in encoder.parameters()) - encoder.item.weight.numel()
    rows = candidates * encoder.settings.dim
    return _FLOAT_BYTES * (_PASSES * (weights + rows) + _ROW_PASSES * rows)


class Counter:
    """A counter of an encoder's work, from the shapes of its calls."""

    def __init__(self, encoder: Encoder, on_batch: Callable[[], None] = lambda: None) -> None:
        self.work = Work()
        self._encoder, self._on_batch = encoder, on_batch
        self._batch, self._candidates = (0, 0), 0
        encoder.register_forward_pre_hook(self._encodes)

    def _encodes(self, _: object, inputs: tuple[torch.Tensor, ...]) -> None:
        vectors, places = inputs
        self._batch, self._candidates = (places.shape[0], places.shape[1]), len(vectors)
        self._on_batch()

    def step(self, predicted: int) -> None:
        sessions, width = self._batch
        settings, work = self._encoder.settings, self.work
        work.encoder_flops += encoder_flops(settings, sessions, width)
        work.softmax_flops += softmax_flops(settings, predicted, self._candidates)
        work.bytes += step_bytes(self._encoder, self._candidates)
        work.positions += predicted
        work.padded += sessions * width


@dataclass(frozen=True)
class Ceilings:
    """The measured maximum rates of a device, and how they were measured."""

    flops_per_s: float
    bytes_per_s: float
    product: str
    copy: str


def ceilings(device: torch.device, size: int = 0, copied_bytes: int = 0) -> Ceilings:
    """Measure a large matrix product (the faster of bfloat16 and float32) and a large copy, read and written."""
    size = size or (8192 if device.type == "cuda" else 2048)
    copied_bytes = copied_bytes or (2**32 if device.type == "cuda" else 2**28)
    rates = {}
    for kind in (torch.bfloat16, torch.float32):
        left, right = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
        rates[str(kind).removeprefix("torch.")] = 2 * size**3 / _seconds(device, left.matmul, right)
    name = max(rates, key=rates.__getitem__)
    source = torch.ones(copied_bytes, dtype=torch.uint8, device=device)
    copied = 2 * copied_bytes / _seconds(device, torch.empty_like(source).copy_, source)
    return Ceilings(rates[name], copied, f"{size} x {size} x {size} {name}", f"{copied_bytes / 2**20:g} MiB")


def _seconds(
    device: torch.device, work: Callable[[torch.Tensor], torch.Tensor], argument: torch.Tensor
) -> float:
    """Return the best of several measurements of a few calls each."""
    best, calls = float("inf"), 10 if device.type == "cuda" else 1
    for _ in range(6):
        synchronise(device)
        began = time.perf_counter()
        for _ in range(calls):
            work(argument)
        synchronise(device)
        best = min(best, (time.perf_counter() - began) / calls)
    return best


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
