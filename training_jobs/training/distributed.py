"""Start one process per GPU of this instance with torchrun, and let the others take part in the fits of the first one."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
import torch.distributed as dist

from training_jobs.serving.sessions import Sessions
from training_jobs.training.device import choose_device
from training_jobs.training.encoder_torch import Encoder
from training_jobs.training.fit_encoder import FitSettings, Job, fit
from training_jobs.training.target_weights import TargetWeights
from training_jobs.training.workers import Workers

# The others wait while the first process reads, tunes and writes. If one of them dies, torchrun ends all.
_WAIT = timedelta(days=2)


def is_launched() -> bool:
    """Return True in a process that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launch(processes: int, module: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by torchrun, which runs a module in this many processes and passes on signals."""
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    local = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    command += ["--nproc-per-node", str(processes), "-m", module, *arguments]
    os.execve(sys.executable, command, {**local, **os.environ})


@contextmanager
def joined() -> Iterator[Workers]:
    """Join the processes of torchrun, if this is one of them."""
    if not is_launched():
        yield Workers()
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=_WAIT)
    yield Workers(dist.get_rank(), dist.get_world_size())
    # Not after an error: NCCL waits for the other processes there, and torchrun ends them.
    dist.destroy_process_group()


@dataclass(frozen=True)
class _Task:
    """A fit, and the directory with its encoder and sessions."""

    directory: Path
    settings: FitSettings
    seed: int
    checkpoint: Path | None
    name: str
    weights: TargetWeights | None


@contextmanager
def shared(
    encoder: Encoder,
    sessions: Sessions,
    settings: FitSettings,
    job: Job,
    name: str,
    weights: TargetWeights | None,
) -> Iterator[None]:
    """Let the other processes start the same fit. They map the sessions from files, so memory holds them once."""
    if job.workers.size == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="fit-") as path:
        directory = Path(path)
        torch.save(encoder, directory / "encoder.pt")
        for field, array in vars(sessions).items():
            if array is not None:
                np.save(directory / f"{field}.npy", array)
        job.workers.from_first(_Task(directory, settings, job.seed, job.checkpoint, name, weights))
        yield


def dismiss(workers: Workers) -> None:
    """End `follow` in the other processes."""
    workers.from_first(None)


def follow(workers: Workers) -> None:
    """Take part in each fit of the first process, until it calls `dismiss`."""
    task: _Task | None
    while (task := workers.from_first(None)) is not None:
        encoder = torch.load(task.directory / "encoder.pt", map_location=choose_device(), weights_only=False)
        arrays = {path.stem: np.load(path, mmap_mode="c") for path in task.directory.glob("*.npy")}
        job = replace(Job(task.seed), checkpoint=task.checkpoint, workers=workers)
        fit(encoder, Sessions(**arrays), task.settings, job, task.name, weights=task.weights)
