"""Train a peer fairly: early stopping on the common validation, then a refit, as for ours."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from benchmarks.peers.exchange import Scorer, Task, predicted_positions
from training_jobs.gate import metrics
from training_jobs.serving.sessions import Float32, Int32
from training_jobs.snapshot.dataset import Cases

_VALIDATION_BATCH = 256


class Model(Protocol):
    """The interface of an adapter to a library."""

    def train_epoch(self, part: str, stop: Callable[[], bool]) -> float:
        """Train one pass over "learn" or "train" until `stop()` is True; return the share of the pass."""

    def scores(self, prefixes: Sequence[Int32]) -> Float32:
        """Score all items: float32 [prefixes, items]."""

    def state(self) -> Any:
        """Return a copy of the weights."""

    def restore(self, state: Any) -> None: ...

    def slow_down(self, factor: float) -> None:
        """Divide the learning rate."""


@dataclass(frozen=True)
class Trained:
    """The result of training. `epochs` counts passes over `learn`, with fractions; `best_epoch` is the one in use."""

    epochs: float
    best_epoch: float
    converged: bool
    refit: bool
    valid_mrr_at_20: list[float]
    seconds_per_epoch: float
    events_per_s: float
    cpu_seconds_per_epoch: float  # of all threads together; it depends less on other load
    seconds: float


def train(
    model: Model,
    task: Task,
    clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.process_time,
) -> Trained:
    """Train within the plan's budget, at least for a part of an epoch."""
    began, budget = clock(), task.plan.budget_s
    events = predicted_positions(task.learn)
    longer = predicted_positions(task.train) / max(events, 1)
    epochs, training_s, training_cpu_s = 0.0, 0.0, 0.0
    best, best_epoch, kept = -1.0, 0.0, None
    valid: list[float] = []
    while True:
        # The refit takes one more epoch, whose time is known after the first epoch.
        reserve = training_s / epochs * longer if epochs else 0.0
        deadline = began + budget - reserve
        started, cpu_started = clock(), cpu_clock()
        share = model.train_epoch("learn", lambda at=deadline: clock() >= at)  # type: ignore[misc]
        training_s += clock() - started
        training_cpu_s += cpu_clock() - cpu_started
        epochs += share
        valid.append(round(validate(model.scores, task.valid, task.plan.exclude_current), 5))
        if valid[-1] > best:
            best, best_epoch, kept = valid[-1], epochs, model.state()
        print(
            f"epoch={epochs:.2f} seconds={training_s / epochs:.1f} events_per_s={events * epochs / training_s:.0f} "
            f"valid_mrr_at_20={valid[-1]:.4f}",
            file=sys.stderr,
            flush=True,
        )
        converged = len(valid) - 1 - int(np.argmax(valid)) >= task.plan.patience
        if converged or clock() >= deadline:
            break
    model.restore(kept)
    refit = epochs >= 1
    if refit:
        model.slow_down(4.0)
        model.train_epoch("train", lambda: False)
    return Trained(
        round(epochs, 3),
        round(best_epoch, 3),
        converged,
        refit,
        valid,
        round(training_s / epochs, 2),
        round(events * epochs / training_s, 1),
        round(training_cpu_s / epochs, 2),
        round(clock() - began, 1),
    )


def validate(score: Scorer, cases: Cases, exclude_current: bool) -> float:
    """Return MRR@20, ranked as in the test."""
    rank = []
    for begin in range(0, len(cases), _VALIDATION_BATCH):
        end = min(begin + _VALIDATION_BATCH, len(cases))
        prefixes = [cases.prefix(row) for row in range(begin, end)]
        scores = score(prefixes)
        if exclude_current:
            scores[np.arange(len(prefixes)), [prefix[-1] for prefix in prefixes]] = -np.inf
        rank.append(metrics.ranks(scores, cases.targets[begin:end]))
    return metrics.mrr(np.concatenate(rank), 20)
