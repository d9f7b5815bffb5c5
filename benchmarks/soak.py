"""A soak test: send events at rising rates while every service is killed in turn, then reconcile all counts.

    python -m benchmarks.soak --events 50000
    python -m benchmarks.soak --events 1000000

It deploys a local stack of its own.
Shoppers send repeated, unordered, late and invalid events, and retry as the SDK does.
Meanwhile, kill -9 ends the Lambda workers, the AWS process (gateway, Firehose, S3) and Snowflake; each restarts as by `make up`.
Once, Firehose is deleted for a while, and the collector parks events in S3.
Then load and transform run, and everything is counted.
It prints one JSON line, and exits with 1 if an event was lost or counted twice.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.conditions import conditions, parser
from benchmarks.own_stack import deployed_stack
from benchmarks.soak_client import Events, Ledger, Sender
from benchmarks.soak_count import reconcile
from demo.terminal import Progress
from functions.platform.contract import RAW_PREFIX
from local import processes
from local.services import services
from local.testing import kill, kill_aws, start_stack, wait_for
from testing.stage import EVENTS_BUCKET, LOCAL, Stage

# Share of the events, connections, events per request: the rate rises to the stack's maximum.
PHASES = ((0.005, 1, 10), (0.03, 2, 50), (0.25, 4, 200), (0.715, 4, 500))
FIREHOSE_GONE_MAX_S = 60.0


class Drill:
    """The failures of the stack, each at its share of the events."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.done: list[dict[str, Any]] = []
        self.broken: BaseException | None = None
        self._plan: list[tuple[float, str, Callable[[], None]]] = [
            (0.05, "kill lambda workers", self._kill_workers),
            (0.15, "kill lambda workers", self._kill_workers),
            (0.25, "kill aws", self._kill_aws),
            (0.40, "kill snowflake while it loads", self._kill_snowflake),
            (0.50, "kill lambda workers", self._kill_workers),
            (0.60, "firehose gone", self._lose_firehose),
            (0.75, "kill aws", self._kill_aws),
            (0.90, "kill lambda workers", self._kill_workers),
        ]

    def run(self, share_done: Callable[[], float], over: threading.Event) -> None:
        """Cause the failures in order, until all events are sent. An error ends the soak."""
        for share, name, act in self._plan:
            while share_done() < share:
                if over.wait(0.05):
                    return
            started_s = time.monotonic()
            try:
                act()
            except BaseException as error:
                self.broken = error
                over.set()
                return
            self.done.append({"at": share, "what": name, "seconds": round(time.monotonic() - started_s, 1)})

    def _kill_workers(self) -> None:
        for path in (self._stage.stack.pids / "children").glob("*.json"):
            about = processes.read_record(path)
            if about and about["kind"] == "lambda":
                with suppress(ProcessLookupError):
                    os.kill(about["pid"], signal.SIGKILL)

    def _kill_aws(self) -> None:
        kill_aws(self._stage.stack)
        start_stack(self._stage.stack)
        self._stage.deploy()

    def _kill_snowflake(self) -> None:
        started = threading.Thread(target=self._load, daemon=True)
        started.start()
        time.sleep(1)
        kill(services(self._stage.stack)[1])
        start_stack(self._stage.stack)
        started.join()

    def _load(self) -> None:
        with suppress(StepFailed):
            invoke(self._stage, "load", run_id="soak-killed")

    def _lose_firehose(self) -> None:
        firehose, name = self._stage.client("firehose"), f"{LOCAL.prefix}-events"
        was = firehose.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
        firehose.delete_delivery_stream(DeliveryStreamName=name)
        wait_for(self._parked, FIREHOSE_GONE_MAX_S)
        there = was["Destinations"][0]["ExtendedS3DestinationDescription"]
        wanted = (
            "RoleARN",
            "BucketARN",
            "Prefix",
            "ErrorOutputPrefix",
            "BufferingHints",
            "CompressionFormat",
        )
        firehose.create_delivery_stream(
            DeliveryStreamName=name,
            ExtendedS3DestinationConfiguration={key: there[key] for key in wanted if key in there},
        )

    def _parked(self) -> bool:
        """Return True if the collector has parked events in S3."""
        pages = self._stage.client("s3").get_paginator("list_objects_v2")
        return any(
            "-parked-" in one["Key"]
            for page in pages.paginate(Bucket=EVENTS_BUCKET, Prefix=RAW_PREFIX)
            for one in page.get("Contents", [])
        )


