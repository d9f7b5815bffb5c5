"""Read the usage of one finished run from the account, and replace what the bill assumes. Every call only reads.

Durations of steps and jobs come from the execution, those of Lambdas from their REPORT lines, sizes from S3.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from deploy.bill.assumptions import Assumptions, sources
from deploy.bill.month import WAREHOUSE_STEPS, Month
from deploy.command import DeployError
from deploy.lambdas import named
from deploy.stages import Stage
from deploy.step_jobs import runs_as_job
from functions.platform.contract import EXPORTS_PREFIX, RAW_PREFIX
from functions.platform.run_names import run_id_of

# Logs this long before and after the run show what its events and carousels took.
AROUND = timedelta(hours=24)
LOG_EVENTS_MAX = 20_000
REPORT = re.compile(r"^REPORT .*?\bDuration: (?P<ms>[\d.]+) ms", re.DOTALL)
COLLECTED = "events collected"
# CloudWatch Logs bills each event with 26 bytes more.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
LOG_EVENT_OVERHEAD_BYTES = 26


class RunUnknown(DeployError):
    """No finished run has this name, or it loaded nothing. The message says how to name one."""


class Replacement(NamedTuple):
    """A measured value in the place of an assumed one."""

    name: str
    unit: str
    assumed: float
    measured: float

    @property
    def factor(self) -> float:
        """Return the measured value by the assumed one."""
        return self.measured / self.assumed if self.assumed else float("inf")


@dataclass(frozen=True)
class Clients:
    """The boto3 clients that a measurement reads with."""

    stepfunctions: Any
    logs: Any
    s3: Any


@dataclass(frozen=True)
class Measured:
    """The usage of one run. `values` has an assumption's measured value by its name."""

    run_id: str
    events: int
    items: int
    values: dict[str, float]

    def replacements(self, assumed: Assumptions) -> list[Replacement]:
        """Return the assumptions that the run replaces, those that were most wrong first."""
        found = [
            Replacement(name, sources()[name].unit, getattr(assumed, name), value)
            for name, value in self.values.items()
        ]
        return sorted(found, key=lambda one: -max(one.factor, 1 / one.factor if one.factor else float("inf")))


@dataclass
class _Visit:
    """One visit of one state, with the output of its task."""

    name: str
    seconds: float
    output: Any
    # The response of the service that the state called, before the state's Output.
    response: Any


def measure(run: str, stage: Stage, account_id: str, month: Month, clients: Clients) -> Measured:
    """Return what a finished run used.

    Args:
        run: `latest`, the run id, or the name or the ARN of the execution.
        stage: the stage that ran it.
        account_id: the account of the stage.
        month: a month of the stage, for the assumptions that are replaced.
        clients: the clients to read with.

    Raises:
        RunUnknown: there is no such run that succeeded, or it loaded no events.
    """
    execution = _find(run, stage, account_id, clients.stepfunctions)
    visits, states = _visits(clients.stepfunctions, execution["executionArn"])
    by_name = {visit.name: visit for visit in visits}
    run_id = run_id_of(execution["executionArn"], execution["startDate"])
    loaded = _output(by_name, "Load")
    events = int(loaded.get("rows_loaded", 0))
    if not events:
        raise RunUnknown(
            f"run {run_id} loaded no events, so nothing per event can be measured: send events, make run, and name that run"
        )
    exported = _output(by_name, "Export")
    interactions, items = int(exported.get("interactions", 0)), int(exported.get("items", 0))
    values: dict[str, float] = {"transitions_per_run": states}
    values |= _steps(by_name, events, interactions, month)
    values |= _jobs(by_name, interactions, month)
    values |= {
        f"{name.lower()}_s": by_name[name].seconds for name in ("Lock", "Publish", "Prove") if name in by_name
    }
    values |= _sizes(stage, account_id, execution["startDate"], loaded, exported, by_name, clients.s3)
    values |= _requests(stage, execution, clients.logs)
    return Measured(run_id, events, items, {name: value for name, value in values.items() if value >= 0})


