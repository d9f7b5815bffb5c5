"""The failures of a soak: services that are killed, that hang, that drip or that are gone."""

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any, NamedTuple

import boto3
from botocore.config import Config

from functions.platform.contract import RAW_PREFIX
from functions.platform.errors import Reason
from functions.platform.s3_keys import fallback_key
from local import processes
from local.testing import aws_service, kill, kill_aws, start_stack, wait_for, warehouse_service
from testing.lambda_services import FALLBACK, GOOD, address_variable
from testing.stage import EVENTS_BUCKET, LOCAL, MODELS_BUCKET, Stage
from testing.troubled_service import Trouble, troubled

PARKED_MAX_S = RECOVERED_MAX_S = 60.0
# Longer than all boxes of a request (docs/decisions/0048-deadlines.md), shorter than the Lambda's limit.
HANG_S = 8.0


class Failure(NamedTuple):
    """A failure, and the share of the events at which it begins."""

    share: float
    name: str
    cause: Callable[[], None]
    # True: it ends only after an event met it, so the shoppers must not wait for its end.
    needs_events: bool = False


class Happened(NamedTuple):
    """A failure that is over."""

    failure: Failure
    began_s: float
    ended_s: float


class DrillFailed(Exception):
    """The stack did not bear a failure as it should."""


class StepFailed(Exception):
    """The Lambda of a step returned an error."""


AFTER_ALL = Failure(float("inf"), "", lambda: None)


class Drill:
    """Failures in the order of their shares. Shoppers wait for the end of one before they send past the next."""

    def __init__(self, plan: Iterable[Failure]) -> None:
        self.plan = list(plan)
        self.happened: list[Happened] = []
        self.broken: BaseException | None = None
        # The share of the events at which the shoppers wait.
        self.open_until = 0.0

    def run(self, share_done: Callable[[], float], over: threading.Event) -> None:
        """Cause the failures in order. An error ends the soak."""
        for failure, following in pairwise([*self.plan, AFTER_ALL]):
            self.open_until = following.share
            while share_done() < failure.share:
                if over.wait(0.05):
                    return
            began_s = time.monotonic()
            if failure.needs_events:
                self.open_until = float("inf")
            try:
                failure.cause()
            except BaseException as error:
                self.broken = error
                over.set()
                return
            self.happened.append(Happened(failure, began_s, time.monotonic()))


def plan_of(stage: Stage) -> list[Failure]:
    """Return the failures of a stage's stack, each at its share of the events."""
    failures = Failures(stage)
    return [
        Failure(0.05, "kill lambda workers", failures.kill_workers),
        Failure(0.10, "lambda workers hang", failures.hang_workers),
        Failure(0.15, "kill lambda workers", failures.kill_workers),
        Failure(0.25, "kill aws", failures.kill_aws),
        Failure(0.32, "aws hangs", failures.hang_aws),
        Failure(0.40, "kill snowflake while it loads", failures.kill_snowflake),
        Failure(0.45, "snowflake hangs while it loads", failures.hang_snowflake),
        Failure(0.50, "kill lambda workers", failures.kill_workers),
        Failure(0.55, "firehose hangs", lambda: failures.trouble_firehose(Trouble.HANG), True),
        Failure(0.60, "firehose gone", failures.lose_firehose, True),
        Failure(0.67, "firehose drips", lambda: failures.trouble_firehose(Trouble.DRIP), True),
        Failure(0.75, "kill aws", failures.kill_aws),
        Failure(0.82, "s3 drips for /recommend", failures.drip_for_recommend),
        Failure(0.90, "kill lambda workers", failures.kill_workers),
        Failure(0.95, "lambda workers hang", failures.hang_workers),
    ]


