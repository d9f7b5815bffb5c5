"""Step Functions' optimized integrations of SageMaker, including `.sync`; moto 5.2.5 lists SageMaker as unsupported.

A `.sync` task polls the status of its job in memory. It stops the job when the task times out or the execution is stopped.
"""

from __future__ import annotations

import datetime
import functools
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

from local.aws import nested
from local.aws.sagemaker.resources import backend

_POLL_S = 0.5
# Step Functions tags the jobs that it waits for, which needs sagemaker:AddTags: https://github.com/aws/aws-cdk/issues/27264
_MANAGED = {"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"}


class _Job(NamedTuple):
    """API calls and fields of one kind of job; `container` is moto's attribute with all jobs of the kind."""

    name: str
    describe: str
    stop: str
    container: str
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
# Error names of AWS's Java SDK, which Step Functions reports. All other errors are AmazonSageMakerException.
_NAMED_ERRORS = {
    "ConflictException": "ConflictException",
    "ResourceInUse": "ResourceInUseException",
    "ResourceLimitExceeded": "ResourceLimitExceededException",
    "ResourceNotFound": "ResourceNotFoundException",
}


def install() -> None:
    """Add the service to moto's interpreter."""
    original = state_task_service_factory.state_task_service_for

    def service_for(service_name: str) -> Any:
        return SageMakerTask() if service_name == "sagemaker" else original(service_name)

    state_task_service_factory.state_task_service_for = service_for
    state_task_factory.state_task_service_for = service_for


@functools.cache
def _service_model() -> Any:
    """Return SageMaker's API. Each execution validates each of its tasks, and reading the description takes 0.2 s."""
    return botocore.session.get_session().get_service_model("sagemaker")


class SageMakerTask(StateTaskServiceCallback):
    """A task with the resource `arn:aws:states:::sagemaker:<action>`, with or without `.sync`."""

    def __init__(self) -> None:
        super().__init__(supported_integration_patterns={ResourceCondition.Sync})

    def _get_supported_parameters(self) -> set[str] | None:
        action = self.resource.api_action[:1].upper() + self.resource.api_action[1:]
        model = _service_model()
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
        parameters = _parameters(normalised_parameters)
        if self.resource.condition is not None:
            parameters = {**parameters, "Tags": [*parameters.get("Tags", []), _MANAGED]}
        response = getattr(client, self._get_boto_service_action())(**parameters)
        response.pop("ResponseMetadata", None)
        env.stack.append(nested.mapped(response, _milliseconds))

    def _eval_integration_pattern(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        # moto's own version needs a callback endpoint, which only services with .waitForTaskToken have.
        env.stack.pop()
        job = _JOBS[self._get_boto_service_action()]
        client = self._client(resource_runtime_part, state_credentials)
        name = normalised_parameters[job.name]
        attribute = _snake(job.status)
        while getattr(getattr(backend(), job.container)[name], attribute) in ("InProgress", "Stopping"):
            if not env.is_running():
                getattr(client, job.stop)(**{job.name: name})
                return
            time.sleep(_POLL_S)
        described = getattr(client, job.describe)(**{job.name: name})
        described.pop("ResponseMetadata", None)
        described = nested.mapped(described, _milliseconds)
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


def _parameters(arguments: dict[str, Any]) -> dict[str, Any]:
    """Convert Tags from an object, which Step Functions accepts too, to a list."""
    if isinstance(arguments.get("Tags"), dict):
        tags = [{"Key": key, "Value": value} for key, value in arguments["Tags"].items()]
        return {**arguments, "Tags": tags}
    return arguments


def _milliseconds(value: Any) -> Any:
    """Convert times to milliseconds since the epoch, as Step Functions returns them."""
    if isinstance(value, datetime.datetime):
        return int(value.timestamp() * 1000)
    return value


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
