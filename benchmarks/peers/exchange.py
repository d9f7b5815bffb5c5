"""What passes between the benchmark's environment and the peers': a task in, a report and a file of scores out.

Plain numpy and JSON, so that neither side needs anything of the other's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training_jobs.data import Cases, Float32, Int32, Sessions

Scorer = Callable[[Sequence[Int32]], Float32]
_SCORING_BATCH = 512


@dataclass(frozen=True)
class Plan:
    """How to train; `budget_s` is wall clock for all of it, validation included."""

    library: str
    algorithm: str
    settings: dict[str, Any]
    patience: int
    seed: int
    threads: int
    budget_s: float
    exclude_current: bool


@dataclass(frozen=True)
class Task:
    """`learn` and `train` are the same object where the data came with its own validation set."""

    plan: Plan
    items: int
    learn: Sessions
    train: Sessions
    valid: Cases
    test: Cases


def write_task(directory: Path, task: Task) -> None:
    packed = {"items": np.array(task.items), "whole": np.array(task.train is task.learn)}
    for name, sessions in (("learn", task.learn), ("train", task.train)):
        packed |= {f"{name}_items": sessions.items, f"{name}_offsets": sessions.offsets}
        packed |= {f"{name}_times_ms": sessions.times_ms}
    for name, cases in (("valid", task.valid), ("test", task.test)):
        packed |= {f"{name}_items": cases.items, f"{name}_offsets": cases.offsets}
        packed |= {f"{name}_targets": cases.targets, f"{name}_session": cases.session}
    np.savez(directory / "task.npz", **packed)
    (directory / "plan.json").write_text(json.dumps(asdict(task.plan)))


def read_task(directory: Path) -> Task:
    plan = Plan(**json.loads((directory / "plan.json").read_text()))
    with np.load(directory / "task.npz") as packed:

        def sessions(name: str) -> Sessions:
            return Sessions(*(packed[f"{name}_{part}"] for part in ("items", "offsets", "times_ms")))

        def cases(name: str) -> Cases:
            return Cases(*(packed[f"{name}_{part}"] for part in ("items", "offsets", "targets", "session")))

        learn = sessions("learn")
        train = learn if packed["whole"] else sessions("train")
        return Task(plan, int(packed["items"]), learn, train, cases("valid"), cases("test"))


def write_scores(path: Path, score: Scorer, cases: Cases, items: int) -> None:
    """Every case's scores over all items, float32, a row a case in the order of the cases."""
    out = np.lib.format.open_memmap(path, "w+", np.float32, (len(cases), items))
    for begin in range(0, len(cases), _SCORING_BATCH):
        end = min(begin + _SCORING_BATCH, len(cases))
        out[begin:end] = score([cases.prefix(row) for row in range(begin, end)])
    out.flush()


def scorer_of_file(path: Path) -> Scorer:
    """A scorer for `measure`, which asks for the cases in their order, some at a time."""
    scores = np.load(path, mmap_mode="r")
    at = 0

    def score(prefixes: Sequence[Int32]) -> Float32:
        nonlocal at
        at += len(prefixes)
        return scores[at - len(prefixes) : at]

    return score


def predicted_positions(sessions: Sessions) -> int:
    """Training events, counted alike for everyone: each position of a session that has one before it."""
    return int(np.maximum(sessions.lengths - 1, 0).sum())
