"""Measure the peak memory and the speed of reading a snapshot of N generated interactions, and of training on it.

The snapshot has the columns and the order of an export: sorted by session id, which says nothing about time.
Reading and training each run in a process of their own, so that its peak memory is theirs. Training is the whole job
except that each encoder stops after a few steps, and fewer cases are tuned on and fewer answers written. Memory does not
grow with their number.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.click_logs import Size, generate
from benchmarks.conditions import conditions, parser
from training_jobs.serving.contract import Column
from training_jobs.serving.sessions import DAY_MS
from training_jobs.snapshot.interactions import read_interactions

MEAN_LENGTH = 5.0
DAYS = 90
BEGIN_MS = 1_760_000_000_000
FILE_EVENTS = 2_000_000
STEPS = 20
TUNE_CASES = 300
FALLBACK_ITEMS = 500
Result = TypeVar("Result")


def write(directory: Path, events: int, items: int, seed: int) -> int:
    """Write a snapshot in files of two million interactions, and return its size in bytes."""
    names = pa.array([f"sku-{item:08}" for item in range(items)])
    session_id = 0
    for number, first in enumerate(range(0, events, FILE_EVENTS)):
        sessions = generate(Size(min(FILE_EVENTS, events - first), items, MEAN_LENGTH), seed + number)
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


class _Enough(Exception):
    """The encoder has made its steps."""


def train(directory: Path) -> dict[str, Any]:
    """Run the training job with encoders of a few steps, and return the figures of this process."""
    from training_jobs.snapshot.parquet import read_dataset
    from training_jobs.training import job
    from training_jobs.training.fit_encoder import fit

    began = time.perf_counter()

    def a_few_steps(*arguments: Any, **named: Any) -> int:
        left = iter(range(STEPS))

        def step(*_: Any) -> None:
            if next(left, None) is None:
                raise _Enough

        with suppress(_Enough):
            fit(*arguments, **(named | {"on_step": step}))
        return int(arguments[2].epochs)

    peaks: dict[str, float] = {}

    def log(line: dict[str, Any]) -> None:
        peaks[str(line["stage"])] = round(peak_bytes() / 2**30, 2)

    data = read_dataset(directory, None)
    log({"stage": "data"})
    with (
        patch.object(job, "fit", a_few_steps),
        patch.object(job, "RELATED_ITEMS", FALLBACK_ITEMS),
        tempfile.TemporaryDirectory() as model_dir,
    ):
        job.run(
            data,
            job.JobSettings(tune_cases=TUNE_CASES),
            Path(model_dir),
            None,
            version="v",
            snapshot="s",
            log=log,
        )
    return {
        "events": len(data.sessions.items),
        "seconds": round(time.perf_counter() - began, 1),
        "peak_gib_after": peaks,
        "peak_gib": round(peak_bytes() / 2**30, 2),
    }


def peak_bytes() -> int:
    """Return the largest resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def alone(work: Callable[..., Result], *arguments: Any) -> Result:
    """Run a function in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line of JSON per size."""
    command = parser("training_size", __doc__ or "", "--events 10000000 --train")
    add = command.add_argument
    add("--events", type=int, nargs="+", default=[10_000_000], help="interactions, one line each")
    add("--items", type=int, default=100_000, help="items of the shop (default %(default)s)")
    add("--train", action="store_true", help="run the training job too")
    add("--seed", type=int, default=0, help="seed of the generated clicks (default %(default)s)")
    options = command.parse_args(argv)
    for events in options.events:
        with tempfile.TemporaryDirectory(prefix="training-size-") as path:
            directory = Path(path)
            size = alone(write, directory, events, options.items, options.seed)
            data = f"{events} generated interactions, {options.items} items, mean length {MEAN_LENGTH}"
            row = conditions("training_size", data=data, seed=options.seed)
            row |= {"file_bytes_per_event": round(size / events, 1), "read": alone(read, directory)}
            if options.train:
                row["train"] = alone(train, directory)
            print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
