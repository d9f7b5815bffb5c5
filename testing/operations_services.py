"""The services that the operations page reads, with the runs of a shop in them: they page, refuse and hang as AWS does."""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.operations.gather import Clients
from functions.platform.contract import (
    EVALUATIONS_PREFIX,
    METRICS_NAMESPACE,
    RAW_PREFIX,
    REJECTED_PREFIX,
    VALIDATION_LATEST_PREFIX,
)
from functions.platform.run_names import release_name, run_id_of
from functions.platform.s3_keys import current_key
from functions.platform.settings import OperationsSettings, ShopIds
from testing.fakes import FakeS3, FakeSageMaker, client_error

NOW = datetime(2026, 11, 29, 14, 20, tzinfo=UTC)
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:tugboat-prod-pipeline"
BATCH_MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:tugboat-prod-batch"
EVENTS_BUCKET, MODELS_BUCKET = "tugboat-prod-events-123456789012", "tugboat-prod-models-123456789012"
SETTINGS = OperationsSettings(
    stage="prod",
    prefix="tugboat-prod",
    events_bucket=EVENTS_BUCKET,
    models_bucket=MODELS_BUCKET,
    endpoint_kind="serverless",
    trained_shops=ShopIds(("demo",)),
    state_machine_arn=MACHINE,
    batch_machine_arn=BATCH_MACHINE,
    operations_minutes=5,
)
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.13.0-cpu-py311"
STEPS = {
    "Lock": 1,
    "Load": 21,
    "Transform": 118,
    "Validate": 96,
    "Export": 16,
    "Train": 412,
    "Evaluate": 188,
    "ReadEvaluation": 1,
    "Publish": 9,
    "DescribeEndpoint": 1,
    "Prove": 31,
    "Unlock": 1,
    "NotifySuccess": 1,
}


class OperationsS3(FakeS3):
    """S3 that also lists single pages, with a delimiter."""

    def list_objects_v2(
        self,
        Bucket: str,
        Prefix: str,
        Delimiter: str = "",
        MaxKeys: int = 1000,
        ContinuationToken: str = "",
    ) -> dict[str, Any]:
        self._check()
        keys = sorted(key for bucket, key in self.objects if bucket == Bucket and key.startswith(Prefix))
        if Delimiter:
            inner = {key[: key.index("/", len(Prefix)) + 1] for key in keys if "/" in key[len(Prefix) :]}
            return {"CommonPrefixes": [{"Prefix": one} for one in sorted(inner)]} if inner else {}
        keys = [key for key in keys if key > ContinuationToken]
        page, more = keys[:MaxKeys], keys[MaxKeys:]
        default = datetime(2020, 1, 1, tzinfo=UTC)
        contents = [{"Key": key, "LastModified": self.stored_at.get((Bucket, key), default)} for key in page]
        return {"Contents": contents, **({"NextContinuationToken": page[-1]} if more else {})} if page else {}

    def generate_presigned_url(self, operation: str, Params: dict[str, str], ExpiresIn: int) -> str:
        assert operation == "get_object"
        kind = f"&type={Params['ResponseContentType']}" if "ResponseContentType" in Params else ""
        return f"https://{Params['Bucket']}/{Params['Key']}?expires={ExpiresIn}{kind}"

    def put(self, bucket: str, key: str, content: Any, at: datetime = NOW) -> None:
        """Store JSON under a key, as of a time."""
        self.put_object(bucket, key, json.dumps(content).encode())
        self.stored_at[bucket, key] = at


@dataclass
class Execution:
    """One execution with its history."""

    name: str
    started: datetime
    status: str
    history: list[dict[str, Any]]
    ended: datetime | None

    @property
    def arn(self) -> str:
        return MACHINE.replace("stateMachine", "execution") + f":{self.name}"

    @property
    def run_id(self) -> str:
        return run_id_of(self.arn, self.started)


