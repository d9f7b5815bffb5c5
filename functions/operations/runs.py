"""Read the newest runs. A finished run is read once, and its digest is kept in one file on S3."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from functions.operations.model import Check, Epoch, Evaluation, Published, Run, Runs, Step, Training
from functions.platform.contract import OPERATIONS_RUNS_KEY
from functions.platform.log import get_logger
from functions.platform.run_history import AFTER_A_FAILURE, State, folded, parse, read_history, readable
from functions.platform.run_names import run_id_of
from functions.platform.s3_keys import evaluation_key
from functions.platform.stored_json import read_json
from functions.platform.time_box import Deadline

log = get_logger(__name__)

SHOWN = 30
# ListExecutions returns at most this many at once. More in one month are not counted.
LISTED = 1000
FAILURE_CHARACTERS = 600
RUNNING = "RUNNING"
# The settings of a training job that say where it reads and writes, and not how it learns.
# Fields of an execution's input that the night adds for Step Functions and for the lock.
OF_NIGHT = ("night", "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID")
ADDRESSES = ("sagemaker_", "checkpoint_dir", "snapshot_id")


def read_runs(states: Any, s3: Any, bucket: str, machine_arn: str, now: datetime, deadline: Deadline) -> Runs:
    """Return the newest runs, and keep the digests of those that have ended.

    A run whose history cannot be read, or not in time, has a note instead of its parts.
    """
    known = {run.arn: run for run in _known(s3, bucket)}
    listed = states.list_executions(stateMachineArn=machine_arn, maxResults=LISTED)["executions"]
    found = []
    for one in listed[:SHOWN]:
        earlier = known.get(one["executionArn"])
        # A redrive changes the time of the end, so a redriven run is read again.
        is_known = (
            earlier and earlier.status == one["status"] and earlier.ended_at == _utc(one.get("stopDate"))
        )
        found.append(earlier if earlier and is_known else _read(one, states, s3, bucket, deadline))
    kept = [run for run in found if run.status != RUNNING and not run.note]
    if kept != list(known.values()):
        s3.put_object(
            Bucket=bucket,
            Key=OPERATIONS_RUNS_KEY,
            Body=msgspec.json.encode(kept),
            ContentType="application/json",
        )
    starts = [one["startDate"].astimezone(UTC) for one in listed]
    return Runs(found, [at for at in starts if (at.year, at.month) == (now.year, now.month)])


def kept_runs(s3: Any, bucket: str) -> Runs:
    """Return the runs of the last rebuild, for when Step Functions does not answer."""
    return Runs(_known(s3, bucket))


def _known(s3: Any, bucket: str) -> list[Run]:
    try:
        return msgspec.convert(read_json(s3, bucket, OPERATIONS_RUNS_KEY) or [], list[Run])
    except (ValueError, msgspec.ValidationError) as error:
        # Of an earlier release. Its runs are read again.
        log.warning("the kept runs cannot be read", key=OPERATIONS_RUNS_KEY, cause=str(error))
        return []


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None


def _read(one: dict[str, Any], states: Any, s3: Any, bucket: str, deadline: Deadline) -> Run:
    started_at = one["startDate"].astimezone(UTC)
    run = Run(
        arn=str(one["executionArn"]),
        name=str(one["name"]),
        run_id=run_id_of(str(one["executionArn"]), started_at),
        status=str(one["status"]),
        started_at=started_at,
        ended_at=_utc(one.get("stopDate")),
        started_by=started_by(str(one["name"])),
        redrives=int(one.get("redriveCount", 0)),
    )
    if not deadline.remaining_s():
        return msgspec.structs.replace(run, note="Not read yet: the next rebuild reads it.")
    try:
        return digest(run, read_history(states, run.arn), s3, bucket)
    except (ClientError, BotoCoreError) as error:
        log.warning("a run cannot be read", run_id=run.run_id, cause=str(error))
        return msgspec.structs.replace(run, note=f"Its history cannot be read: {error}")


def started_by(name: str) -> str:
    """Return who started an execution, by its name: EventBridge joins two ids, and others begin with a word of their own."""
    if "_" in name and len(name) > 70:
        return "schedule"
    if name.startswith("night-"):
        return "the night"
    return "make run" if name.startswith("demo-") else "by hand"


def digest(run: Run, events: list[dict[str, Any]], s3: Any, bucket: str) -> Run:
    """Return the run with what its history and its evaluation say."""
    story = parse(events)
    spans = [state for state in folded(story.states) if state.kind not in ("Wait", "Fail")]
    by_name = {state.name: state for state in spans}
    if not events or not story.states:
        return msgspec.structs.replace(run, note="Step Functions has no history of it.")
    failed = next(
        (
            state
            for state in reversed(spans)
            if state.failures and state.status != "done" and state.name not in AFTER_A_FAILURE
        ),
        None,
    )
    has_ended = run.status != RUNNING
    evaluation, note = None, ""
    if "Evaluate" in by_name:
        try:
            evaluation = _evaluation(s3, bucket, run.run_id)
        except (ValueError, msgspec.ValidationError) as error:
            note = f"Its evaluation.json cannot be read: {error}"
    return msgspec.structs.replace(
        run,
        redrives=max(run.redrives, story.redrives),
        error=story.error if has_ended else "",
        cause=readable(story.cause)[: 4 * FAILURE_CHARACTERS] if has_ended else "",
        failed_step=failed.name if failed and run.status not in (RUNNING, "SUCCEEDED") else "",
        options={
            name: value
            for name, value in _options(story.states).items()
            if value not in ("", False, {}, None) and name not in OF_NIGHT
        },
        steps=[_step(state, run, has_ended) for state in spans],
        transitions=len(story.states),
        loaded=_output(by_name, "Load", ("rows_loaded", "files_loaded", "files_skipped", "files_failed")),
        validation=_output(by_name, "Validate", ("passed", "failures", "checks", "report_uri")),
        snapshot=_output(
            by_name,
            "Export",
            ("snapshot_id", "interactions", "sessions", "items", "last_event_time_ms", "manifest_uri"),
        ),
        training=_training(by_name.get("Train") or by_name.get("Tune")),
        evaluation_s=_seconds(by_name.get("Evaluate")),
        evaluation=evaluation,
        note=note,
        published=_published(by_name),
    )


def _options(states: Sequence[State]) -> dict[str, Any]:
    # The input of the execution is the output of its first state, which passes it on.
    first = states[0].output if states else None
    return first if isinstance(first, dict) else {}


def _step(state: State, run: Run, has_ended: bool) -> Step:
    ended = state.exited or (run.ended_at if has_ended else None)
    return Step(
        state.name,
        state.status,
        state.entered.astimezone(UTC),
        _utc(ended),
        max(1, state.attempts),
        [failure[:FAILURE_CHARACTERS] for failure in state.failures[-3:]],
    )


def _output(by_name: dict[str, State], name: str, fields: tuple[str, ...]) -> dict[str, Any] | None:
    output = by_name[name].output if name in by_name else None
    if not isinstance(output, dict) or by_name[name].status != "done":
        return None
    return {field: output[field] for field in fields if field in output}


def _seconds(state: State | None) -> float:
    return (state.exited - state.entered).total_seconds() if state and state.exited else 0.0


def _training(state: State | None) -> Training | None:
    if state is None or not isinstance(state.call, dict):
        return None
    call = state.call.get("TrainingJobDefinition") or state.call
    answer = state.response if isinstance(state.response, dict) else {}
    output = state.output if isinstance(state.output, dict) else {}
    settings = call.get("HyperParameters") or call.get("StaticHyperParameters") or {}
    return Training(
        job=str(
            output.get("job")
            or state.call.get("TrainingJobName")
            or state.call.get("HyperParameterTuningJobName", "")
        ),
        image=str(call.get("AlgorithmSpecification", {}).get("TrainingImage", "")),
        code_uri=str(settings.get("sagemaker_submit_directory", "")),
        instance=str(call.get("ResourceConfig", {}).get("InstanceType", "")),
        seconds=float(answer.get("TrainingTimeInSeconds") or _seconds(state)),
        billed_seconds=float(
            answer.get("BillableTimeInSeconds") or answer.get("TrainingTimeInSeconds") or _seconds(state)
        ),
        settings={name: str(value) for name, value in settings.items() if not name.startswith(ADDRESSES)},
        metrics={
            str(one["MetricName"]): float(one["Value"])
            for one in answer.get("FinalMetricDataList") or []
            if "MetricName" in one and isinstance(one.get("Value"), int | float)
        },
    )


def _evaluation(s3: Any, bucket: str, run_id: str) -> Evaluation | None:
    stored = read_json(s3, bucket, evaluation_key(run_id))
    if not isinstance(stored, dict):
        return None
    settings = dict(stored.get("settings") or {})
    curve = settings.pop("curve", [])
    return Evaluation(
        passed=bool(stored.get("passed")),
        failures=[str(one) for one in stored.get("failures") or []],
        override_reason=str(stored.get("override_reason") or ""),
        model_version=str(stored.get("model_version", "")),
        metrics={
            str(model): {name: value for name, value in figures.items() if isinstance(value, int | float)}
            for model, figures in (stored.get("metrics") or {}).items()
            if isinstance(figures, dict)
        },
        checks=msgspec.convert(stored.get("checks") or [], list[Check]),
        settings=settings,
        curve=msgspec.convert(curve, list[Epoch]),
    )


def _published(by_name: dict[str, State]) -> Published | None:
    names = ("endpoint_name", "endpoint_config_name", "model_name", "model_data_uri")
    release = _output(by_name, "Promote", names) or _output(by_name, "Publish", names)
    if release is None:
        return None
    proof = _output(by_name, "Prove", ("overlap",))
    return Published(
        endpoint=str(release.get("endpoint_name", "")),
        config=str(release.get("endpoint_config_name", "")),
        model_name=str(release.get("model_name", "")),
        model_data_uri=str(release.get("model_data_uri", "")),
        overlap=float(proof["overlap"]) if proof and "overlap" in proof else None,
    )
