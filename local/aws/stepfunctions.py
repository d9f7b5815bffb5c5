"""Step Functions with a log of executions: after a restart they are listed, and those that were running are ABORTED.

EventBridge gets an event when an execution starts and when it ends, which moto 5.2.5 does not send.

Other corrections of moto 5.2.5: it names an execution without a name "None", so that it refuses a second one. It does not check
names. A definite JSONPath such as $.a[0].b returns a list there.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from botocore.response import StreamingBody
from moto.core.config import default_user_config
from moto.core.responses import ActionResult
from moto.stepfunctions.exceptions import InvalidName
from moto.stepfunctions.models import StepFunctionBackend
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.component.state.exec.execute_state import ExecutionState
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_aws_sdk
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
    StateTaskServiceAwsSdk,
)
from moto.stepfunctions.parser.asl.utils import json_path
from moto.stepfunctions.parser.backend import execution as executions
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.responses import StepFunctionResponse
from moto.stepfunctions.utils import PAGINATION_MODEL
from moto.utilities.paginator import paginate

from local.aws import (
    jsonata_,
    nested,
    stepfunctions_jobs,
    stepfunctions_parsing,
    stepfunctions_redrive,
    stepfunctions_roles,
    stepfunctions_stops,
    stepfunctions_xray,
)
from local.aws.cloudwatch import store
from local.aws.patching import replace_everywhere
from local.aws.settings import Settings
from local.aws.stepfunctions_codebuild import CodeBuildTask
from local.aws.stepfunctions_executions import ExecutionTask
from local.aws.stepfunctions_sagemaker import SageMakerTask

_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")
_INDEFINITE = re.compile(r"\*|\.\.|\?|\[[^\]'\"]*[:,]")
_ABORTED = "The process that ran this execution ended. Start the execution again."


def install(settings: Settings) -> None:
    """Patch moto's interpreter."""
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    stepfunctions_parsing.install()
    stepfunctions_jobs.install(
        {"codebuild": CodeBuildTask, "sagemaker": SageMakerTask, "states": ExecutionTask}
    )
    stepfunctions_roles.install(settings)
    stepfunctions_stops.install()
    jsonata_.install()
    _select_single_values()
    _return_json_from_sdk_tasks()
    # moto 5.2.5 knows few services' names in errors: s3.NoSuchKeyException instead of S3.NoSuchKeyException.
    state_task_service_aws_sdk._SERVICE_ERROR_NAMES |= {"s3": "S3", "sagemaker": "SageMaker"}
    _leave_missing_causes_out()
    _keep_executions(ExecutionLog(settings.state / "stepfunctions" / "executions.jsonl"))
    _list_late(settings.listing_delay_s)
    stepfunctions_xray.install()