class FakeStates:
    """Step Functions with executions, the newest first. `histories_read` counts what was read."""

    def __init__(self) -> None:
        self.executions: list[Execution] = []
        # What DescribeExecution returns of each batch, the newest first.
        self.batches: list[dict[str, Any]] = []
        self.histories_read: list[str] = []
        self.before_call: Callable[[], None] = lambda: None

    def list_executions(self, stateMachineArn: str, maxResults: int) -> dict[str, Any]:
        self.before_call()
        assert 0 < maxResults <= 1000
        if stateMachineArn == BATCH_MACHINE:
            return {
                "executions": [{"executionArn": one["executionArn"]} for one in self.batches[:maxResults]]
            }
        assert stateMachineArn == MACHINE
        newest = sorted(self.executions, key=lambda one: one.started, reverse=True)[:maxResults]
        return {
            "executions": [
                {
                    "executionArn": one.arn,
                    "name": one.name,
                    "status": one.status,
                    "startDate": one.started,
                    **({"stopDate": one.ended} if one.ended else {}),
                }
                for one in newest
            ]
        }

    def describe_execution(self, executionArn: str) -> dict[str, Any]:
        return next(one for one in self.batches if one["executionArn"] == executionArn)

    def get_execution_history(self, executionArn: str, nextToken: str = "0", **_: Any) -> dict[str, Any]:
        self.before_call()
        self.histories_read.append(executionArn)
        found = next(one for one in self.executions if one.arn == executionArn)
        start = int(nextToken)
        page = found.history[start : start + 20]
        more = start + 20 < len(found.history)
        return {"events": page, **({"nextToken": str(start + 20)} if more else {})}


