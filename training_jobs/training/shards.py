"""The sessions of an epoch in shards: memory holds one shard, whatever the number of sessions.

A shard is made of blocks of sessions that are adjacent in time. Each epoch draws which blocks share a shard, and batches are
drawn within it. This is the shuffle buffer of WebDataset and tf.data: nearly a random order of all sessions, by sequential reads.
Sessions that fit into one shard are shuffled as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training_jobs.serving.sessions import Float32, Int64, Sessions
from training_jobs.snapshot.dataset import DataError
from training_jobs.training.target_weights import TargetWeights

# A shard of two million clicks takes some 150 MB while its batches are drawn.
SHARD_EVENTS = 2**21
_BLOCKS_PER_SHARD = 32
_WINDOW_BATCHES = 100
_DAY_MS = 86_400_000


def windows(offsets: Int64, max_length: int) -> tuple[Int64, Int64, Int64]:
    """Cut long sessions so that every event but the first of a session is predicted exactly once.

    Returns:
        The start, the length and the session of each window.
    """
    lengths = np.diff(offsets)
    pieces = np.maximum(1, -(-(lengths - 1) // max_length))
    session = np.repeat(np.arange(len(lengths), dtype=np.int64), pieces)
    piece = np.arange(len(session)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin = piece * max_length
    length = np.minimum(lengths[session] - begin, max_length + 1)
    return offsets[session] + begin, length, session


def batches(length: Int64, batch_events: int, rng: np.random.Generator) -> Iterator[Int64]:
    """Yield rows of windows in random batches of similar length, each of about `batch_events` predicted clicks."""
    if len(length) == 0:
        return
    order = rng.permutation(len(length))
    predicted = length - 1
    portion = max(1, int(_WINDOW_BATCHES * batch_events / predicted.mean()))
    cut: list[Int64] = []
    for begin in range(0, len(order), portion):
        part = order[begin : begin + portion]
        part = part[np.argsort(predicted[part], kind="stable")]
        events = np.cumsum(predicted[part])
        ends, done = [0], 0
        # Greedily, so that batches of one session length have one size: a CPU plans a matrix product once per shape.
        while events[-1] - done > 1.5 * batch_events:
            end = int(np.searchsorted(events, done + batch_events, side="right"))
            ends.append(max(end, ends[-1] + 1))
            done = int(events[ends[-1] - 1])
        cut += np.split(part, ends[1:])
    for at in rng.permutation(len(cut)):
        yield cut[at]


@dataclass(frozen=True)
class Shard:
    """Packed sessions and their windows on the device, where batches are gathered. `lengths` is `length` on the CPU.

    `weight` is that of a window by its age. `target_weight` is that of each item as a target, None if all are equal.
    """

    items: Tensor
    start: Tensor
    length: Tensor
    weight: Tensor
    lengths: Int64
    target_weight: Tensor | None = None

    def batch(self, rows: Tensor, width: int, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the inputs, padded at the end to `width`, the `count` predicted positions, the targets and their weights.

        The caller passes the sizes, because reading them from a GPU would wait for it.
        """
        start, length = self.start[rows], self.length[rows]
        at = torch.arange(width, device=rows.device)
        inputs = self.items[start[:, None] + torch.where(at < length[:, None], at, 0)].long()
        targets = length - 1
        row = torch.repeat_interleave(targets, output_size=count)
        place = torch.arange(count, device=rows.device) - (targets.cumsum(0) - targets)[row]
        at_target = start[row] + place + 1
        weight = self.weight[rows][row]
        if self.target_weight is not None:
            weight = weight * self.target_weight[at_target]
        return inputs, row * width + place, self.items[at_target].long(), weight


@dataclass(frozen=True)
class Shards:
    """The shards of sessions for `workers` processes. Each process gets `rounds` shards per epoch."""

    sessions: Sessions
    max_length: int
    recency_days: float
    workers: int = 1
    events: int = SHARD_EVENTS
    weights: TargetWeights | None = None

    @property
    def rounds(self) -> int:
        """Return the number of shards per process and epoch."""
        return max(1, -(-len(self.sessions.items) // (self.events * self.workers)))

    def of_epoch(self, rng: np.random.Generator, worker: int) -> list[NDArray[Any]]:
        """Return the shards of one process as ranges of sessions, [blocks, 2] each. All processes must pass equal generators.

        Raises:
            DataError: there are fewer sessions than shards.
        """
        shards = self.rounds * self.workers
        if shards == 1:
            return [np.array([[0, len(self.sessions)]])]
        offsets = self.sessions.offsets
        cuts = np.unique(
            np.searchsorted(offsets, np.linspace(0, offsets[-1], shards * _BLOCKS_PER_SHARD + 1))
        )
        if len(cuts) <= shards:
            raise DataError(
                f"{len(self.sessions)} sessions cannot be shared by {self.workers} processes: "
                "choose an instance type with one GPU"
            )
        blocks = np.stack([cuts[:-1], cuts[1:]], axis=1)
        order = rng.permutation(len(blocks))
        return [blocks[np.sort(part)] for part in np.array_split(order, shards)[worker :: self.workers]]

    def load(self, blocks: NDArray[Any], device: torch.device) -> Shard:
        """Read one shard."""
        parts = [self.sessions.between(int(first), int(last)) for first, last in blocks]
        lengths = np.concatenate([part.lengths for part in parts])
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        items = parts[0].items if len(parts) == 1 else np.concatenate([part.items for part in parts])
        start, length, session = windows(offsets, self.max_length)
        usable = length >= 2
        start, length, session = start[usable], length[usable], session[usable]
        weight = np.concatenate([self._weights(part) for part in parts])[session]
        on_device = [torch.from_numpy(part).to(device) for part in (items, start, length, weight)]
        target_weight = None
        if self.weights is not None:
            of_events = np.concatenate([self.weights.of(part.items, part.kinds) for part in parts])
            target_weight = torch.from_numpy(of_events).to(device)
        return Shard(on_device[0], on_device[1], on_device[2], on_device[3], length, target_weight)

    def _weights(self, sessions: Sessions) -> Float32:
        """Return the weight of each session by its age."""
        if self.recency_days <= 0:
            return np.ones(len(sessions), np.float32)
        newest_ms = self.sessions.times_ms[self.sessions.offsets[-1] - 1]
        age_ms = newest_ms - sessions.ends_ms
        return np.asarray(np.exp(-age_ms / (self.recency_days * _DAY_MS)), np.float32)