class ExecutionLog:
    """One line at the start and one at the end of every execution, and of every redrive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._earlier: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                if line.endswith("}"):  # the last line may be incomplete
                    record = json.loads(line)
                    self._earlier.setdefault(record["arn"], {}).update(record)

    def write(self, arn: str, **record: Any) -> None:
        """Append a line."""
        with self._lock, self.path.open("a") as file:
            file.write(json.dumps({"arn": arn, **record}, default=str) + "\n")

    def earlier(self, state_machine_arn: str) -> list[dict[str, Any]]:
        """Return the executions of this state machine by earlier processes, each only once."""
        found = [
            record
            for record in self._earlier.values()
            if record.get("state_machine_arn") == state_machine_arn
        ]
        for record in found:
            del self._earlier[record["arn"]]
        return found


def _keep_executions(log: ExecutionLog) -> None:
    start, create = (
        StepFunctionsParserBackend.start_execution,
        StepFunctionsParserBackend.create_state_machine,
    )
    terminated = executions.BaseExecutionWorkerCommunication.terminated

    def start_execution(
        self: StepFunctionsParserBackend,
        state_machine_arn: str,
        name: str | None = None,
        execution_input: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        name = name or str(uuid.uuid4())
        if not _NAME.fullmatch(name):
            raise InvalidName(f"Invalid Name: '{name}'")
        # Write before the start, because the execution could end first.
        arn = f"{state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
        known = any(e.exec_arn == arn for e in self.describe_state_machine(state_machine_arn).executions)
        if not known:
            log.write(
                arn,
                name=name,
                state_machine_arn=state_machine_arn,
                start=datetime.now(UTC).isoformat(),
                input=execution_input or "{}",
            )
        started = start(self, state_machine_arn, name, execution_input, *args, **kwargs)
        if not known:
            machine = self.describe_state_machine(state_machine_arn)
            _send_event(next(one for one in machine.executions if one.exec_arn == arn), "RUNNING")
        return started

    # moto 5.2.5 writes the status of an execution that ends before its error or output, and describes it meanwhile.
    ending = threading.Lock()

    def terminated_and_logged(self: executions.BaseExecutionWorkerCommunication) -> None:
        ended = self.execution
        with ending:
            terminated(self)
            if ended.exec_status == ExecutionStatus.SUCCEEDED:
                # moto 5.2.5 returns an output that is a string without JSON quotes.
                ended.output = json.dumps(ended.output)
        log.write(
            ended.exec_arn,
            status=ended.status,
            stop=ended.stop_date.isoformat(),
            output=ended.output,
            error=ended.error,
            cause=ended.cause,
        )
        _send_event(ended, ended.status)
        _count(ended)

    def create_state_machine(self: StepFunctionsParserBackend, *args: Any, **kwargs: Any) -> Any:
        machine = create(self, *args, **kwargs)
        for record in log.earlier(machine.arn):
            machine.executions.append(_restored(machine, self, record))
            if record.get("status") is None:
                log.write(record["arn"], status="ABORTED", stop=datetime.now(UTC).isoformat(), cause=_ABORTED)
        return machine

    def resumes(execution: executions.Execution) -> None:
        log.write(execution.exec_arn, status=None, redrives=execution.redrive_count)
        _send_event(execution, "RUNNING")

    stepfunctions_redrive.install(resumes)
    describe = StepFunctionResponse.describe_execution

    def describe_execution(self: StepFunctionResponse) -> ActionResult:
        with ending:
            return describe(self)

    StepFunctionResponse.describe_execution = describe_execution
    StepFunctionsParserBackend.start_execution = start_execution
    StepFunctionsParserBackend.create_state_machine = create_state_machine
    executions.BaseExecutionWorkerCommunication.terminated = terminated_and_logged


def _count(ended: executions.Execution) -> None:
    """Record the metrics of an execution that ended."""
    word = {"SUCCEEDED": "Succeeded", "FAILED": "Failed", "TIMED_OUT": "TimedOut", "ABORTED": "Aborted"}
    took_ms = (ended.stop_date - ended.start_date).total_seconds() * 1000
    values = {f"Executions{word[ended.status]}": 1, "ExecutionTime": round(took_ms)}
    store.record("AWS/States", values, StateMachineArn=ended.state_machine.arn)


def _send_event(execution: executions.Execution, status: str) -> None:
    """Send what Step Functions sends to EventBridge.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    from moto.events.models import events_backends

    ended = status != "RUNNING"
    redrives = stepfunctions_redrive.described(execution)
    redriven_at = redrives.get("redriveDate")
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": execution.account_id,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": execution.region_name,
        "resources": [execution.exec_arn],
        "detail": {
            "executionArn": execution.exec_arn,
            "stateMachineArn": execution.state_machine.arn,
            "name": execution.name,
            "status": status,
            "startDate": _milliseconds(execution.start_date),
            "stopDate": _milliseconds(execution.stop_date) if ended else None,
            "input": json.dumps(execution.input_data),
            "output": execution.output if status == "SUCCEEDED" else None,
            "redriveCount": redrives["redriveCount"],
            "redriveDate": _milliseconds(redriven_at) if redriven_at else None,
            "redriveStatus": redrives["redriveStatus"],
            "redriveStatusReason": redrives.get("redriveStatusReason"),
        },
    }
    for bus in events_backends[execution.account_id][execution.region_name].event_buses.values():
        for rule in list(bus.rules.values()):
            rule.send_to_targets(event)


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _restored(machine: Any, backend: Any, record: dict[str, Any]) -> executions.Execution:
    restored = executions.Execution(
        name=record["name"],
        sm_type=machine.sm_type,
        role_arn=machine.roleArn,
        exec_arn=record["arn"],
        account_id=backend.account_id,
        region_name=backend.region_name,
        state_machine=machine,
        start_date=datetime.fromisoformat(record["start"]),
        cloud_watch_logging_session=None,
        input_data=record["input"],
        activity_store={},
    )
    restored.exec_status = ExecutionStatus(record.get("status") or "ABORTED")
    restored.redrive_count = record.get("redrives", 0)
    stop = record.get("stop")
    restored.stop_date = datetime.fromisoformat(stop) if stop else datetime.now(UTC)
    restored.output = record.get("output")
    restored.error = record.get("error")
    restored.cause = record.get("cause") if record.get("status") else _ABORTED
    # Its history was lost with the process.
    restored.exec_worker = SimpleNamespace(env=None, stop=lambda **_: None)
    return restored


