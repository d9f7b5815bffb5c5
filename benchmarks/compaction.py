"""Measure compaction: objects, bytes, seconds and memory of a generated day, packed and replayed, on the local S3.

    python -m benchmarks.compaction
    python -m benchmarks.compaction --events 2000000

The day has one raw file per minute, as Firehose delivers at a buffer of 60 seconds. Each step runs in a process of its own,
as a Lambda does, and its memory is the peak of that process. The replay's stream is a counter, not Firehose.
It prints one JSON line.
"""

import gzip
import json
import logging
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3

from benchmarks.conditions import conditions, parser
from demo.generator import History, generate
from functions.platform.contract import RAW_PREFIX
from functions.platform.settings import CollectSettings, CompactSettings
from local.testing import running_stack

BUCKET = "benchmark-events"
DAY = date(2026, 11, 2)
FILES = 1440
SHOPS = CollectSettings("test", {"key": "demo"}, "events", "rejected", BUCKET, "receipts", "secret-keys")  # type: ignore[arg-type]


class Counter:
    """A Firehose that counts what it takes."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.bytes = 0

    def put_record_batch(self, Records: list[dict[str, bytes]], **_: Any) -> dict[str, Any]:
        """Accept every record."""
        self.bytes += sum(len(record["Data"]) for record in Records)
        return {"FailedPutCount": 0, "RequestResponses": [{"RecordId": "r"} for _ in Records]}


def raw_lines(events: int, seed: int) -> Iterator[bytes]:
    """Yield lines of raw/, as the collector writes them."""
    from functions.platform.events.contract import Timing, accept, encode, line

    history = History(events=events, seed=seed, days=1, end=DAY + timedelta(days=1))
    for number, raw in enumerate(generate(history)):
        received_at_ms = raw["client_time_ms"] + 250
        event, event_time_ms = accept(raw, frozenset({"demo"}), Timing(received_at_ms, raw["client_time_ms"]))
        server = {
            "received_at_ms": received_at_ms,
            "source": "js",
            "ip_prefix": "203.0.113.0/24",
            "device": "desktop",
            "is_bot": False,
            "request_id": f"{number:032x}",
            "event_time_ms": event_time_ms,
        }
        yield line(event, encode(server))


def write_day(s3: Any, events: int, seed: int) -> int:
    """Write the raw files of the day, and return the number of their lines."""
    lines = list(raw_lines(events, seed))
    start = datetime(DAY.year, DAY.month, DAY.day)
    for minute in range(FILES):
        at = start + timedelta(minutes=minute)
        body = b"".join(lines[minute * len(lines) // FILES : (minute + 1) * len(lines) // FILES])
        key = f"{RAW_PREFIX}{at:%Y/%m/%d/%H}/events-1-{at:%Y-%m-%d-%H-%M-%S}-{minute:08x}.gz"
        s3.put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(body))
    return len(lines)


def pack(_: None) -> Any:
    """Pack the day."""
    from functions.compact.compact import compact

    event = {"from_day": DAY.isoformat(), "to_day": DAY.isoformat()}
    return compact(event, CompactSettings(BUCKET, 0), boto3.client("s3"))


def replay_day(_: None) -> Any:
    """Replay the day into a counter."""
    from functions.platform.events.intake import Intake
    from functions.platform.receipt_keys import ReceiptKeys
    from functions.replay.replay import replay

    counter = Counter()
    asked = {"archive": "raw", "from_hour": f"{DAY}T00", "to_hour": f"{DAY}T23"}
    result = replay(
        asked, Intake(SHOPS, counter, boto3.client("s3"), ReceiptKeys("receipts", dict), lambda: 900_000)
    )
    return {**result, "bytes": counter.bytes}


def _measured(step: Callable[[None], Any], answers: Any) -> None:
    logging.disable()
    began, cpu = time.perf_counter(), time.process_time()
    result = step(None)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answers.put(({"seconds": round(seconds, 1), "cpu_s": round(cpu_s, 1), "peak_mb": round(peak_mb)}, result))


def measure(step: Callable[[None], Any]) -> tuple[dict[str, float], Any]:
    """Run a step in a new process, and return its figures and its result."""
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    process = spawn.Process(target=_measured, args=(step, answers))
    process.start()
    figures = answers.get(timeout=3000)
    process.join()
    return figures  # type: ignore[no-any-return]


def weigh(s3: Any, prefix: str) -> dict[str, int]:
    """Return the number and the bytes of the objects below a prefix."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    sizes = [found["Size"] for page in pages for found in page.get("Contents", [])]
    return {"objects": len(sizes), "bytes": sum(sizes)}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    command = parser("compaction", __doc__, "--events 300000")
    command.add_argument("--events", type=int, default=300_000, help="events of the day")
    command.add_argument("--seed", type=int, default=1)
    options = command.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder), warehouse=False) as environment:
        os.environ.update(environment)
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        lines = write_day(s3, options.events, options.seed)
        raw_replay, before = measure(replay_day)
        compaction, packed = measure(pack)
        raw, parts = weigh(s3, RAW_PREFIX), weigh(s3, "archive/")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=RAW_PREFIX):
            listed = [{"Key": found["Key"]} for found in page["Contents"]]
            s3.delete_objects(Bucket=BUCKET, Delete={"Objects": listed})
        packed_replay, after = measure(replay_day)
    if before != after or packed["lines"] != lines:
        print(f"the replays differ: {before} and {after}; packed {packed}", file=sys.stderr)
        return 1
    figures = {
        "raw": raw,
        "archive": parts,
        "compaction": compaction,
        "replay_of_raw": raw_replay,
        "replay_of_archive": packed_replay,
    }
    about = conditions(
        "compaction", data=f"demo.generator, {lines} events in {FILES} files", seed=options.seed
    )
    print(json.dumps(about | figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
