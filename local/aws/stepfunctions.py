"""Step Functions that survive a restart in what they tell: executions are written down; those that were running are ABORTED.

Also fixed in moto 5.2.5: an execution without a name is called "None" (so a second one is refused), names are not checked,
and a definite JSONPath such as $.a[0].b gives a list.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from botocore.response import StreamingBody
from moto.core.config import default_user_config
from moto.stepfunctions.exceptions import InvalidName
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
    StateTaskServiceAwsSdk,
)
from moto.stepfunctions.parser.asl.utils import json_path
from moto.stepfunctions.parser.backend import execution as executions
from moto.stepfunctions.parser.models import StepFunctionsParserBackend

from local.aws import jsonata_, stepfunctions_sagemaker, stepfunctions_xray
from local.aws.patching import replace_everywhere
from local.aws.settings import Settings

_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")
_INDEFINITE = re.compile(r"\*|\.\.|\?|\[[^\]'\"]*[:,]")
_ABORTED = "The process that ran this execution ended. Start the pipeline again."


def install(settings: Settings) -> None:
    """Patches moto's interpreter."""
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    stepfunctions_sagemaker.install()
    jsonata_.install()
    _select_single_values()
    _give_json_of_the_sdk()
    _keep_executions(Journal(settings.state / "stepfunctions" / "executions.jsonl"))
    stepfunctions_xray.install()


class Journal:
    """A line when an execution starts and one when it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._earlier: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                if line.endswith("}"):  # the last line may be cut short
                    about = json.loads(line)
                    self._earlier.setdefault(about["arn"], {}).update(about)

    def write(self, arn: str, **about: Any) -> None:
        with self._lock, self.path.open("a") as file:
            file.write(json.dumps({"arn": arn, **about}, default=str) + "\n")

    def earlier(self, state_machine_arn: str) -> list[dict[str, Any]]:
        """What earlier processes ran of this state machine; each is given once."""
        found = [
            about for about in self._earlier.values() if about.get("state_machine_arn") == state_machine_arn
        ]
        for about in found:
            del self._earlier[about["arn"]]
        return found


def _keep_executions(journal: Journal) -> None:
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
        # Written before it starts: it could end first.
        arn = f"{state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
        known = any(e.exec_arn == arn for e in self.describe_state_machine(state_machine_arn).executions)
        if not known:
            journal.write(
                arn,
                name=name,
                state_machine_arn=state_machine_arn,
                start=datetime.now(UTC).isoformat(),
                input=execution_input or "{}",
            )
        return start(self, state_machine_arn, name, execution_input, *args, **kwargs)

    def tell(self: executions.BaseExecutionWorkerCommunication) -> None:
        terminated(self)
        ended = self.execution
        if ended.exec_status == ExecutionStatus.SUCCEEDED:
            # moto 5.2.5 gives an output that is a text as that text, not as JSON.
            ended.output = json.dumps(ended.output)
        journal.write(
            ended.exec_arn,
            status=ended.status,
            stop=ended.stop_date.isoformat(),
            output=ended.output,
            error=ended.error,
            cause=ended.cause,
        )

    def create_state_machine(self: StepFunctionsParserBackend, *args: Any, **kwargs: Any) -> Any:
        machine = create(self, *args, **kwargs)
        for about in journal.earlier(machine.arn):
            machine.executions.append(_restored(machine, self, about))
            if "status" not in about:
                journal.write(
                    about["arn"], status="ABORTED", stop=datetime.now(UTC).isoformat(), cause=_ABORTED
                )
        return machine

    StepFunctionsParserBackend.start_execution = start_execution
    StepFunctionsParserBackend.create_state_machine = create_state_machine
    executions.BaseExecutionWorkerCommunication.terminated = tell


def _restored(machine: Any, backend: Any, about: dict[str, Any]) -> executions.Execution:
    restored = executions.Execution(
        name=about["name"],
        sm_type=machine.sm_type,
        role_arn=machine.roleArn,
        exec_arn=about["arn"],
        account_id=backend.account_id,
        region_name=backend.region_name,
        state_machine=machine,
        start_date=datetime.fromisoformat(about["start"]),
        cloud_watch_logging_session=None,
        input_data=about["input"],
        activity_store={},
    )
    restored.exec_status = ExecutionStatus(about.get("status", "ABORTED"))
    stop = about.get("stop")
    restored.stop_date = datetime.fromisoformat(stop) if stop else datetime.now(UTC)
    restored.output = about.get("output")
    restored.error = about.get("error")
    restored.cause = about.get("cause") if "status" in about else _ABORTED
    # Its history is gone with the process.
    restored.exec_worker = SimpleNamespace(env=None, stop=lambda **_: None)
    return restored


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


def _give_json_of_the_sdk() -> None:
    # moto 5.2.5 leaves botocore's streams and dates in the result of aws-sdk tasks, which then cannot be copied.
    original = StateTaskServiceAwsSdk._eval_service_task

    def eval_service_task(
        self: StateTaskServiceAwsSdk,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        # ASL writes every service's parameters in PascalCase; of the services used here, Step Functions' own API does not.
        is_own = self._get_boto_service_name() == "stepfunctions"
        parameters = (
            {key[:1].lower() + key[1:]: value for key, value in normalised_parameters.items()}
            if is_own
            else normalised_parameters
        )
        original(self, env, resource_runtime_part, parameters, state_credentials)
        result = _json(env.stack[-1])
        env.stack[-1] = _pascal_case(result) if is_own else result

    StateTaskServiceAwsSdk._eval_service_task = eval_service_task


def _pascal_case(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[:1].upper() + key[1:]: _pascal_case(item) for key, item in value.items()}
    return [_pascal_case(item) for item in value] if isinstance(value, list) else value


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, StreamingBody):
        return value.read().decode()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value