def _list_late(delay_s: float) -> None:
    """Omit the youngest executions from lists, because ListExecutions is eventually consistent.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html
    """
    original = StepFunctionBackend.list_executions
    listed = original.__wrapped__

    def list_executions(
        self: StepFunctionBackend, state_machine_arn: str, status_filter: str | None = None
    ) -> list[Any]:
        latest = datetime.now(UTC) - timedelta(seconds=delay_s)
        return [
            execution
            for execution in listed(self, state_machine_arn, status_filter)
            if execution.start_date <= latest
        ]

    StepFunctionBackend.list_executions = paginate(pagination_model=PAGINATION_MODEL)(list_executions)


def _select_single_values() -> None:
    original = json_path.extract_json

    def extract_json(path: str, data: Any) -> Any:
        value = original(path, data)
        if isinstance(value, list) and not _INDEFINITE.search(path):
            matches = json_path.parse(path).find(data)
            if len(matches) == 1:
                return matches[0].value
        return value

    replace_everywhere("extract_json", original, extract_json)


def _return_json_from_sdk_tasks() -> None:
    # moto 5.2.5 leaves streams and dates of botocore in the results of aws-sdk tasks, which cannot be copied.
    original = StateTaskServiceAwsSdk._eval_service_task

    def eval_service_task(
        self: StateTaskServiceAwsSdk,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        # ASL has parameters of all services in PascalCase. The API of Step Functions itself is in camelCase.
        is_own = self._get_boto_service_name() == "stepfunctions"
        parameters = normalised_parameters
        if is_own:
            parameters = {key[:1].lower() + key[1:]: value for key, value in normalised_parameters.items()}
        original(self, env, resource_runtime_part, parameters, state_credentials)
        env.stack[-1] = nested.mapped(env.stack[-1], _json, _pascal_case if is_own else nested.same)

    StateTaskServiceAwsSdk._eval_service_task = eval_service_task


def _leave_missing_causes_out() -> None:
    # A timeout has no cause. moto 5.2.5 gives a Catch an empty text instead, which hides expressions that need one.
    original = ExecutionState._construct_error_output_value

    def construct_error_output_value(failure_event: Any) -> Any:
        output = original(failure_event)
        return {key: value for key, value in output.items() if key != "Cause" or value}

    ExecutionState._construct_error_output_value = staticmethod(construct_error_output_value)


def _pascal_case(name: str) -> str:
    return name[:1].upper() + name[1:]


def _json(value: Any) -> Any:
    if isinstance(value, StreamingBody):
        return value.read().decode()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value
