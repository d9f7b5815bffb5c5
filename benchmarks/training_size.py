"""Measure the peak memory and the speed of reading a snapshot of N generated interactions, and of preparing training.

The snapshot has the columns and the order of an export: sorted by session id, which says nothing about time.
Each measurement runs in a process of its own, so that the peak memory is its own.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
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
from training_jobs.gate.baselines import popularity
from training_jobs.serving.contract import Column
from training_jobs.serving.knn import build_index
from training_jobs.serving.ranker import item_facts
from training_jobs.serving.returns import return_floor
from training_jobs.serving.sessions import DAY_MS
from training_jobs.snapshot.dataset import before, choose_split, prefix_cases, within
from training_jobs.snapshot.interactions import read_interactions
from training_jobs.training.encoder_torch import EncoderSettings
from training_jobs.training.fit_encoder import windows
from training_jobs.training.job import POPULARITY_HALF_LIFE_DAYS

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


def prepare(directory: Path) -> dict[str, Any]:
    """Read the snapshot and make every array of the training job that grows with it, as `training_jobs.training.job` does.

    The encoder's steps and the cases that settings are chosen on do not grow with a snapshot. The warm start counts the
    pairs of five million interactions at most. None of them runs here.
    """
    sessions, vocabulary = read_interactions(directory)
    items = len(vocabulary)
    split = choose_split(sessions, 24.0)
    learn, measured = before(sessions, split.valid_start_ms), before(sessions, split.holdout_start_ms)
    cases = [
        prefix_cases(within(sessions, split.valid_start_ms, split.holdout_start_ms)),
        prefix_cases(within(sessions, split.holdout_start_ms)),
    ]
    return_floor(learn)
    for known in (learn, measured, sessions):
        windows(known, EncoderSettings().max_length)
        index = build_index(known, items)
        popularity(known, items, POPULARITY_HALF_LIFE_DAYS)
        item_facts(known, items)
    return {
        "events": len(sessions.items),
        "cases": [len(part) for part in cases],
        "neighbor_sessions": index.sessions,
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
    command = parser("training_size", __doc__ or "", "--events 10000000 --prepare")
    add = command.add_argument
    add("--events", type=int, nargs="+", default=[10_000_000], help="interactions, one line each")
    add("--items", type=int, default=100_000, help="items of the shop (default %(default)s)")
    add("--prepare", action="store_true", help="also make the arrays of training that grow with a snapshot")
    add("--seed", type=int, default=0, help="seed of the generated clicks (default %(default)s)")
    options = command.parse_args(argv)
    for events in options.events:
        with tempfile.TemporaryDirectory(prefix="training-size-") as path:
            directory = Path(path)
            size = alone(write, directory, events, options.items, options.seed)
            data = f"{events} generated interactions, {options.items} items, mean length {MEAN_LENGTH}"
            row = conditions("training_size", data=data, seed=options.seed)
            row |= {"file_bytes_per_event": round(size / events, 1), "read": alone(read, directory)}
            if options.prepare:
                row["prepare"] = alone(prepare, directory)
            print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
