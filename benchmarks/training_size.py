"""Measure the peak memory and the speed of training on a snapshot of N generated interactions.

The snapshot has the columns and the order of an export: sorted by session id, which says nothing about time.
Each measurement runs in a process of its own, so that the peak memory is its own. `--train` runs the whole training job under a
limit of its memory, with its encoders cut by a time limit.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.click_logs import Size, generate
from benchmarks.conditions import conditions, parser
from training_jobs.serving.contract import Column
from training_jobs.serving.sessions import DAY_MS
from training_jobs.snapshot.interactions import read_interactions
from training_jobs.snapshot.parquet import read_dataset
from training_jobs.training.encoder_torch import EncoderSettings
from training_jobs.training.fit_encoder import FitSettings
from training_jobs.training.job import JobSettings, run

MEAN_LENGTH = 5.0
DAYS = 90
BEGIN_MS = 1_760_000_000_000
FILE_EVENTS = 2_000_000
Result = TypeVar("Result")


def write(directory: Path, events: int, items: int, seed: int) -> int:
    """Write a snapshot in files of two million interactions, and return its size in bytes."""
    names = pa.array([f"sku-{item:08}" for item in range(items)])
    session_id = 0
    for number, first in enumerate(range(0, events, FILE_EVENTS)):
        sessions = generate(Size(min(FILE_EVENTS, events - first), items, MEAN_LENGTH), seed + number, seed)
        rng = np.random.default_rng([seed, number])
        lengths, begins = sessions.lengths, np.repeat(sessions.offsets[:-1], sessions.lengths)
        starts_ms = BEGIN_MS + rng.integers(0, DAYS * DAY_MS, len(sessions))
        times = np.repeat(starts_ms - sessions.starts_ms, lengths) + sessions.times_ms
        table = pa.table(
            {
                Column.SHOP_ID: pa.DictionaryArray.from_arrays(np.zeros(len(times), np.int32), ["shop"]),
                Column.SESSION_ID: session_id + np.repeat(np.arange(len(sessions)), lengths),
                Column.POSITION: (np.arange(len(times)) - begins).astype(np.int32),
                Column.ITEM_ID: pa.DictionaryArray.from_arrays(sessions.items, names),
                Column.EVENT_TIME_MS: times,
            }
        )
        session_id += len(sessions)
        # store_schema would hand the dictionaries back as such. The export writes text.
        pq.write_table(table, directory / f"part-{number:04}.parquet", store_schema=False)
    return sum(file.stat().st_size for file in directory.iterdir())


def read(directory: Path) -> dict[str, Any]:
    """Read the snapshot, and return the figures of this process."""
    before, began = peak_bytes(), time.perf_counter()
    sessions, vocabulary = read_interactions(directory)
    seconds, events = time.perf_counter() - began, len(sessions.items)
    return {
        "events": events,
        "sessions": len(sessions),
        "items": len(vocabulary),
        "seconds": round(seconds, 1),
        "events_per_s": round(events / seconds),
        "bytes_per_event": round((peak_bytes() - before) / events, 1),
        "peak_gib": round(peak_bytes() / 2**30, 2),
    }


def train(directory: Path, seconds: float, memory_gib: float, encoder: EncoderSettings) -> dict[str, Any]:
    """Run the training job on the snapshot, and return its figures.

    The limit is one of private memory: the job fails where it needs more. Pages of mapped files do not count, because the
    kernel drops them when memory is short.
    """
    limit = int(memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    began, log = time.perf_counter(), list[dict[str, Any]]()
    with PrivateMemory() as memory, tempfile.TemporaryDirectory(prefix="training-size-") as model:

        def report(line: dict[str, Any]) -> None:
            at = {"at_s": round(time.perf_counter() - began, 1), "private_gib": memory.peak_gib()}
            log.append(line | at)
            print(log[-1], file=sys.stderr, flush=True)

        base = private_bytes()
        data = read_dataset(directory, None)
        events = len(data.sessions.items)
        report({"stage": "read", "events_per_s": round(events / (time.perf_counter() - began))})
        settings = JobSettings(encoder, FitSettings(), max_train_seconds=seconds)
        run(data, settings, Path(model), None, version="v", snapshot="s", log=report)
        report({"stage": "written"})
        size = sum(file.stat().st_size for file in Path(model).rglob("*") if file.is_file())
    return {
        "events": events,
        "sessions": len(data.sessions),
        "items": len(data.vocabulary),
        "limit_gib": memory_gib,
        "max_train_seconds": seconds,
        "seconds": round(time.perf_counter() - began, 1),
        "private_peak_gib": memory.peak_gib(),
        "private_bytes_per_event": round((memory.peak - base) / events, 1),
        "resident_peak_gib": round(peak_bytes() / 2**30, 2),
        "archive_gib": round(size / 2**30, 2),
        "log": log,
    }


def private_bytes() -> int:
    """Return the resident memory of this process that is not a page of a file."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) * 1024


class PrivateMemory:
    """The largest private memory of this process while the context is open, looked at ten times a second."""

    def __init__(self) -> None:
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PrivateMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def peak_gib(self) -> float:
        """Return the peak so far."""
        return round(self.peak / 2**30, 2)

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self.peak = max(self.peak, private_bytes())


def peak_bytes() -> int:
    """Return the largest resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def alone(work: Callable[..., Result], *arguments: Any) -> Result:
    """Run a function in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line of JSON per size."""
    command = parser("training_size", __doc__ or "", "--events 10000000 --train 60")
    add = command.add_argument
    add("--events", type=int, nargs="+", default=[10_000_000], help="interactions, one line each")
    add("--items", type=int, default=100_000, help="items of the shop (default %(default)s)")
    add("--train", type=float, metavar="SECONDS", help="run the whole job, with this max_train_seconds")
    add(
        "--memory-gib",
        type=float,
        default=12.0,
        help="limit of the job's private memory (default %(default)s)",
    )
    add("--dim", type=int, default=128, help="width of the encoder (default %(default)s)")
    add("--seed", type=int, default=0, help="seed of the generated clicks (default %(default)s)")
    options = command.parse_args(argv)
    for events in options.events:
        with tempfile.TemporaryDirectory(prefix="training-size-") as path:
            directory = Path(path)
            size = alone(write, directory, events, options.items, options.seed)
            data = f"{events} generated interactions, {options.items} items, mean length {MEAN_LENGTH}"
            row = conditions("training_size", data=data, seed=options.seed)
            row["file_bytes_per_event"] = round(size / events, 1)
            if options.train:
                encoder = EncoderSettings(dim=options.dim)
                row["train"] = alone(train, directory, options.train, options.memory_gib, encoder)
            else:
                row["read"] = alone(read, directory)
            print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
