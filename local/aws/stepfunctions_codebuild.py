"""Step Functions' optimized integration of CodeBuild: `startBuild`, with or without `.sync`.

A `.sync` task polls its build in memory. It stops the build when the task times out or the execution is stopped.
"""

from __future__ import annotations

import time
from typing import Any

import botocore.session

from local.aws import codebuild, nested
from local.aws.stepfunctions_jobs import JobTask, milliseconds

_POLL_S = 0.2
_NAMED_ERRORS = (
    *("AccountLimitExceededException", "AccountSuspendedException", "InvalidInputException"),
    "ResourceNotFoundException",
)


class CodeBuildTask(JobTask):
    """A task with the resource `arn:aws:states:::codebuild:startBuild`."""

    service = "codebuild"
    error_prefix = "CodeBuild"
    other_errors = "AWSCodeBuildException"
    named_errors = {name: name for name in _NAMED_ERRORS}  # noqa: RUF012  # never changed

    def _get_supported_parameters(self) -> set[str] | None:
        if self.resource.api_action != "startBuild":
            return None
        model = botocore.session.get_session().get_service_model("codebuild")
        return {_pascal_case(name) for name in model.operation_model("StartBuild").input_shape.members}

    def _eval_service_task(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        client = self.client(resource_runtime_part, state_credentials)
        # ASL has the parameters in PascalCase, the API of CodeBuild in camelCase.
        response = client.start_build(**nested.mapped(normalised_parameters, key=_camel_case))
        env.stack.append(_as_result(response["build"]))

    def _eval_integration_pattern(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        # moto's own version needs a callback endpoint, which only services with .waitForTaskToken have.
        build_id = env.stack.pop()["Build"]["Id"]
        client = self.client(resource_runtime_part, state_credentials)
        while not codebuild.backend().batch_get_builds([build_id])[0]["buildComplete"]:
            if not env.is_running():
                client.stop_build(id=build_id)
                return
            time.sleep(_POLL_S)
        result = _as_result(client.batch_get_builds(ids=[build_id])["builds"][0])
        if result["Build"]["BuildStatus"] != "SUCCEEDED":
            raise self.job_failed(env, result)
        env.stack.append(result)


def _as_result(build: dict[str, Any]) -> dict[str, Any]:
    return {"Build": nested.mapped(build, milliseconds, _pascal_case)}


def _camel_case(name: str) -> str:
    return name[:1].lower() + name[1:]


def _pascal_case(name: str) -> str:
    return name[:1].upper() + name[1:]