def _find(run: str, stage: Stage, account_id: str, client: Any) -> dict[str, Any]:
    machine = f"arn:aws:states:{stage.region}:{account_id}:stateMachine:{stage.prefix}-pipeline"
    pages = client.get_paginator("list_executions").paginate(
        stateMachineArn=machine, statusFilter="SUCCEEDED"
    )
    for execution in (execution for page in pages for execution in page["executions"]):
        names = (
            "latest",
            execution["name"],
            execution["executionArn"],
            run_id_of(execution["executionArn"], execution["startDate"]),
        )
        if run in names:
            return dict(execution)
    raise RunUnknown(
        f"stage {stage.name} has no run {run!r} that succeeded: use --measured latest, a run id such as "
        "20261129-1a2b3c4d5e6f, or the name of the execution that make run prints"
    )


def _visits(client: Any, execution_arn: str) -> tuple[list[_Visit], int]:
    """Return the states of an execution in their order, and the number of states entered."""
    entered: dict[str, datetime] = {}
    responses: dict[str, Any] = {}
    latest = ""
    visits: list[_Visit] = []
    count = 0
    pages = client.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn, includeExecutionData=True
    )
    for event in (event for page in pages for event in page["events"]):
        if event["type"].endswith("StateEntered"):
            count += 1
            latest = event["stateEnteredEventDetails"]["name"]
            entered[latest] = event["timestamp"]
        elif event["type"] == "TaskSucceeded":
            responses[latest] = _parsed(event["taskSucceededEventDetails"].get("output"))
        elif event["type"].endswith("StateExited"):
            details = event["stateExitedEventDetails"]
            seconds = (event["timestamp"] - entered[details["name"]]).total_seconds()
            name = details["name"]
            visits.append(_Visit(name, seconds, _parsed(details.get("output")), responses.get(name, {})))
    return visits, count


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return {}


def _output(by_name: dict[str, _Visit], state: str) -> dict[str, Any]:
    """Return the output of a state, or {} if the run did not reach it."""
    output = by_name[state].output if state in by_name else {}
    return output if isinstance(output, dict) else {}


def _job(by_name: dict[str, _Visit], state: str) -> dict[str, Any]:
    """Return SageMaker's description of a finished job, or {} if the run had none."""
    response = by_name[state].response if state in by_name else {}
    return response if isinstance(response, dict) else {}


def _scaled(
    assumed: Assumptions, names: tuple[str, ...], predicted_s: float, seconds: float
) -> dict[str, float]:
    """Return the assumptions behind a duration, each times the measured duration by the predicted one.

    One run cannot show which part of its time is fixed and which part grows.
    """
    return {name: getattr(assumed, name) * seconds / predicted_s for name in names}


def _steps(by_name: dict[str, _Visit], events: int, interactions: int, month: Month) -> dict[str, float]:
    values: dict[str, float] = {}
    for step in WAREHOUSE_STEPS:
        visit = by_name.get(step.title())
        if visit is None:
            continue
        fixed, growing = f"{step}_fixed_s", f"{step}_s_per_million"
        millions = (interactions if step == "export" else events) / 1e6
        predicted_s = month.step_s(step, millions)
        start_s = month.assumed.job_start_s if runs_as_job(month.stage, step) else 0
        values |= _scaled(month.assumed, (fixed, growing), predicted_s, max(1.0, visit.seconds - start_s))
    return values


def _jobs(by_name: dict[str, _Visit], interactions: int, month: Month) -> dict[str, float]:
    values: dict[str, float] = {}
    kind = "gpu" if month.on_gpu else "cpu"
    for state, fixed, growing in (
        ("Train", "train_fixed_s", f"train_{kind}_s_per_million"),
        ("Evaluate", "evaluate_fixed_s", "evaluate_s_per_million"),
    ):
        if state not in by_name:
            continue
        job = _job(by_name, state)
        seconds = _job_seconds(job) or by_name[state].seconds
        predicted_s = getattr(month.assumed, fixed) + getattr(month.assumed, growing) * interactions / 1e6
        values |= _scaled(month.assumed, (fixed, growing), predicted_s, seconds)
        if month.stage.use_spot and job.get("BillableTimeInSeconds") and job.get("TrainingTimeInSeconds"):
            values["spot_discount"] = 1 - job["BillableTimeInSeconds"] / job["TrainingTimeInSeconds"]
    return values


