"""The training loop: one pass over all shards of the sessions per epoch, resumable, deterministic on CPU for a seed."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training_jobs.serving.sessions import Sessions
from training_jobs.snapshot.dataset import DataError
from training_jobs.training.encoder_torch import Encoder, draw_candidates, sampled_loss
from training_jobs.training.lazy_adam import LazyAdam
from training_jobs.training.shards import SHARD_EVENTS, Shards, batches
from training_jobs.training.target_weights import TargetWeights
from training_jobs.training.workers import ALONE, Workers

# With a deadline, the pace is first measured after this many steps.
_PACE_STEPS = 20
_CHECKPOINT_SECONDS = 300.0
_BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class FitSettings:
    """The settings of the training loop."""

    epochs: int = 6  # as good as ten at 3e-3 on sessions, not on sparse histories (docs/decisions/0082)
    batch_events: int = 768
    learning_rate: float = 4e-3
    final_learning_rate: float = 0.0
    weight_decay: float = 0.0
    negatives: int = 1024
    recency_days: float = 0.0  # 0: all sessions have the same weight; else exp(-age / recency_days)
    # Of a target, beside its session's weight. 1, 1 and 0: all targets are equal (target_weights.py).
    cart_weight: float = 1.0
    purchase_weight: float = 1.0
    price_weight: float = 0.0
    warmup_share: float = 0.08
    max_gradient_norm: float = 5.0
    exclude_current: bool = True  # the current item is never recommended, so it does not compete


Log = Callable[[dict[str, float | int | str]], None]


@dataclass(frozen=True)
class Job:
    """The values that all steps of one training job share.

    `deadline` is a time of `clock`, `checkpoint` is a directory, and `log` writes one line of the job's log. `workers` are the
    processes that train together.
    """

    seed: int = 0
    deadline: float = math.inf
    checkpoint: Path | None = None
    log: Log = lambda _: None
    clock: Callable[[], float] = time.monotonic
    workers: Workers = ALONE

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


def fit(
    encoder: Encoder,
    sessions: Sessions,
    settings: FitSettings,
    job: Job,
    name: str,
    *,
    weights: TargetWeights | None = None,
    shard_events: int = SHARD_EVENTS,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    on_step: Callable[[int, Tensor], None] = lambda *_: None,
) -> float:
    """Train in place and return the number of epochs run. `name` names this fit in its checkpoint and its seeds.

    Memory holds one shard of the sessions at a time. After each shard the number of shards is cut to fit the job's deadline, so
    the last epoch may be a part of one. The learning rate still decays to its end. One shard always runs. `on_step` receives the
    number of events that each step predicted, and its loss. On a GPU the step may still be running then. `weights` are those of
    the targets, None if all are equal.
    """
    deadline_s, clock, workers = job.left_s(), job.clock, job.workers
    device = encoder.item.weight.device
    if int(sessions.lengths.max(initial=0)) < 2:
        raise DataError("no session with two items to learn from: check the date range of the export")
    length, recency = encoder.settings.max_length, settings.recency_days
    shards = Shards(sessions, length, recency, workers.size, shard_events, weights)
    pool = torch.from_numpy(np.flatnonzero(sessions.clicks(encoder.item.num_embeddings))).to(device)
    others = [parameter for parameter in encoder.parameters() if parameter is not encoder.item.weight]
    optimiser = torch.optim.AdamW(
        others, lr=settings.learning_rate, betas=_BETAS, weight_decay=settings.weight_decay, fused=True
    )
    table = LazyAdam(encoder.item.weight, _BETAS, settings.weight_decay)
    rounds = shards.rounds
    # Progress is counted in shards of this process; an epoch has `rounds` of them.
    done, planned = _restore(job.checkpoint, name, encoder, optimiser, table) or (
        0,
        settings.epochs * rounds,
    )
    started, saved, already = clock(), 0.0, done
    peak_rate = settings.learning_rate * workers.rate_factor
    low_precision = _multiplies_bfloat16(device)
    while done < planned:
        epoch, at_round = divmod(done, rounds)
        if at_round == 0 or done == already:
            began, events, total = clock(), 0, torch.zeros((), device=device)
            order = shards.of_epoch(np.random.default_rng([job.seed, _number(name), epoch, 1]), workers.rank)
        torch.manual_seed(_seed(job.seed, name, done, workers.rank))
        rng = np.random.default_rng([job.seed, _number(name), done])
        draws = torch.Generator().manual_seed(_seed(job.seed, name + "/negatives", done, workers.rank))
        encoder.train()
        shard = shards.load(order[at_round], device)
        cut = list(batches(shard.lengths, settings.batch_events, rng))
        # Every process makes the same number of steps.
        cut = cut[: workers.smallest(len(cut))]

        # Moved at once: a copy in each step would wait for the GPU to finish the previous step.
        rows_of = torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *cut])).to(device)
        moved = torch.split(rows_of, [len(rows) for rows in cut])
        for step, (rows, at) in enumerate(zip(cut, moved, strict=True)):
            if rounds > 1 and done == already and step == _PACE_STEPS:
                pace_s = (clock() - started) / step * len(cut)
                planned = workers.from_first(min(planned, done + max(1, _fitting(deadline_s, pace_s))))
            rate = _rate(settings, peak_rate, (done + (step + 1) / len(cut)) / planned)
            for group in optimiser.param_groups:
                group["lr"] = rate
            count = int(shard.lengths[rows].sum()) - len(rows)
            inputs, predicted, target, weight = shard.batch(at, int(shard.lengths[rows].max()) - 1, count)
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
            workers.average(others)
            touched, own = workers.merge(candidates.rows, own, table)
            torch.nn.utils.clip_grad_norm_([own, *others], settings.max_gradient_norm)
            optimiser.step()
            assert own.grad is not None
            table.step(touched, own.detach(), own.grad, rate)
            total += loss.detach() * count
            events += count
            on_step(count, loss.detach())
        table.settle()
        done += 1
        seconds = clock() - began
        if math.isfinite(deadline_s):
            spent_s = clock() - started
            pace_s = spent_s / (done - already)
            planned = min(planned, done + _fitting(deadline_s - spent_s, pace_s))
        planned = workers.from_first(planned)
        loss_sum, event_sum = workers.total(float(total), events)
        mean_loss = loss_sum / max(event_sum, 1.0)
        if not math.isfinite(mean_loss):
            raise ArithmeticError(f"the loss is {mean_loss} in epoch {epoch + 1}: lower the learning rate")
        ended = done % rounds == 0 or done == planned
        if ended:
            # Before the checkpoint: what an interruption cuts off here is done again, and no epoch goes without its figures.
            on_epoch(Epoch(epoch + 1, math.ceil(planned / rounds), mean_loss, int(event_sum), seconds))
        if workers.rank == 0 and (ended or clock() - saved > _CHECKPOINT_SECONDS):
            _save(job.checkpoint, name, encoder, optimiser, table, (done, planned))
            saved = started if ended else clock()
    workers.require_equal(encoder)
    encoder.eval()
    return planned / rounds


def _fitting(left_s: float, pace_s: float) -> int:
    """Return the number of shards that fit into the time left."""
    return max(0, int(left_s / max(pace_s, 1e-6))) if math.isfinite(left_s) else sys.maxsize


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Return True if the hardware multiplies bfloat16. It is much faster there and slower elsewhere."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))  # not the T4 of ml.g4dn
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def _rate(settings: FitSettings, peak: float, progress: float) -> float:
    if progress < settings.warmup_share:
        return peak * progress / settings.warmup_share
    done = (progress - settings.warmup_share) / (1 - settings.warmup_share)
    low = settings.final_learning_rate
    return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _number(stage: str) -> int:
    return int.from_bytes(stage.encode()[-6:], "big")


def _seed(seed: int, stage: str, shard: int, rank: int) -> int:
    own = [rank] if rank else []  # the first process draws as the only one would
    return int(np.random.SeedSequence([seed, _number(stage), len(stage), shard, *own]).generate_state(1)[0])


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
    """Restore the checkpoint, and return its shards done and planned. An unreadable checkpoint (a cut copy) is ignored."""
    path = checkpoint / f"{stage}.pt" if checkpoint else None
    if path is None or not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        done, planned = state["progress"]
    except Exception as error:  # torch raises nearly anything here
        print(f"{path} cannot be read, starting {stage} anew: {error}", file=sys.stderr)
        return None
    encoder.load_state_dict(state["encoder"])
    optimiser.load_state_dict(state["optimiser"])
    table.load(state["table"])
    return int(done), int(planned)