class StepFailed(Exception):
    """The Lambda of a step returned an error."""


def invoke(stage: Stage, step: str, **payload: Any) -> dict[str, Any]:
    """Invoke a step's Lambda and return its result.

    Raises:
        StepFailed: the Lambda returned an error.
    """
    client = boto3.client(
        "lambda",
        endpoint_url=stage.stack.aws_url,
        config=Config(read_timeout=900, retries={"total_max_attempts": 1}),
    )
    answer = client.invoke(FunctionName=f"{LOCAL.prefix}-{step}", Payload=json.dumps(payload).encode())
    result: dict[str, Any] = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise StepFailed(f"{step}: {result}")
    return result


def send(stage: Stage, count: int, seed: int, timeout_s: float) -> tuple[Ledger, Drill, list[dict[str, Any]]]:
    """Send all events, phase by phase, during the drill."""
    shop, (key, *_) = next(iter(LOCAL.shops.items()))
    events, ledger, drill = Events(count, seed, shop), Ledger(), Drill(stage)
    ends_s = time.monotonic() + timeout_s
    progress = Progress("soaking", count)
    over = threading.Event()

    def share_done() -> float:
        return (len(ledger.accepted) + len(ledger.refused)) / count

    driller = threading.Thread(target=drill.run, args=(share_done, over))
    driller.start()
    phases = []
    left = count
    for share, connections, size in PHASES:
        wanted = left if share == PHASES[-1][0] else round(count * share)
        left -= wanted
        started_s = time.monotonic()
        batches: queue.Queue[list[dict[str, Any]] | None] = queue.Queue(2 * connections)
        broken: list[BaseException] = []

        def work(batches: Any = batches, broken: Any = broken) -> None:
            sender = Sender(stage.api_url, key, ledger, ends_s, over)
            while (batch := batches.get()) is not None:
                try:
                    if not broken and not drill.broken:
                        sender.send(batch)
                except (TimeoutError, ValueError) as error:
                    broken.append(error)
                progress.update(len(ledger.accepted) + len(ledger.refused), f"{ledger.retries} retries")

        threads = [threading.Thread(target=work) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for batch in events.batches(wanted, size):
            batches.put(batch)
        for _ in threads:
            batches.put(None)
        for thread in threads:
            thread.join()
        if broken or drill.broken:
            over.set()
            driller.join()
            raise drill.broken or broken[0]
        seconds = time.monotonic() - started_s
        phases.append(
            {"connections": connections, "events_a_request": size, "events_per_s": round(wanted / seconds)}
        )
    over.set()
    driller.join()
    if drill.broken:
        raise drill.broken
    progress.finish(len(ledger.accepted) + len(ledger.refused))
    return ledger, drill, phases


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON line."""
    command = parser(
        "soak",
        "Send events at rising rates while every service is killed in turn, then reconcile all counts.",
        "--events 50000",
    )
    add = command.add_argument
    add(
        "--events",
        type=int,
        default=1_000_000,
        help="distinct events (default %(default)s); below 50,000 they may end before the drill",
    )
    add("--seed", type=int, default=1, help="seed of the events (default 1)")
    add("--timeout", type=float, default=1800, metavar="SECONDS", help="limit of sending (default 1800)")
    options = command.parse_args(arguments)
    about = conditions("soak", data="generated events", seed=options.seed)
    with deployed_stack() as stage:
        started_s = time.monotonic()
        ledger, drill, phases = send(stage, options.events, options.seed, options.timeout)
        sent_s = time.monotonic()
        counts, wrong = reconcile(
            stage, options.events, ledger, lambda step: invoke(stage, step, run_id="soak")
        )
        ended_s = time.monotonic()
    figures = {
        "drill": drill.done,
        "phases": phases,
        "seconds": {"sending": round(sent_s - started_s, 1), "reconciling": round(ended_s - sent_s, 1)},
        "events_per_s": round(options.events / (sent_s - started_s)),
        "requests": ledger.requests,
        "retries": ledger.retries,
        "failures_seen": ledger.failures,
        "counts": counts,
        "wrong": wrong,
    }
    print(json.dumps({**about, **figures}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
