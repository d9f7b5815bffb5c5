"""Measurements from a run's history, logs and objects, and the assumptions that they replace."""

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.bill.assumptions import read_assumptions
from deploy.bill.measured import Clients, Measured, RunUnknown, measure
from deploy.bill.month import Month, idle
from deploy.bill.prices import read_prices
from deploy.stages import read_stage
from functions.platform.run_names import run_id_of

STAGE = dataclasses.replace(
    read_stage("dev"), region="us-east-1", warehouse_size="MEDIUM", training_instance_type="ml.m5.xlarge"
)
ACCOUNT = "123456789012"
ARN = f"arn:aws:states:us-east-1:{ACCOUNT}:execution:tugboat-dev-pipeline:night"
BEGAN = datetime(2026, 11, 29, 3, 30, tzinfo=UTC)
ASSUMED = read_assumptions().with_values(
    {
        "load_fixed_s": 20,
        "load_s_per_million": 40,
        "export_fixed_s": 10,
        "export_s_per_million": 4,
        "train_fixed_s": 100,
        "train_cpu_s_per_million": 100,
        "spot_discount": 0.6,
    }
)
MONTH = Month(STAGE, idle(), ASSUMED, read_prices("us-east-1"))
RUN_ID = run_id_of(ARN, BEGAN)
LOADED = {"run_id": RUN_ID, "rows_loaded": 2_000_000, "files_loaded": 10}
EXPORTED = {"run_id": RUN_ID, "interactions": 1_000_000, "items": 5_000}
TRAINED = {
    "TrainingTimeInSeconds": 300,
    "BillableTimeInSeconds": 90,
    "ModelArtifacts": {
        "S3ModelArtifacts": f"s3://tugboat-dev-models-{ACCOUNT}/training/{RUN_ID}/model.tar.gz"
    },
}
EVALUATED = {"ProcessingStartTime": 1_000_000, "ProcessingEndTime": 1_120_000}


class StepFunctions:
    """Step Functions with one execution."""

    def __init__(self, history: list[dict[str, Any]]) -> None:
        self.history = history

    def get_paginator(self, operation: str) -> "StepFunctions":
        self.operation = operation
        return self

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        if self.operation == "list_executions":
            assert asked["stateMachineArn"].endswith(f":{ACCOUNT}:stateMachine:tugboat-dev-pipeline")
            yield {"executions": []}
            yield {
                "executions": [
                    {
                        "executionArn": ARN,
                        "name": "night",
                        "startDate": BEGAN,
                        "stopDate": BEGAN + timedelta(minutes=20),
                    }
                ]
            }
        else:
            middle = len(self.history) // 2
            yield {"events": self.history[:middle]}
            yield {"events": self.history[middle:]}


class NoSuchGroup(Exception):
    """A log group is missing."""


class Exceptions:
    """The exceptions of a client."""

    ResourceNotFoundException = NoSuchGroup


class Logs:
    """CloudWatch Logs with some groups."""

    exceptions = Exceptions

    def __init__(self, groups: dict[str, list[str]]) -> None:
        self.groups = groups

    def get_paginator(self, operation: str) -> "Logs":
        return self

    def paginate(self, logGroupName: str, startTime: int, endTime: int) -> Iterator[dict[str, Any]]:
        assert startTime < BEGAN.timestamp() * 1000 < endTime
        if logGroupName not in self.groups:
            raise NoSuchGroup
        for message in self.groups[logGroupName]:
            yield {"events": [{"message": message}]}


