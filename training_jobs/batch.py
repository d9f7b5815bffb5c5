"""SageMaker processing job: the best items of every client, by the served model's own code, from the client's history.

It reads parquet files of histories and writes parquet files of candidates. The shop's rules follow in a Lambda
(functions/recommend/batch.py). Memory does not grow with the number of clients: each process holds one part.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training_jobs.serving.contract import (
    BATCH_MANIFEST,
    CANDIDATE_COLUMNS,
    ENDPOINT_K_MAX,
    HISTORY_COLUMNS,
)
from training_jobs.serving.inference import Model, Query, model_fn, predict_fn
from training_jobs.serving.model_files import ArchiveError, load_card, unpack

INPUT, OUTPUT = Path("/opt/ml/processing/input"), Path("/opt/ml/processing/output")
# One file of candidates. The Lambda behind this job reads one at a time.
CLIENTS_PER_PART = 2_000
CLIENTS_AT_ONCE = 500
PROGRESS_S = 10.0
TEXTS, NUMBERS = pa.list_(pa.string()), pa.list_(pa.float64())
SCHEMA = pa.schema(
    [
        *((name, pa.int64() if kind == "bigint" else pa.string()) for name, kind in HISTORY_COLUMNS.items()),
        *zip(CANDIDATE_COLUMNS, (TEXTS, NUMBERS, TEXTS, TEXTS, pa.string()), strict=True),
    ]
)


class BatchError(Exception):
    """The candidates cannot be made. The message names the input and the next step."""


def score(model_dir: Path, histories: Path, output: Path, processes: int) -> dict[str, Any]:
    """Write the candidates of every client, and return the manifest.

    Raises:
        BatchError: a file of histories is unreadable, or a process failed. Its traceback is above in the log.
    """
    files = sorted(histories.rglob("*.parquet"))
    total = _clients(files)
    output.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    done: Synchronized[int] = context.Value("q", 0)
    began_s = time.monotonic()
    workers = [
        context.Process(target=_work, args=(model_dir, files, output, (at, processes), done), daemon=True)
        for at in range(processes)
    ]
    for worker in workers:
        worker.start()
    while running := [worker for worker in workers if worker.exitcode is None]:
        wait([worker.sentinel for worker in running], PROGRESS_S)
        _progress(done.value, total, time.monotonic() - began_s)
        if any(worker.exitcode for worker in workers):
            break
    # Both are read before a process is stopped, which could hold the lock of `done`.
    failed, scored = [worker.exitcode for worker in workers if worker.exitcode], done.value
    # Without the candidates of one process the batch fails. The others would score for hours for nothing.
    for worker in workers:
        worker.terminate()
        worker.join()
    if failed or scored != total:
        raise BatchError(
            f"{scored} of {total} clients have candidates, and {len(failed)} of {processes} processes failed "
            f"(exit codes {failed}): the reason is above. Correct it, then make batch again"
        )
    seconds = time.monotonic() - began_s
    manifest = {
        "model_version": load_card(model_dir).model_version,
        "clients": total,
        "seconds": round(seconds, 1),
        "clients_per_s": round(total / seconds, 1),
    }
    (output / BATCH_MANIFEST).write_text(json.dumps(manifest), "utf-8")
    return manifest


def _clients(files: Sequence[Path]) -> int:
    total = 0
    for path in files:
        try:
            total += pq.read_metadata(path).num_rows
        except (OSError, pa.ArrowInvalid) as error:
            raise BatchError(f"{path} is no parquet file ({error}): make batch again") from error
    return total


def _progress(done: int, total: int, seconds: float) -> None:
    rate = done / seconds if seconds else 0.0
    line = {"event": "progress", "clients": done, "of": total, "clients_per_s": round(rate, 1)}
    print(json.dumps(line), flush=True)


def _work(
    model_dir: Path, files: Sequence[Path], output: Path, share: tuple[int, int], done: Synchronized[int]
) -> None:
    """Score every part whose number falls to this process."""
    at, processes = share
    model = model_fn(str(model_dir))
    for number, part in enumerate(_parts(files)):
        if number % processes != at:
            continue
        with pq.ParquetWriter(output / f"part-{number:06}.parquet", SCHEMA, compression="zstd") as writer:
            for start in range(0, part.num_rows, CLIENTS_AT_ONCE):
                clients = part.slice(start, CLIENTS_AT_ONCE)
                writer.write_batch(candidates(clients, model))
                with done.get_lock():
                    done.value += clients.num_rows


def _parts(files: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    """Yield the histories of CLIENTS_PER_PART clients at a time. A part does not cross files."""
    for path in files:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=CLIENTS_PER_PART, columns=list(HISTORY_COLUMNS))


def candidates(clients: pa.RecordBatch, model: Model) -> pa.RecordBatch:
    """Return the histories with the best items of each client, as the endpoint answers them."""
    rows = [_candidates(row, model) for row in clients.to_pylist()]
    return pa.RecordBatch.from_pylist(rows, SCHEMA)


def _candidates(row: dict[str, Any], model: Model) -> dict[str, Any]:
    answer = predict_fn(Query(json.loads(row["ITEMS"]), ENDPOINT_K_MAX, [], True), model)
    items = answer["items"]
    found = (
        [item["item_id"] for item in items],
        [item["score"] for item in items],
        [item["because"]["kind"] for item in items],
        [item["because"].get("item_id") for item in items],
        answer["reason"],
    )
    return {**row, **dict(zip(CANDIDATE_COLUMNS, found, strict=True))}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scoring as a command, and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        epilog="example: python -m training_jobs.batch --model out/ --histories histories/ --output candidates/",
    )
    add = parser.add_argument
    add("--model", type=Path, default=INPUT / "model", help="holds the model.tar.gz of the served release")
    add("--histories", type=Path, default=INPUT / "histories", help="parquet files, one row per client")
    add("--output", type=Path, default=OUTPUT, help="where the candidates go")
    add(
        "--processes",
        type=int,
        default=os.cpu_count() or 1,
        help="processes that score (default: one per core)",
    )
    options = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            model_dir = unpack(options.model, Path(scratch) / "model")
            if model_dir is None:
                raise ArchiveError(
                    f"no model.tar.gz in {options.model}: publish a model, then make batch again"
                )
            manifest = score(model_dir, options.histories, options.output, max(1, options.processes))
    except (ArchiveError, BatchError) as error:
        print(f"the candidates could not be made: {error}", file=sys.stderr)
        return 1
    print(json.dumps(manifest))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
