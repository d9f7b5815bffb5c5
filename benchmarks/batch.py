"""Measure a batch: clients per second of the scoring job and of the rules behind it, and the memory of both.

python -m benchmarks.batch --clients 100000 --items 20000
"""

import io
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import json as struct_json

from benchmarks.conditions import conditions, parser
from benchmarks.rules import TWENTY
from benchmarks.serve_shops import made_up, write_archive
from functions.platform.contract import BATCH_MANIFEST
from functions.platform.s3_keys import AFFINITIES, ANSWERS, CANDIDATES, batch_prefix, fallback_key, rules_key
from functions.platform.settings import AnswersSettings
from functions.recommend.batch import answers
from functions.recommend.rules.model import RuleSet
from testing.fakes import client_error
from training_jobs.batch import SCHEMA, score

SEED = 73
NOW_MS = 1_780_000_000_000
BUCKET, SHOP, RUN = "models", "demo", "bench"


class Files:
    """S3 as a folder: objects by their key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        """Return an object, or fail as S3 does."""
        path = self._folder / Key
        if not path.exists():
            raise client_error("NoSuchKey")
        return {"Body": io.BytesIO(path.read_bytes())}

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        """Store an object."""
        path = self._folder / Key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Body)

    def get_paginator(self, _: str) -> "Files":
        """Return itself."""
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        """Return the keys below a prefix, in one page."""
        found = sorted(path for path in (self._folder / Prefix).glob("*") if path.is_file())
        return [{"Contents": [{"Key": str(path.relative_to(self._folder))} for path in found]}]


def write_histories(folder: Path, sessions: list[Any], vocabulary: list[str], clients: int) -> None:
    """Write one file of histories, as Snowflake unloads it."""
    drawn = np.random.default_rng(SEED)
    folder.mkdir(parents=True)
    schema = pa.schema(list(SCHEMA)[:5])
    with pq.ParquetWriter(folder / "data_0.parquet", schema) as writer:
        for first in range(0, clients, 10_000):
            rows = [
                {
                    "CLIENT_KEY": f"{number:032x}",
                    "CLIENT_ID": f"client-{number}",
                    "USER_ID": f"user-{number}" if number % 3 == 0 else None,
                    "LAST_EVENT_TIME_MS": NOW_MS - number,
                    "ITEMS": json.dumps(
                        [vocabulary[row] for row in sessions[int(drawn.integers(len(sessions)))][-50:]]
                    ),
                }
                for number in range(first, min(first + 10_000, clients))
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema))


def megabytes(who: int) -> float:
    """Return the largest resident memory of this process, or of its largest child."""
    return round(resource.getrusage(who).ru_maxrss / 1024, 0)


def cpu_seconds(who: int) -> float:
    """Return the time of the processor of this process, or of its ended children."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Run the command line."""
    arguments = parser(
        "batch", __doc__ or "", "--clients 100000 --items 20000 >> benchmarks/results/batch.json"
    )
    arguments.add_argument("--clients", type=int, default=100_000)
    arguments.add_argument("--items", type=int, default=20_000)
    arguments.add_argument("--processes", type=int, default=2)
    args = arguments.parse_args()
    # The processes that score inherit it, as from training_jobs/entry_points/batch.py.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        recommender, sessions = made_up(args.items, SEED)
        archive = write_archive(recommender, folder / "archive")
        prefix = folder / batch_prefix(SHOP, RUN)
        write_histories(folder / "histories", sessions, recommender.vocabulary, args.clients)
        popular = recommender.popular(200)
        del recommender
        print("scoring", file=sys.stderr)
        scored = score(archive, folder / "histories", prefix / CANDIDATES, args.processes)
        assert (prefix / CANDIDATES / BATCH_MANIFEST).exists()
        s3 = Files(folder)
        s3.put_object(
            BUCKET,
            fallback_key(SHOP),
            json.dumps({"popular": popular, "related": {}, "model_version": "bench"}).encode(),
        )
        scored_cpu_s = cpu_seconds(resource.RUSAGE_CHILDREN)
        seconds, answered_cpu_s = {}, {}
        for name, rules in (("without rules", ()), ("with 20 rules", TWENTY)):
            if rules:
                s3.put_object(BUCKET, rules_key(SHOP), struct_json.encode(RuleSet(SHOP, "r", rules)))
            began, began_cpu = time.monotonic(), time.process_time()
            result = answers(
                {"run_id": RUN, "shop_id": SHOP, "made_at_ms": NOW_MS, "placement": "home"},
                AnswersSettings(BUCKET, 20),
                s3,
            )
            seconds[name], answered_cpu_s[name] = time.monotonic() - began, time.process_time() - began_cpu
            assert result["clients"] == args.clients
        size = {
            name: sum(path.stat().st_size for path in (prefix / name).glob("*"))
            for name in (CANDIDATES, ANSWERS, AFFINITIES)
        }
    print(
        json.dumps(
            {
                **conditions(
                    "batch", clients=args.clients, items=args.items, processes=args.processes, seed=SEED
                ),
                "score_seconds": scored["seconds"],
                "score_clients_per_s": scored["clients_per_s"],
                # Beside other processes, the time of the processor says more than the clock.
                "score_cpu_ms_per_client": round(scored_cpu_s / args.clients * 1000, 2),
                "answer_cpu_ms_per_client": {
                    name: round(took / args.clients * 1000, 2) for name, took in answered_cpu_s.items()
                },
                "answer_clients_per_s": {
                    name: round(args.clients / took, 1) for name, took in seconds.items()
                },
                "rows": result["rows"],
                "affinities": result["affinities"],
                "bytes_per_client": {
                    name.strip("/"): round(total / args.clients, 1) for name, total in size.items()
                },
                "largest_scoring_process_mb": megabytes(resource.RUSAGE_CHILDREN),
                "this_process_mb": megabytes(resource.RUSAGE_SELF),
            }
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