def _job_seconds(job: dict[str, Any]) -> float:
    """Return the time on the instance, which SageMaker bills and which is shorter than the state. 0: not in the output."""
    if job.get("ProcessingStartTime") and job.get("ProcessingEndTime"):
        # Step Functions writes times as milliseconds.
        return float(job["ProcessingEndTime"] - job["ProcessingStartTime"]) / 1000
    return float(job.get("TrainingTimeInSeconds") or 0)


def _sizes(
    stage: Stage,
    account_id: str,
    started: datetime,
    loaded: dict[str, Any],
    exported: dict[str, Any],
    by_name: dict[str, _Visit],
    s3: Any,
) -> dict[str, float]:
    values: dict[str, float] = {}
    days = [started.astimezone(UTC).date() - timedelta(days=back) for back in range(2)]
    raw = [
        size
        for day in days
        for modified, size in _objects(s3, stage.events_bucket(account_id), f"{RAW_PREFIX}{day:%Y/%m/%d}/")
        if modified <= started
    ]
    files = int(loaded.get("files_loaded", 0))
    if raw and files:
        # The run's own files are not named in its output: the mean of the recent ones stands for them.
        values["raw_gzip_bytes"] = sum(raw) / len(raw) * files / loaded["rows_loaded"]
    bucket = stage.models_bucket(account_id)
    if exported.get("interactions"):
        prefix = f"{EXPORTS_PREFIX}{exported['run_id']}/interactions/"
        total = sum(size for _, size in _objects(s3, bucket, prefix))
        values["export_bytes"] = total / exported["interactions"]
    archive = _job(by_name, "Train").get("ModelArtifacts", {}).get("S3ModelArtifacts", "")
    key = archive.removeprefix(f"s3://{bucket}/")
    if key != archive and exported.get("items"):
        sizes = [size for _, size in _objects(s3, bucket, key)]
        values["model_bytes_per_item"] = sum(sizes) / exported["items"]
    return values


def _objects(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[datetime, int]]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            yield found["LastModified"], int(found["Size"])


def _requests(stage: Stage, execution: dict[str, Any], logs: Any) -> dict[str, float]:
    """Return the durations and sizes of requests around the run, from the logs of the two Lambdas of the API."""
    values: dict[str, float] = {}
    starts, ends = execution["startDate"] - AROUND, execution["stopDate"] + AROUND
    calls, written = 0, 0
    for name, assumption in (("collect", "collect_ms"), ("api_handler", "recommend_ms")):
        durations: list[float] = []
        accepted: list[int] = []
        for message in _messages(logs, f"/aws/lambda/{named(name).deployed_name(stage)}", starts, ends):
            written += len(message.encode()) + LOG_EVENT_OVERHEAD_BYTES
            if report := REPORT.match(message):
                durations.append(float(report["ms"]))
            elif COLLECTED in message:
                accepted += [int(_parsed(message).get("accepted", 0))]
        calls += len(durations)
        if durations:
            values[assumption] = sum(durations) / len(durations)
        if accepted:
            values["events_per_request"] = sum(accepted) / len(accepted)
    if calls:
        values["log_bytes_per_call"] = written / calls
    return values


def _messages(logs: Any, group: str, starts: datetime, ends: datetime) -> Iterator[str]:
    """Yield the messages of a log group, at most LOG_EVENTS_MAX. A missing group has none."""
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, startTime=int(starts.timestamp() * 1000), endTime=int(ends.timestamp() * 1000)
    )
    try:
        found = (event["message"] for page in pages for event in page["events"])
        yield from islice(found, LOG_EVENTS_MAX)
    except logs.exceptions.ResourceNotFoundException:
        return
