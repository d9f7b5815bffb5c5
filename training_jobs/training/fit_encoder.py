"""The training loop: one pass over packed sessions per epoch, resumable, deterministic on CPU for a seed."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training_jobs.serving.sessions import Float32, Int64, Sessions
from training_jobs.snapshot.dataset import DataError
from training_jobs.training.encoder_torch import Encoder, draw_candidates, sampled_loss
from training_jobs.training.lazy_adam import LazyAdam

_WINDOW_BATCHES = 100
_BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class FitSettings:
    """The settings of the training loop."""

    epochs: int = 10
    batch_events: int = 768
    learning_rate: float = 3e-3
    final_learning_rate: float = 0.0
    weight_decay: float = 0.0
    negatives: int = 1024
    recency_days: float = 0.0  # 0: all sessions have the same weight; else exp(-age / recency_days)
    warmup_share: float = 0.08
    max_gradient_norm: float = 5.0
    exclude_current: bool = True  # the current item is never recommended, so it does not compete


Log = Callable[[dict[str, float | int | str]], None]


@dataclass(frozen=True)
class Job:
    """The values that all steps of one training job share.

    `deadline` is a time of `clock`, `checkpoint` is a directory, and `log` writes one line of the job's log.
    """

    seed: int = 0
    deadline: float = math.inf
    checkpoint: Path | None = None
    log: Log = lambda _: None
    clock: Callable[[], float] = time.monotonic

    def left_s(self) -> float:
        """Return the seconds until the deadline."""
        return self.deadline - self.clock() if math.isfinite(self.deadline) else math.inf

    def within(self, share: float) -> Job:
        """Return the same job with a deadline after `share` of the time left, at least one second."""
        return replace(self, deadline=self.clock() + max(1.0, self.left_s() * share))


@dataclass(frozen=True)
class Epoch:
    """The progress and the figures of one epoch."""

    epoch: int
    epochs: int
    loss: float
    events: int
    seconds: float


def windows(sessions: Sessions, max_length: int) -> tuple[Int64, Int64, Int64]:
    """Cut long sessions so that every event but the first of a session is predicted exactly once.

    Returns:
        The start, the length and the session of each window.
    """
    lengths = sessions.lengths
    pieces = np.maximum(1, -(-(lengths - 1) // max_length))
    session = np.repeat(np.arange(len(sessions), dtype=np.int64), pieces)
    piece = np.arange(len(session)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin = piece * max_length
    length = np.minimum(lengths[session] - begin, max_length + 1)
    return sessions.offsets[session] + begin, length, session


def batches(length: Int64, batch_events: int, rng: np.random.Generator) -> Iterator[Int64]:
    """Yield rows of windows in random batches of similar length, each of about `batch_events` predicted clicks."""
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
class _Windows:
    """The packed sessions and their windows on the device, where batches are gathered."""

    items: Tensor
    start: Tensor
    length: Tensor
    weight: Tensor

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
        target = self.items[start[row] + place + 1].long()
        return inputs, row * width + place, target, self.weight[rows][row]


def fit(
    encoder: Encoder,
    sessions: Sessions,
    settings: FitSettings,
    job: Job,
    name: str,
    *,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    on_step: Callable[[int, Tensor], None] = lambda *_: None,
) -> int:
    """Train in place and return the number of epochs run. `name` names this fit in its checkpoint and its seeds.

    After each epoch the number of epochs is cut to fit the job's deadline. The learning rate still
    decays to its end. One epoch always runs. `on_step` receives the number of events that each step predicted, and its loss.
    On a GPU the step may still be running then.
    """
    deadline_s, clock = job.left_s(), job.clock
    device = encoder.item.weight.device
    start, length, session = windows(sessions, encoder.settings.max_length)
    usable = length >= 2
    start, length, session = start[usable], length[usable], session[usable]
    if len(start) == 0:
        raise DataError("no session with two items to learn from: check the date range of the export")
    weights = _recency_weights(sessions, settings.recency_days)[session]
    packed = _Windows(
        *(torch.from_numpy(part).to(device) for part in (sessions.items, start, length, weights))
    )
    seen = np.zeros(encoder.item.num_embeddings, bool)
    seen[sessions.items] = True
    pool = torch.from_numpy(np.flatnonzero(seen)).to(device)
    others = [parameter for parameter in encoder.parameters() if parameter is not encoder.item.weight]
    optimiser = torch.optim.AdamW(
        others, lr=settings.learning_rate, betas=_BETAS, weight_decay=settings.weight_decay, fused=True
    )
    table = LazyAdam(encoder.item.weight, _BETAS, settings.weight_decay)
    epoch, epochs = _restore(job.checkpoint, name, encoder, optimiser, table) or (0, settings.epochs)
    started, already = clock(), epoch
    low_precision = _multiplies_bfloat16(device)
    while epoch < epochs:
        began = clock()
        torch.manual_seed(_seed(job.seed, name, epoch))
        rng = np.random.default_rng([job.seed, _number(name), epoch])
        draws = torch.Generator().manual_seed(_seed(job.seed, name + "/negatives", epoch))
        encoder.train()
        total = torch.zeros((), device=device)
        events = 0
        cut = list(batches(length, settings.batch_events, rng))
        # Moved at once: a copy in each step would wait for the GPU to finish the previous step.
        moved = torch.split(torch.from_numpy(np.concatenate(cut)).to(device), [len(rows) for rows in cut])
        for step, (rows, at) in enumerate(zip(cut, moved, strict=True)):
            rate = _rate(settings, (epoch + (step + 1) / len(cut)) / epochs)
            for group in optimiser.param_groups:
                group["lr"] = rate
            count = int(length[rows].sum()) - len(rows)
            inputs, predicted, target, weight = packed.batch(at, int(length[rows].max()) - 1, count)
            candidates = draw_candidates(inputs, target, settings.negatives, pool, draws)
            own = table.read(candidates.rows).requires_grad_()
            vectors = encoder.item_vectors(candidates.rows, own)
            with torch.autocast(device.type, torch.bfloat16, enabled=low_precision):
                hidden = encoder(vectors, candidates.inputs)
            loss = sampled_loss(
                hidden.flatten(0, 1).index_select(0, predicted).float(),
                vectors,
                candidates,
                predicted,
                weight,
                encoder.settings.temperature,
                low_precision,
                settings.exclude_current,
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_([own, *others], settings.max_gradient_norm)
            optimiser.step()
            assert own.grad is not None
            table.step(candidates.rows, own.detach(), own.grad, rate)
            total += loss.detach() * count
            events += count
            on_step(count, loss.detach())
        table.settle()
        epoch += 1
        seconds = clock() - began
        if math.isfinite(deadline_s):
            spent_s = clock() - started
            pace_s = max(spent_s / (epoch - already), 1e-6)
            epochs = min(epochs, epoch + max(0, int((deadline_s - spent_s) / pace_s)))
        mean_loss = float(total) / max(events, 1)
        if not math.isfinite(mean_loss):
            raise ArithmeticError(f"the loss is {mean_loss} in epoch {epoch}: lower the learning rate")
        _save(job.checkpoint, name, encoder, optimiser, table, (epoch, epochs))
        on_epoch(Epoch(epoch, epochs, mean_loss, events, seconds))
    encoder.eval()
    return epochs


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Return True if the hardware multiplies bfloat16. It is much faster there and slower elsewhere."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))  # not the T4 of ml.g4dn
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def _recency_weights(sessions: Sessions, recency_days: float) -> Float32:
    if recency_days <= 0:
        return np.ones(len(sessions), np.float32)
    ends = sessions.ends_ms
    weights: np.ndarray = np.exp(-(ends.max() - ends) / (recency_days * 86_400_000)).astype(np.float32)
    return weights


def _rate(settings: FitSettings, progress: float) -> float:
    if progress < settings.warmup_share:
        return settings.learning_rate * progress / settings.warmup_share
    done = (progress - settings.warmup_share) / (1 - settings.warmup_share)
    low = settings.final_learning_rate
    return low + (settings.learning_rate - low) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _number(stage: str) -> int:
    return int.from_bytes(stage.encode()[-6:], "big")


def _seed(seed: int, stage: str, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, _number(stage), len(stage), epoch]).generate_state(1)[0])


def _save(
    checkpoint: Path | None,
    stage: str,
    encoder: Encoder,
    optimiser: torch.optim.Optimizer,
    table: LazyAdam,
    progress: tuple[int, int],
) -> None:
    if checkpoint is None:
        return
    checkpoint.mkdir(parents=True, exist_ok=True)
    state = {
        "encoder": encoder.state_dict(),
        "optimiser": optimiser.state_dict(),
        "table": table.state(),
        "progress": progress,
    }
    partial = checkpoint / f"{stage}.pt.partial"
    torch.save(state, partial)
    partial.replace(checkpoint / f"{stage}.pt")


def _restore(
    checkpoint: Path | None,
    stage: str,
    encoder: Encoder,
    optimiser: torch.optim.Optimizer,
    table: LazyAdam,
) -> tuple[int, int] | None:
    """Restore the checkpoint, and return its epochs done and planned. An unreadable checkpoint (a cut copy) is ignored."""
    path = checkpoint / f"{stage}.pt" if checkpoint else None
    if path is None or not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        epoch, epochs = state["progress"]
    except Exception as error:  # torch raises nearly anything here
        print(f"{path} cannot be read, starting {stage} anew: {error}", file=sys.stderr)
        return None
    encoder.load_state_dict(state["encoder"])
    optimiser.load_state_dict(state["optimiser"])
    table.load(state["table"])
    return int(epoch), int(epochs)
