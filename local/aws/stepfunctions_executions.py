"""Step Functions' optimized integration of itself: `startExecution`, with or without `.sync` and `.sync:2`.

moto 5.2.5 passes the parameters in PascalCase to an API in camelCase, so every start fails. It never stops an inner execution.
A `.sync` task polls its execution in memory. It stops the execution when the task times out or its own execution is stopped.
https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html
"""

from __future__ import annotations

import json
import time
from typing import Any

from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceCondition

from local.aws import nested
from local.aws.stepfunctions_jobs import JobTask, milliseconds

_POLL_S = 0.2
_NAMED_ERRORS = (
    *(
        "ExecutionAlreadyExists",
        "ExecutionLimitExceeded",
        "InvalidArn",
        "InvalidExecutionInput",
        "InvalidName",
    ),
    *("StateMachineDeleting", "StateMachineDoesNotExist"),
)


class ExecutionTask(JobTask):
    """A task with the resource `arn:aws:states:::states:startExecution`."""

    service = "stepfunctions"
    error_prefix = "StepFunctions"
    other_errors = "AWSStepFunctionsException"
    named_errors = {name: f"{name}Exception" for name in _NAMED_ERRORS}  # noqa: RUF012  # never changed

    def __init__(self) -> None:
        super().__init__()
        self._supported_integration_patterns = {ResourceCondition.Sync, ResourceCondition.Sync2}

    def _get_supported_parameters(self) -> set[str] | None:
        return {"Input", "Name", "StateMachineArn"} if self.resource.api_action == "startExecution" else None

    def _eval_service_task(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        client = self.client(resource_runtime_part, state_credentials)
        wanted = {name[:1].lower() + name[1:]: value for name, value in normalised_parameters.items()}
        if not isinstance(wanted.get("input", "{}"), str):
            wanted["input"] = json.dumps(wanted["input"])
        response = client.start_execution(**wanted)
        response.pop("ResponseMetadata", None)
        env.stack.append(nested.mapped(response, milliseconds, _pascal_case))

    def _eval_integration_pattern(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        # moto's own version needs a callback endpoint, which only services with .waitForTaskToken have.
        arn = env.stack.pop()["ExecutionArn"]
        client = self.client(resource_runtime_part, state_credentials)
        while (described := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
            if not env.is_running():
                client.stop_execution(executionArn=arn)
                return
            time.sleep(_POLL_S)
        described.pop("ResponseMetadata", None)
        texts = {name: described.pop(name) for name in ("input", "output") if name in described}
        if self.resource.condition == ResourceCondition.Sync2:
            texts = {name: json.loads(text) for name, text in texts.items()}
        # Only the names of DescribeExecution change: an execution's own input and output stay as they are.
        result = nested.mapped(described, milliseconds, _pascal_case) | {
            _pascal_case(name): value for name, value in texts.items()
        }
        if result["Status"] != "SUCCEEDED":
            raise self.job_failed(env, result)
        env.stack.append(result)


def _pascal_case(name: str) -> str:
    return name[:1].upper() + name[1:]