class S3:
    """S3 with objects: key, time of the last change, size."""

    def __init__(self, objects: list[tuple[str, datetime, int]]) -> None:
        self.objects = objects

    def get_paginator(self, operation: str) -> "S3":
        return self

    def paginate(self, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:
        for key, modified, size in self.objects:
            if key.startswith(Prefix):
                yield {"Contents": [{"Key": key, "LastModified": modified, "Size": size}]}
        yield {}


def visit(
    name: str, seconds: float, output: Any, response: Any = None, at: float = 0
) -> list[dict[str, Any]]:
    began = BEGAN + timedelta(seconds=at)
    return [
        {"type": "TaskStateEntered", "timestamp": began, "stateEnteredEventDetails": {"name": name}},
        *(
            [
                {
                    "type": "TaskSucceeded",
                    "timestamp": began,
                    "taskSucceededEventDetails": {"output": json.dumps(response)},
                }
            ]
            if response
            else []
        ),
        {
            "type": "TaskStateExited",
            "timestamp": began + timedelta(seconds=seconds),
            "stateExitedEventDetails": {"name": name, "output": json.dumps(output)},
        },
    ]


HISTORY = [
    *visit("Load", 80, LOADED),
    *visit("Export", 22, EXPORTED),
    *visit("Train", 400, {"job": "x"}, TRAINED),
    *visit("Evaluate", 200, {"job": "y"}, EVALUATED),
    *visit("Publish", 7, {}),
]
REPORTS = [
    "START RequestId: a",
    '{"message": "events collected", "accepted": 3, "refused": 0}',
    "REPORT RequestId: a\tDuration: 20.00 ms\tBilled Duration: 20 ms",
    '{"message": "events collected", "accepted": 5, "refused": 0}',
    "REPORT RequestId: b\tDuration: 40.00 ms\tBilled Duration: 40 ms\tInit Duration: 900.00 ms",
]


def measured(history: list[dict[str, Any]] = HISTORY, run: str = "latest") -> Measured:
    yesterday = BEGAN - timedelta(hours=5)
    s3 = S3(
        [
            ("raw/2026/11/28/22/a.gz", yesterday, 10_000_000),
            ("raw/2026/11/28/23/b.gz", yesterday, 14_000_000),
            # Firehose wrote this one after the run began.
            ("raw/2026/11/29/03/c.gz", BEGAN + timedelta(minutes=1), 99_000_000),
            (f"exports/{RUN_ID}/interactions/1.parquet", BEGAN, 12_000_000),
            (f"exports/{RUN_ID}/manifest.json", BEGAN, 999),
            (f"training/{RUN_ID}/model.tar.gz", BEGAN, 4_000_000),
        ]
    )
    logs = Logs({"/aws/lambda/tugboat-dev-collect": REPORTS})
    return measure(run, STAGE, ACCOUNT, MONTH, Clients(StepFunctions(history), logs, s3))


def test_the_seconds_of_a_step_scale_both_parts_of_what_is_assumed() -> None:
    # 2 M events on MEDIUM, four times an X-Small. Predicted are 20 + 40 x 2 / 4 = 40 s, measured are 80 s.
    values = measured().values
    assert values["load_fixed_s"] == pytest.approx(40)
    assert values["load_s_per_million"] == pytest.approx(80)
    # 1 M interactions: 10 + 4 / 4 = 11 s against 22 s.
    assert values["export_fixed_s"] == pytest.approx(20)


def test_a_job_counts_its_time_on_the_instance_and_the_discount_of_spot() -> None:
    values = measured().values
    # 100 + 100 x 1 = 200 s were predicted; the state took 400 s, the job 300 s, of which SageMaker bills 90 s.
    assert values["train_fixed_s"] == pytest.approx(150)
    assert values["train_cpu_s_per_million"] == pytest.approx(150)
    assert values["spot_discount"] == pytest.approx(0.7)
    # 120 s between start and end.
    predicted_s = ASSUMED.evaluate_fixed_s + ASSUMED.evaluate_s_per_million
    assert values["evaluate_fixed_s"] == pytest.approx(ASSUMED.evaluate_fixed_s * 120 / predicted_s)


def test_sizes_come_from_the_objects_of_the_run() -> None:
    values = measured().values
    # Ten files of 12 MB on average, 2 M rows.
    assert values["raw_gzip_bytes"] == pytest.approx(60)
    assert values["export_bytes"] == pytest.approx(12)
    assert values["model_bytes_per_item"] == pytest.approx(800)


def test_requests_come_from_the_reports_and_the_lines_of_collect() -> None:
    values = measured().values
    assert values["collect_ms"] == pytest.approx(30)
    assert values["events_per_request"] == pytest.approx(4)
    # 26 bytes are added to each of the five messages.
    assert values["log_bytes_per_call"] == pytest.approx((sum(map(len, REPORTS)) + 5 * 26) / 2)
    assert values["transitions_per_run"] == 5
    # The API's Lambda was not called: its log group is missing.
    assert "recommend_ms" not in values


def test_each_replacement_says_by_how_much_the_assumption_was_wrong() -> None:
    found = measured()
    by_name = {one.name: one for one in found.replacements(ASSUMED)}
    load = by_name["load_fixed_s"]
    assert (load.assumed, load.measured, load.factor, load.unit) == (20, 40, 2, "s per run")
    replaced = ASSUMED.with_values(found.values)
    assert replaced.load_fixed_s == 40
    assert replaced.collect_response_bytes == ASSUMED.collect_response_bytes


@pytest.mark.parametrize("run", ["latest", "night", ARN, RUN_ID])
def test_a_run_is_named_by_its_id_or_its_execution(run: str) -> None:
    assert measured(run=run).run_id == RUN_ID


def test_an_unknown_run_is_refused_with_how_to_name_one() -> None:
    with pytest.raises(RunUnknown, match="--measured latest"):
        measured(run="yesterday")


def test_a_run_without_events_measures_nothing() -> None:
    empty = visit("Load", 5, {**LOADED, "rows_loaded": 0})
    with pytest.raises(RunUnknown, match="loaded no events"):
        measured(empty)


def test_a_run_that_ends_before_training_replaces_only_what_it_reached() -> None:
    values = measured(visit("Load", 80, LOADED)).values
    assert "load_fixed_s" in values
    assert not {"train_fixed_s", "export_fixed_s", "publish_s", "model_bytes_per_item"} & values.keys()