class Failures:
    """The failures of one stage's stack. Each returns when the stack is whole again."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def kill_workers(self) -> None:
        for pid in self._workers():
            send_signal(pid, signal.SIGKILL)

    def hang_workers(self) -> None:
        hang(self._workers())

    def kill_aws(self) -> None:
        kill_aws(self._stage.stack)
        start_stack(self._stage.stack)
        self._stage.deploy()

    def hang_aws(self) -> None:
        hang([_pid(aws_service(self._stage.stack))])

    def kill_snowflake(self) -> None:
        with self._loading():
            kill(warehouse_service(self._stage.stack))
            start_stack(self._stage.stack)

    def hang_snowflake(self) -> None:
        with self._loading():
            hang([_pid(warehouse_service(self._stage.stack))])

    def trouble_firehose(self, trouble: Trouble) -> None:
        """Send the collector to a Firehose in trouble until it has parked more events."""
        parked = self._parked()
        with self._redirected(f"{LOCAL.prefix}-collect", "firehose", trouble):
            wait_for(lambda: self._parked() > parked, PARKED_MAX_S)

    def lose_firehose(self) -> None:
        """Delete the stream until the collector has parked more events."""
        parked = self._parked()
        firehose, name = self._stage.client("firehose"), f"{LOCAL.prefix}-events"
        was = firehose.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
        firehose.delete_delivery_stream(DeliveryStreamName=name)
        wait_for(lambda: self._parked() > parked, PARKED_MAX_S)
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

    def drip_for_recommend(self) -> None:
        """Check that /recommend says in time that it has no model, and that it answers again afterwards.

        Raises:
            DrillFailed: it answered otherwise.
        """
        body = json.dumps(FALLBACK).encode()
        self._stage.client("s3").put_object(Bucket=MODELS_BUCKET, Key=fallback_key("demo"), Body=body)
        with self._redirected(LOCAL.prefix, "s3", Trouble.DRIP):
            status, answer = self._recommend()
            # API Gateway answers 504 after the Lambda's limit.
            if status != 503 or answer.get("error", {}).get("reason") != Reason.MODEL_UNAVAILABLE:
                raise DrillFailed(f"/recommend answered {status} {answer} while S3 dripped")
        # On a busy machine, the first reading of a new execution environment may take longer than its box.
        wait_for(lambda: self._recommend()[0] == 200, RECOVERED_MAX_S)

    def _workers(self) -> list[int]:
        records = map(processes.read_record, sorted((self._stage.stack.pids / "children").glob("*.json")))
        return [found["pid"] for found in records if found and found["kind"] == "lambda"]

    @contextmanager
    def _loading(self) -> Iterator[None]:
        """Run load during the block, and let it fail: the state machine would try it again."""

        def load() -> None:
            with suppress(StepFailed):
                invoke(self._stage, "load", run_id="soak-drill")

        started = threading.Thread(target=load, daemon=True)
        started.start()
        time.sleep(1)
        yield
        started.join()

    @contextmanager
    def _redirected(self, function: str, service: str, trouble: Trouble) -> Iterator[None]:
        """Send a Lambda to a service in trouble. Its new execution environments have the new address."""
        client = self._stage.client("lambda")
        was = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        with troubled(GOOD[service]) as elsewhere:
            elsewhere.trouble = trouble
            moved = {**was, address_variable(service): elsewhere.address}
            client.update_function_configuration(FunctionName=function, Environment={"Variables": moved})
            try:
                yield
            finally:
                client.update_function_configuration(FunctionName=function, Environment={"Variables": was})

    def _parked(self) -> int:
        """Return the number of files that the collector has parked in S3."""
        pages = self._stage.client("s3").get_paginator("list_objects_v2")
        return sum(
            "-parked-" in one["Key"]
            for page in pages.paginate(Bucket=EVENTS_BUCKET, Prefix=RAW_PREFIX)
            for one in page.get("Contents", [])
        )

    def _recommend(self) -> tuple[int, dict[str, Any]]:
        try:
            return 200, self._stage.recommend("i1", k=3)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


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


def hang(pids: Iterable[int]) -> None:
    """Stop processes for `HANG_S`. Their connections stay open, and nobody answers."""
    stopped = list(pids)
    try:
        for pid in stopped:
            send_signal(pid, signal.SIGSTOP)
        time.sleep(HANG_S)
    finally:
        for pid in stopped:
            send_signal(pid, signal.SIGCONT)


def send_signal(pid: int, number: signal.Signals) -> None:
    """Signal a process. One that has ended is not an error."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _pid(service: Any) -> int:
    process = service.running()
    if process is None:
        raise DrillFailed(f"the {service.name} process does not run")
    return int(process["pid"])
