"""State machines act under their role: every integration signs with it, and a role that lacks a permission is refused.

moto 5.2.5 calls other services with constant credentials.
"""

from __future__ import annotations

import re
from typing import Any

import boto3
from moto.stepfunctions.exceptions import AWSError
from moto.stepfunctions.models import StateMachine
from moto.stepfunctions.parser.asl.utils import boto_client
from moto.stepfunctions.parser.models import StepFunctionsParserBackend

from local.aws.authorization import documented, sessions
from local.aws.authorization.policies import Call
from local.aws.authorization.sessions import AccessDenied, CannotAssumeRole, Session
from local.aws.patching import patch_resource_type, replace_everywhere
from local.aws.settings import Settings

# The rules that Step Functions creates in EventBridge, to be notified of the end of a job.
_RULES = {
    "createTrainingJob": "StepFunctionsGetEventsForSageMakerTrainingJobsRule",
    "createProcessingJob": "StepFunctionsGetEventsForSageMakerProcessingJobsRule",
    "createHyperParameterTuningJob": "StepFunctionsGetEventsForSageMakerTuningJobsRule",
    "startBuild": "StepFunctionsGetEventForCodeBuildStartBuildRule",
    "startExecution": "StepFunctionsGetEventsForStepFunctionsExecutionRule",
}
_SYNC = re.compile(r"arn:aws:states:::(?:codebuild|sagemaker|states):(?P<action>\w+)\.sync")


class Refused(AWSError):
    """The role of a state machine cannot be assumed or lacks a permission."""

    TYPE = "AccessDeniedException"
    STATUS = 400


def install(settings: Settings) -> None:
    """Patch moto's clients and the creation of state machines."""
    original = boto_client.boto_client_for

    def boto_client_for(region: str, service: str, state_credentials: Any) -> Any:
        session = session_of(state_credentials.role_arn)
        config = original(region, service).meta.config
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=settings.url,
            aws_access_key_id=session.access_key,
            aws_secret_access_key=session.secret_key,
            aws_session_token=session.token,
            config=config,
        )

    replace_everywhere("boto_client_for", original, boto_client_for)
    _check_new_state_machines()
    patch_resource_type(StateMachine, before=_check_logging)


def session_of(role_arn: str) -> Session:
    """Return the session of a state machine's role.

    Raises:
        Refused: the role does not exist or does not trust Step Functions.
    """
    try:
        return sessions.assume(role_arn, "states.amazonaws.com", "StepFunctions")
    except CannotAssumeRole:
        raise Refused(
            "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to "
            f"assume the provided role {role_arn}."
        ) from None


def _check_new_state_machines() -> None:
    create, update = (
        StepFunctionsParserBackend.create_state_machine,
        StepFunctionsParserBackend.update_state_machine,
    )

    def create_state_machine(
        self: StepFunctionsParserBackend, name: str, definition: str, roleArn: str, *args: Any, **kwargs: Any
    ) -> Any:
        _require(roleArn, _end_of_jobs(definition), "create managed-rule")
        return create(self, name, definition, roleArn, *args, **kwargs)

    def update_state_machine(
        self: StepFunctionsParserBackend,
        arn: str,
        definition: str | None = None,
        role_arn: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        machine = self.describe_state_machine(arn)
        calls = _end_of_jobs(definition or machine.definition)
        _require(role_arn or machine.roleArn, calls, "create managed-rule")
        return update(self, arn, definition, role_arn, *args, **kwargs)

    StepFunctionsParserBackend.create_state_machine = create_state_machine
    StepFunctionsParserBackend.update_state_machine = update_state_machine


def _check_logging(properties: dict[str, Any]) -> None:
    # moto 5.2.5 ignores the LoggingConfiguration of a template.
    if properties.get("LoggingConfiguration", {}).get("Level", "OFF") != "OFF":
        _require(properties["RoleArn"], documented.log_delivery(), "access the Log Destination")


def _end_of_jobs(definition: str) -> list[Call]:
    actions = sorted({found["action"] for found in _SYNC.finditer(definition)} & _RULES.keys())
    return [call for action in actions for call in documented.end_of_job_rule(_RULES[action])]


def _require(role_arn: str, calls: list[Call], purpose: str) -> None:
    try:
        session_of(role_arn).require(*calls)
    except AccessDenied as error:
        raise Refused(f"The state machine IAM Role is not authorized to {purpose}. {error}") from error
