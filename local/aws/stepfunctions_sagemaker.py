"""Step Functions' optimised SageMaker integrations, `.sync` among them; moto 5.2.5 lists SageMaker as unsupported.

A `.sync` task waits in memory for the job's status; it stops the job when the task times out or the execution is stopped.
"""

from __future__ import annotations

import datetime
import json
import time
from typing import Any, NamedTuple

import botocore.session
from botocore.exceptions import ClientError
from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import (
    StatesErrorNameType,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task import state_task_factory
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_factory
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceCondition
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback import (
    StateTaskServiceCallback,
)
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for

from local.aws.sagemaker.resources import backend

_LOOK_S = 0.5


class _Job(NamedTuple):
    """How one kind of job is described and stopped, and where moto holds it."""

    name: str
    describe: str
    stop: str
    held_in: str
    status: str


_JOBS = {
    "create_training_job": _Job(
        "TrainingJobName", "describe_training_job", "stop_training_job", "training_jobs", "TrainingJobStatus"
    ),
    "create_processing_job": _Job(
        *("ProcessingJobName", "describe_processing_job", "stop_processing_job"),
        *("processing_jobs", "ProcessingJobStatus"),
    ),
    "create_hyper_parameter_tuning_job": _Job(
        *("HyperParameterTuningJobName", "describe_hyper_parameter_tuning_job"),
        *("stop_hyper_parameter_tuning_job", "hyper_parameter_tuning_jobs", "HyperParameterTuningJobStatus"),
    ),
    "create_transform_job": _Job(
        *("TransformJobName", "describe_transform_job", "stop_transform_job"),
        *("transform_jobs", "TransformJobStatus"),
    ),
}
# The error names of AWS's Java SDK, which Step Functions shows; everything else is AmazonSageMakerException.
_NAMED_ERRORS = {
    "ConflictException": "ConflictException",
    "ResourceInUse": "ResourceInUseException",
    "ResourceLimitExceeded": "ResourceLimitExceededException",
    "ResourceNotFound": "ResourceNotFoundException",
}


def install() -> None:
    """Adds the service to moto's interpreter."""
    original = state_task_service_factory.state_task_service_for

    def service_for(service_name: str) -> Any:
        return SageMakerTask() if service_name == "sagemaker" else original(service_name)

    state_task_service_factory.state_task_service_for = service_for
    state_task_factory.state_task_service_for = service_for


class SageMakerTask(StateTaskServiceCallback):
    """`arn:aws:states:::sagemaker:<action>` and `.sync`."""

    def __init__(self) -> None:
        super().__init__(supported_integration_patterns={ResourceCondition.Sync})

    def _get_supported_parameters(self) -> set[str] | None:
        action = self.resource.api_action[:1].upper() + self.resource.api_action[1:]
        model = botocore.session.get_session().get_service_model("sagemaker")
        if action not in model.operation_names or not action.startswith(("Create", "Update", "Add")):
            return None
        if self.resource.condition is not None and self._get_boto_service_action() not in _JOBS:
            return None
        return set(model.operation_model(action).input_shape.members)

    def _eval_service_task(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        client = self._client(resource_runtime_part, state_credentials)
        response = getattr(client, self._get_boto_service_action())(**_parameters(normalised_parameters))
        response.pop("ResponseMetadata", None)
        env.stack.append(_plain(response))

    def _eval_integration_pattern(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        # moto's own version needs the callback endpoint that only .waitForTaskToken services have.
        env.stack.pop()
        job = _JOBS[self._get_boto_service_action()]
        client = self._client(resource_runtime_part, state_credentials)
        name = normalised_parameters[job.name]
        attribute = _snake(job.status)
        while getattr(getattr(backend(), job.held_in)[name], attribute) in ("InProgress", "Stopping"):
            if not env.is_running():
                getattr(client, job.stop)(**{job.name: name})
                return
            time.sleep(_LOOK_S)
        described = getattr(client, job.describe)(**{job.name: name})
        described.pop("ResponseMetadata", None)
        described = _plain(described)
        if described[job.status] == "Failed":
            error = StatesErrorName(typ=StatesErrorNameType.StatesTaskFailed)
            raise FailureEventException(self._failed(env, error, "States.TaskFailed", json.dumps(described)))
        env.stack.append(described)

    def _client(self, part: Any, credentials: Any) -> Any:
        return boto_client_for(service="sagemaker", region=part.region, state_credentials=credentials)

    def _from_error(self, env: Any, ex: Exception) -> FailureEvent:
        if not isinstance(ex, ClientError):
            return super()._from_error(env=env, ex=ex)
        code = ex.response["Error"]["Code"]
        error = f"SageMaker.{_NAMED_ERRORS.get(code, 'AmazonSageMakerException')}"
        metadata = ex.response["ResponseMetadata"]
        cause = (
            f"{ex.response['Error']['Message']} (Service: AmazonSageMaker; Status Code: "
            f"{metadata['HTTPStatusCode']}; Error Code: {code}; Request ID: {metadata.get('RequestId', '')})"
        )
        return self._failed(env, CustomErrorName(error), error, cause)

    def _failed(self, env: Any, name: Any, error: str, cause: str) -> FailureEvent:
        details = TaskFailedEventDetails(
            error=error,
            cause=cause,
            resource=self._get_sfn_resource(),
            resourceType=self._get_sfn_resource_type(),
        )
        return FailureEvent(
            env=env,
            error_name=name,
            event_type=HistoryEventType.TaskFailed,
            event_details=EventDetails(taskFailedEventDetails=details),
        )


def _parameters(given: dict[str, Any]) -> dict[str, Any]:
    """Step Functions takes Tags as an object too."""
    if isinstance(given.get("Tags"), dict):
        return {**given, "Tags": [{"Key": key, "Value": value} for key, value in given["Tags"].items()]}
    return given


def _plain(value: Any) -> Any:
    """JSON as Step Functions gives it: times are milliseconds since the epoch."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime.datetime):
        return int(value.timestamp() * 1000)
    return value


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