class FakeCloudWatch:
    """CloudWatch with hourly values, alarms and their history."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, tuple[tuple[str, str], ...], str], dict[datetime, float]] = {}
        self.alarms: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.metrics_read = 0
        self.before_call: Callable[[], None] = lambda: None

    def put(
        self,
        namespace: str,
        metric: str,
        dimensions: dict[str, str],
        stat: str,
        values: dict[datetime, float],
    ) -> None:
        """Store a series."""
        self.values[namespace, metric, tuple(sorted(dimensions.items())), stat] = values

    def get_metric_data(
        self, MetricDataQueries: list[dict[str, Any]], StartTime: datetime, EndTime: datetime, **_: Any
    ) -> dict[str, Any]:
        self.before_call()
        assert len({query["Id"] for query in MetricDataQueries}) == len(MetricDataQueries)
        self.metrics_read += len(MetricDataQueries)
        results = []
        for query in MetricDataQueries:
            metric = query["MetricStat"]["Metric"]
            dimensions = tuple(sorted((one["Name"], one["Value"]) for one in metric["Dimensions"]))
            key = (metric["Namespace"], metric["MetricName"], dimensions, query["MetricStat"]["Stat"])
            points = {at: v for at, v in self.values.get(key, {}).items() if StartTime <= at < EndTime}
            results.append({"Id": query["Id"], "Timestamps": list(points), "Values": list(points.values())})
        return {"MetricDataResults": results}

    def list_metrics(
        self, Namespace: str, MetricName: str, Dimensions: list[dict[str, str]]
    ) -> dict[str, Any]:
        self.before_call()
        names = {one["Name"] for one in Dimensions}
        return {
            "Metrics": [
                {"Dimensions": [{"Name": name, "Value": value} for name, value in dimensions]}
                for namespace, metric, dimensions, _ in self.values
                if (namespace, metric) == (Namespace, MetricName)
                and names <= {name for name, _ in dimensions}
            ]
        }

    def get_paginator(self, operation: str) -> "FakeCloudWatch":
        assert operation == "describe_alarms"
        return self

    def paginate(self, AlarmNamePrefix: str) -> Iterator[dict[str, Any]]:
        self.before_call()
        for alarm in self.alarms:
            if alarm["AlarmName"].startswith(AlarmNamePrefix):
                yield {"MetricAlarms": [alarm]}

    def describe_alarm_history(self, MaxRecords: int, **_: Any) -> dict[str, Any]:
        self.before_call()
        assert MaxRecords <= 100
        return {"AlarmHistoryItems": self.history}


class FakeEvents:
    """EventBridge with one rule."""

    expression, state = "cron(0 2 * * ? *)", "ENABLED"

    def describe_rule(self, Name: str) -> dict[str, Any]:
        assert Name == "tugboat-prod-nightly"
        return {"ScheduleExpression": self.expression, "State": self.state}


@dataclass
class Services:
    """All services, and the clients of the page."""

    states: FakeStates = field(default_factory=FakeStates)
    cloudwatch: FakeCloudWatch = field(default_factory=FakeCloudWatch)
    sagemaker: FakeSageMaker = field(default_factory=FakeSageMaker)
    events: FakeEvents = field(default_factory=FakeEvents)
    s3: OperationsS3 = field(default_factory=OperationsS3)

    @property
    def clients(self) -> Clients:
        return Clients(self.states, self.cloudwatch, self.sagemaker, self.events, self.s3)


def add_batch(services: Services, started: datetime, given: dict[str, Any], **result: Any) -> None:
    """Add a batch of lists for mail. The ones before it are older."""
    described = {
        "executionArn": f"{BATCH_MACHINE.replace('stateMachine', 'execution')}:{len(services.states.batches)}",
        "startDate": started,
        "input": json.dumps(given),
        **result,
    }
    services.states.batches.insert(0, described)


def hang(seconds: float = 30.0) -> Callable[[], None]:
    """Return a call that does not end in time."""
    return lambda: time.sleep(seconds)


def refuse() -> None:
    """Raise what a service raises for a role without the permission."""
    raise client_error("AccessDeniedException", "not authorized to perform: states:ListExecutions")


def history(
    started: datetime,
    run_id: str,
    outputs: dict[str, Any],
    fails_in: str = "",
    cause: str = "",
    retried: str = "",
    factor: float = 1.0,
    until: str = "",
) -> tuple[list[dict[str, Any]], datetime]:
    """Return the events of an execution, and the time of the last one."""
    events: list[dict[str, Any]] = []
    at = started

    def add(kind: str, details_name: str = "", **details: Any) -> None:
        events.append(
            {
                "id": len(events) + 1,
                "previousEventId": len(events),
                "type": kind,
                "timestamp": at,
                **({details_name: details} if details_name else {}),
            }
        )

    add("ExecutionStarted")
    add("PassStateEntered", "stateEnteredEventDetails", name="Prepare", input="{}")
    add(
        "PassStateExited",
        "stateExitedEventDetails",
        name="Prepare",
        output=json.dumps(outputs.get("Prepare", {})),
    )
    for name, seconds in STEPS.items():
        add("TaskStateEntered", "stateEnteredEventDetails", name=name, input="{}")
        if name == "Train":
            call = {
                "TrainingJobName": f"tugboat-prod-{run_id}-0-0",
                "AlgorithmSpecification": {"TrainingImage": IMAGE},
                "ResourceConfig": {"InstanceType": "ml.m5.xlarge"},
                "HyperParameters": {
                    "sagemaker_submit_directory": f"s3://{MODELS_BUCKET}/code/5f1c2d3e4a5b6c7d.tar.gz",
                    "snapshot_id": run_id,
                    **outputs.get("hyperparameters", {}),
                },
            }
            add("TaskScheduled", "taskScheduledEventDetails", parameters=json.dumps(call))
        if name == until:
            return events, at
        if name == retried:
            at += timedelta(seconds=8)
            add(
                "LambdaFunctionFailed",
                "lambdaFunctionFailedEventDetails",
                error="WarehouseUnavailable",
                cause="busy",
            )
        at += timedelta(seconds=seconds * factor)
        if name == fails_in:
            add(
                "TaskFailed",
                "taskFailedEventDetails",
                error="DbtFailed",
                cause=json.dumps({"errorMessage": cause}),
            )
            add("TaskStateEntered", "stateEnteredEventDetails", name="UnlockAfterFailure", input="{}")
            add("TaskStateExited", "stateExitedEventDetails", name="UnlockAfterFailure", output="{}")
            add("TaskStateEntered", "stateEnteredEventDetails", name="Failed", input="{}")
            add("TaskFailed", "taskFailedEventDetails", error="DbtFailed", cause=cause)
            add("ExecutionFailed", "executionFailedEventDetails", error="DbtFailed", cause=f"{name}: {cause}")
            return events, at
        if name == "Train":
            answer = {
                "TrainingTimeInSeconds": int(seconds * factor) - 40,
                "BillableTimeInSeconds": int((seconds * factor - 40) * 0.38),
                "FinalMetricDataList": [{"MetricName": "valid_hr_at_20", "Value": 0.412}],
            }
            add("TaskSucceeded", "taskSucceededEventDetails", output=json.dumps(answer))
        add(
            "TaskStateExited",
            "stateExitedEventDetails",
            name=name,
            output=json.dumps(outputs.get(name, {})),
        )
    add("ExecutionSucceeded", "executionSucceededEventDetails", output="{}")
    return events, at


def add_run(
    services: Services,
    started: datetime,
    number: int = 0,
    *,
    fails_in: str = "",
    cause: str = "",
    retried: str = "",
    running_in: str = "",
    factor: float = 1.0,
    scheduled: bool = True,
    skip_training: bool = False,
    shop: str = "",
) -> Execution:
    """Add an execution with its evaluation. The figures differ by `number`. Without `shop`, its input names none."""
    event_id = f"{number:08x}-1111-4222-8333-444455556666"
    name = f"{event_id}_{event_id}" if scheduled else f"demo-{started:%Y%m%d-%H%M%S}-abcdef"
    run = Execution(name, started, "RUNNING", [], None)
    run_id = run.run_id
    events = 31_204 + 517 * number
    outputs = {
        "hyperparameters": {"epochs": "10", "learning_rate": "0.003" if number % 4 else "0.004"},
        "Prepare": ({"skip_training": True} if skip_training else {}) | ({"shop_id": shop} if shop else {}),
        "Load": {
            "run_id": run_id,
            "rows_loaded": events,
            "files_loaded": 48,
            "files_skipped": 0,
            "files_failed": [],
        },
        "Validate": {
            "run_id": run_id,
            "passed": True,
            "failures": [],
            "checks": 86,
            "report_uri": f"s3://{MODELS_BUCKET}/reports/validation/{run_id}.html",
        },
        "Export": {
            "run_id": run_id,
            "snapshot_id": run_id,
            "manifest_uri": f"s3://{MODELS_BUCKET}/exports/{run_id}/manifest.json",
            "interactions": 20 * events,
            "sessions": 3 * events,
            "items": 4_310 + number,
            "last_event_time_ms": int((started - timedelta(minutes=4)).timestamp() * 1000),
        },
        "Train": {"job": f"tugboat-prod-{run_id}-0-0", "status": "Completed"},
        "Publish": {
            "endpoint_name": f"tugboat-prod-{shop or 'demo'}",
            "endpoint_config_name": release_name("tugboat-prod", shop or "demo", run_id),
            "model_name": release_name("tugboat-prod", shop or "demo", run_id),
            "model_data_uri": f"s3://{MODELS_BUCKET}/serving/releases/{run_id}/model.tar.gz",
        },
        "Prove": {"overlap": 1.0, "model_version": f"tugboat-prod-{run_id}-0-0"},
    }
    run.history, at = history(
        started, run_id, outputs, fails_in, cause, retried, factor * (1 + 0.05 * math.sin(number)), running_in
    )
    if not running_in:
        run.status, run.ended = ("FAILED" if fails_in else "SUCCEEDED"), at
    services.states.executions.append(run)
    if not fails_in and not running_in:
        services.s3.put(
            MODELS_BUCKET, f"{EVALUATIONS_PREFIX}{run_id}/evaluation.json", _evaluation(run_id, number)
        )
    return run


def add_warning(services: Services, run: Execution, reason: str) -> None:
    """Let the gate warn about the model of a run."""
    place = MODELS_BUCKET, f"{EVALUATIONS_PREFIX}{run.run_id}/evaluation.json"
    evaluation = json.loads(services.s3.get_object(Bucket=place[0], Key=place[1])["Body"].read())
    check = {**evaluation["checks"][0], "name": "lead", "verdict": "warned", "reason": reason}
    services.s3.put(*place, evaluation | {"checks": [*evaluation["checks"], check]})


def _evaluation(run_id: str, number: int) -> dict[str, Any]:
    hit = 0.402 + 0.004 * math.sin(number) + 0.002 * number
    check = {
        "slice": "all",
        "against": "popularity",
        "value": hit - 0.2,
        "verdict": "passed",
        "reason": "better",
    }
    return {
        "passed": True,
        "failures": [],
        "override_reason": None,
        "model_version": f"tugboat-prod-{run_id}-0-0",
        "metrics": {
            "candidate": {"hr_at_20": hit, "mrr_at_20": hit * 0.42, "coverage": 0.61},
            "champion": {"hr_at_20": hit - 0.003, "mrr_at_20": hit * 0.41},
            "popularity": {"hr_at_20": 0.2, "mrr_at_20": 0.08},
            "session_knn": {"hr_at_20": 0.371, "mrr_at_20": 0.155},
        },
        "checks": [
            {**check, "name": "hit rate"},
            {**check, "name": "session items shown again", "value": 0.1},
        ],
        "settings": {
            "seed": 0,
            "fit": {"epochs": 10},
            "curve": [
                {
                    "epoch": epoch,
                    "loss": 4.1 * math.exp(-epoch / 4) + 2.2 + 0.01 * number,
                    "valid_hr_at_20": 0.41 - 0.2 * math.exp(-epoch / 2),
                    "valid_mrr_at_20": 0.17 - 0.1 * math.exp(-epoch / 2),
                }
                for epoch in range(1, 7)
            ],
        },
    }


def release(
    services: Services,
    current: Execution,
    previous: Execution | None = None,
    served: str = "",
    shop: str = "demo",
) -> None:
    """Put a release of a shop on record, and its endpoint on it, or on another configuration."""

    def row(run: Execution) -> dict[str, Any]:
        name = release_name("tugboat-prod", shop, run.run_id)
        return {
            "endpoint": f"tugboat-prod-{shop}",
            "shop_id": shop,
            "endpoint_config": name,
            "model_name": name,
            "model_version": f"tugboat-prod-{run.run_id}-0-0",
            "model_data_uri": f"s3://{MODELS_BUCKET}/serving/releases/{run.run_id}/model.tar.gz",
            "snapshot_id": run.run_id,
            "run_id": run.run_id,
            "published_at": (run.ended or run.started).isoformat(timespec="seconds"),
        }

    record = {"release": row(current), "previous": row(previous) if previous else None}
    services.s3.put(MODELS_BUCKET, current_key(shop), record)
    config = served or row(current)["endpoint_config"]
    services.sagemaker.endpoints[f"tugboat-prod-{shop}"] = {
        "EndpointStatus": "InService",
        "EndpointConfigName": config,
    }


def hourly(of: Callable[[int], float], hours: int = 24) -> dict[datetime, float]:
    """Return a value per hour until now."""
    top = NOW.replace(minute=0)
    return {top - timedelta(hours=back): float(of(hours - back)) for back in range(hours - 1, -1, -1)}


def add_traffic(services: Services, fallbacks_per_hour: int = 2) -> None:
    """Add a month of requests and the latencies of a day."""
    put = services.cloudwatch.put
    stage = {"Stage": "prod"}

    def wave(top: float) -> Callable[[int], float]:
        return lambda hour: round(top * (1.2 + math.sin(hour / 24 * 2 * math.pi)))

    def always(count: float) -> Callable[[int], float]:
        return lambda _: count

    month = 28 * 24
    put(METRICS_NAMESPACE, "EventsAccepted", stage, "Sum", hourly(wave(1300), month))
    put(METRICS_NAMESPACE, "EventsRefused", stage, "Sum", hourly(wave(8), month))
    put(METRICS_NAMESPACE, "Recommendations", stage, "Sum", hourly(wave(610), month))
    put("AWS/ApiGateway", "Count", {"ApiName": "tugboat", "Stage": "prod"}, "Sum", hourly(wave(1250), month))
    put(METRICS_NAMESPACE, "Fallbacks", stage, "Sum", hourly(always(fallbacks_per_hour)))
    for reason, count in (("timeout", fallbacks_per_hour), ("throttled", 0)):
        put(METRICS_NAMESPACE, "Fallbacks", {**stage, "Reason": reason}, "Sum", hourly(always(count)))
    for reason, count in (("unknown_key", 5), ("event_too_old", 3)):
        put(METRICS_NAMESPACE, "EventsRefused", {**stage, "Reason": reason}, "Sum", hourly(always(count)))
    endpoint = {"EndpointName": "tugboat-prod-demo", "VariantName": "all-traffic"}
    put("AWS/SageMaker", "Invocations", endpoint, "Sum", hourly(wave(600)))
    put("AWS/SageMaker", "ModelLatency", endpoint, "p50", hourly(lambda hour: 4_200 + 40 * hour))
    put("AWS/SageMaker", "ModelLatency", endpoint, "p99", hourly(lambda hour: 11_000 + 350 * (hour % 7)))
    put("AWS/SageMaker", "ModelSetupTime", endpoint, "SampleCount", hourly(lambda hour: hour % 3))
    put("AWS/Lambda", "Duration", {"FunctionName": "tugboat-prod"}, "p99", hourly(lambda hour: 61 + hour % 9))


def add_alarm(services: Services, name: str, state: str = "OK", fired: datetime | None = None) -> None:
    """Add an alarm, and when it fired."""
    services.cloudwatch.alarms.append(
        {
            "AlarmName": f"tugboat-prod-{name}",
            "StateValue": state,
            "StateUpdatedTimestamp": NOW - timedelta(hours=2),
            "AlarmDescription": f"What {name} means. What to do first.",
            "StateReason": "Threshold crossed",
        }
    )
    if fired:
        data = json.dumps({"newState": {"stateValue": "ALARM"}})
        services.cloudwatch.history.append(
            {"AlarmName": f"tugboat-prod-{name}", "Timestamp": fired, "HistoryData": data}
        )


def add_shop(
    services: Services, shop_id: str, run: Execution, failed: str = "", verdict: str = "failed"
) -> None:
    """Add what Validate wrote of a shop."""
    day = run.started.date()
    services.s3.put(
        MODELS_BUCKET,
        f"{VALIDATION_LATEST_PREFIX}{shop_id}.json",
        {
            "run_id": run.run_id,
            "shop_id": shop_id,
            "checked_at": (run.started + timedelta(minutes=4)).isoformat(),
            "verdict": "failed" if failed and verdict == "failed" else "passed",
            "counts": {"passed": 84, "skipped": 2, **({verdict: 1} if failed else {})},
            "checks": [{"name": failed, "verdict": verdict, "slice": shop_id, "reason": "too few", "n": 4}]
            if failed
            else [],
            "daily_events": [
                {"day": str(day - timedelta(days=back)), "events": 31_000 + 900 * (back % 5)}
                for back in range(29, -1, -1)
            ],
            "refusals": {
                "total": 118,
                "by_reason": {"unknown_key": 90, "event_too_old": 28},
                "is_sample": False,
            },
            "freshness": {
                "newest_event_at": (run.started - timedelta(minutes=5)).isoformat(),
                "raw_loaded_at": run.started.isoformat(),
                "staged_at": run.started.isoformat(),
                "marts_at": (run.started + timedelta(minutes=2)).isoformat(),
            },
            "profiles": [{"model": "sessions"}],
            "version": 1,
        },
    )


def a_well_shop(nights: int = 9) -> Services:
    """Return a shop after some good nights, the second of them with a retry."""
    services = Services()
    midnight = NOW.replace(hour=2, minute=0)
    runs = [
        add_run(
            services,
            midnight - timedelta(days=back),
            nights - back,
            retried="Load" if back == nights - 2 else "",
        )
        for back in range(nights - 1, -1, -1)
    ]
    release(services, runs[-1], runs[-2] if len(runs) > 1 else None)
    add_traffic(services)
    for name in ("api-5xx", "pipeline-failed", "recommend-p99", "dead-letters"):
        add_alarm(services, name)
    add_alarm(services, "events-late", fired=NOW - timedelta(days=3))
    add_shop(services, "demo", runs[-1])
    services.s3.put(
        EVENTS_BUCKET, f"{RAW_PREFIX}{NOW:%Y/%m/%d/%H}/events-1.gz", {}, NOW - timedelta(minutes=1)
    )
    services.s3.put(
        EVENTS_BUCKET, f"{RAW_PREFIX}{NOW:%Y/%m/%d/%H}/events-0.gz", {}, NOW - timedelta(minutes=2)
    )
    services.s3.put(
        EVENTS_BUCKET, f"{REJECTED_PREFIX}2026/11/28/09/rejected-1.gz", {}, NOW - timedelta(hours=29)
    )
    services.s3.put(
        EVENTS_BUCKET, f"{REJECTED_PREFIX}2026/11/27/22/rejected-1.gz", {}, NOW - timedelta(hours=40)
    )
    return services
