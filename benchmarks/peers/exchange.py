"""The files between the benchmark's environment and the peers': a task in, a report and scores out.

They are plain numpy and JSON, so that neither side needs the other's packages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training_jobs.serving.sessions import Float32, Int32, Sessions
from training_jobs.snapshot.dataset import Cases

Scorer = Callable[[Sequence[Int32]], Float32]
_SCORING_BATCH = 512


@dataclass(frozen=True)
class Plan:
    """How to train; `budget_s` is wall clock for training and validation."""

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
    """The data of a run. `train` is `learn` and the validation tail."""

    plan: Plan
    items: int
    learn: Sessions
    train: Sessions
    valid: Cases
    test: Cases


def write_task(directory: Path, task: Task) -> None:
    packed = {"items": np.array(task.items)}
    for name, sessions in (("learn", task.learn), ("train", task.train)):
        packed |= {f"{name}_items": sessions.items, f"{name}_offsets": sessions.offsets}
        packed |= {f"{name}_times_ms": sessions.times_ms}
    for name, cases in (("valid", task.valid), ("test", task.test)):
        packed |= {f"{name}_items": cases.items, f"{name}_offsets": cases.offsets}
        packed |= {f"{name}_targets": cases.targets, f"{name}_session": cases.session}
    np.savez(directory / "task.npz", **packed)  # type: ignore[arg-type]
    (directory / "plan.json").write_text(json.dumps(asdict(task.plan)))


def read_task(directory: Path) -> Task:
    plan = Plan(**json.loads((directory / "plan.json").read_text()))
    with np.load(directory / "task.npz") as packed:

        def sessions(name: str) -> Sessions:
            return Sessions(*(packed[f"{name}_{part}"] for part in ("items", "offsets", "times_ms")))

        def cases(name: str) -> Cases:
            return Cases(*(packed[f"{name}_{part}"] for part in ("items", "offsets", "targets", "session")))

        items = int(packed["items"])
        return Task(plan, items, sessions("learn"), sessions("train"), cases("valid"), cases("test"))


def write_scores(path: Path, score: Scorer, cases: Cases, items: int) -> None:
    """Write each case's scores over all items: float32, one row per case, in the order of the cases."""
    out = np.lib.format.open_memmap(path, "w+", np.float32, (len(cases), items))
    for begin in range(0, len(cases), _SCORING_BATCH):
        end = min(begin + _SCORING_BATCH, len(cases))
        out[begin:end] = score([cases.prefix(row) for row in range(begin, end)])
    out.flush()


def scorer_of_file(path: Path) -> Scorer:
    """Make a scorer for `measure`, which requests the cases in order, some at a time."""
    scores: Float32 = np.load(path, mmap_mode="r")
    at = 0

    def score(prefixes: Sequence[Int32]) -> Float32:
        nonlocal at
        at += len(prefixes)
        return scores[at - len(prefixes) : at]

    return score


def predicted_positions(sessions: Sessions) -> int:
    """Count training events, alike for all models: each position of a session except its first."""
    return int(np.maximum(sessions.lengths - 1, 0).sum())
