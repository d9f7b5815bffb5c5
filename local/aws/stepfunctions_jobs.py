"""The base of Step Functions' optimized integrations of jobs: their clients, their errors, and the failure of a job.

moto 5.2.5 lists CodeBuild and SageMaker as unsupported, and its integration of Step Functions itself fails.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any, ClassVar

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


class JobTask(StateTaskServiceCallback):
    """A task of a service with jobs, with or without `.sync`."""

    service: ClassVar[str]
    # Error names of AWS's Java SDK, which Step Functions reports: those with a name, and the one of all others.
    error_prefix: ClassVar[str]
    named_errors: ClassVar[Mapping[str, str]]
    other_errors: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(supported_integration_patterns={ResourceCondition.Sync})

    def client(self, part: Any, credentials: Any) -> Any:
        """Return a client that signs with the role of the state machine."""
        return boto_client_for(service=self.service, region=part.region, state_credentials=credentials)

    def job_failed(self, env: Any, described: dict[str, Any]) -> FailureEventException:
        """Return the failure of a task whose job failed; its cause is the description of the job."""
        error = StatesErrorName(typ=StatesErrorNameType.StatesTaskFailed)
        return FailureEventException(self._failed(env, error, "States.TaskFailed", json.dumps(described)))

    def _from_error(self, env: Any, ex: Exception) -> FailureEvent:
        if not isinstance(ex, ClientError):
            return super()._from_error(env=env, ex=ex)
        code = ex.response["Error"]["Code"]
        error = f"{self.error_prefix}.{self.named_errors.get(code, self.other_errors)}"
        metadata = ex.response["ResponseMetadata"]
        cause = (
            f"{ex.response['Error']['Message']} (Service: {self.other_errors.removesuffix('Exception')}; Status Code: "
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


def install(tasks: Mapping[str, type[JobTask]]) -> None:
    """Add services to moto's interpreter."""
    original = state_task_service_factory.state_task_service_for

    def service_for(service_name: str) -> Any:
        return tasks[service_name]() if service_name in tasks else original(service_name)

    state_task_service_factory.state_task_service_for = service_for
    state_task_factory.state_task_service_for = service_for


def milliseconds(value: Any) -> Any:
    """Convert times to milliseconds since the epoch, as Step Functions returns them."""
    if isinstance(value, datetime.datetime):
        return int(value.timestamp() * 1000)
    return value
