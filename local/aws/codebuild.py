"""CodeBuild with real builds: it builds the source of a project from S3 into an image of local/aws/images.py.

moto 5.2.5 only records builds, reports each as successful, and does not support projects in CloudFormation templates.
The commands of buildspec.yml need Docker, so they do not run here. Their result does appear: an image, pushed to ECR as $IMAGE.
"""

from __future__ import annotations

import copy
import io
import threading
import time
import zipfile
from collections.abc import Sequence
from typing import Any

import yaml
from moto.codebuild import models
from moto.codebuild.exceptions import InvalidInputException
from moto.core.common_models import CloudFormationModel
from moto.core.utils import iso_8601_datetime_with_milliseconds
from moto.ecr.exceptions import ImageAlreadyExistsException

from local.aws import images, logs, nested, s3
from local.aws.authorization import documented, sessions
from local.aws.authorization.sessions import Session
from local.aws.ecr import Registry
from local.aws.settings import ACCOUNT_ID, REGION, Settings

# The thread of a build changes it while requests read it.
_lock = threading.Lock()


class Project(CloudFormationModel):
    """AWS::CodeBuild::Project, limited to the properties that builds here need."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def physical_resource_id(self) -> str:
        return self.name

    @staticmethod
    def cloudformation_name_type() -> str:
        return "Name"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::CodeBuild::Project"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, *_: Any, **__: Any
    ) -> Project:
        properties = cloudformation_json["Properties"]
        backend().create_project(
            project_name=resource_name,
            description=properties.get("Description"),
            project_source=_as_api(properties["Source"]),
            artifacts=_as_api(properties["Artifacts"]),
            environment=_as_api(properties["Environment"]),
            service_role=properties["ServiceRole"],
            tags=None,
            cache=None,
            timeout=properties.get("TimeoutInMinutes"),
            queued_timeout=properties.get("QueuedTimeoutInMinutes"),
            source_version=None,
            logs_config=_as_api(properties.get("LogsConfig", {})),
            vpc_config=None,
        )
        return cls(resource_name)

    @classmethod
    def update_from_cloudformation_json(
        cls, original_resource: Any, new_resource_name: str, cloudformation_json: Any, **_: Any
    ) -> Project:
        backend().delete_project(original_resource.name)
        return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json)

    @classmethod
    def delete_from_cloudformation_json(cls, resource_name: str, *_: Any, **__: Any) -> None:
        backend().delete_project(resource_name)


def backend() -> models.CodeBuildBackend:
    """Return moto's CodeBuild."""
    return models.codebuild_backends[ACCOUNT_ID][REGION]


def install(settings: Settings, registry: Registry) -> None:
    """Patch moto's builds."""
    start = models.CodeBuildBackend.start_build

    def start_build(self: models.CodeBuildBackend, project_name: str, *arguments: Any) -> dict[str, Any]:
        build: dict[str, Any] = start(self, project_name, *arguments)
        project = self.codebuild_projects[project_name].project_metadata
        group, stream = f"/aws/codebuild/{project_name}", build["id"].partition(":")[2]
        log_file = settings.logs / "builds" / f"{project_name}.log"
        build |= {
            "source": project["source"],
            "environment": project["environment"],
            "logs": {"groupName": group, "streamName": stream, "deepLink": str(log_file)},
        }
        log_file.parent.mkdir(parents=True, exist_ok=True)

        session = _session(project["serviceRole"])

        def log(line: str) -> None:
            logs.append_events(session, group, stream, [line], int(time.time() * 1000))
            with log_file.open("a") as file:
                file.write(line + "\n")

        started = copy.deepcopy(build)
        threading.Thread(target=_build, args=(build, session, registry, log), daemon=True).start()
        return started

    def batch_get_builds(self: models.CodeBuildBackend, ids: list[str]) -> list[dict[str, Any]]:
        with _lock:
            builds = [build for builds in self.build_metadata_history.values() for build in builds]
            return copy.deepcopy([build for build in builds if build["id"] in ids])

    models.CodeBuildBackend.start_build = start_build
    models.CodeBuildBackend.batch_get_builds = batch_get_builds


def _session(role_arn: str) -> Session:
    try:
        return sessions.assume(role_arn, "codebuild.amazonaws.com", "CodeBuild")
    except sessions.CannotAssumeRole as error:
        message = f"CodeBuild is not authorized to perform: sts:AssumeRole on {role_arn}"
        raise InvalidInputException(message) from error


def _build(build: dict[str, Any], session: Session, registry: Registry, log: images.Log) -> None:
    status, contexts = "FAILED", []
    try:
        _next_phase(build, "DOWNLOAD_SOURCE")
        files = _source(session, build["source"]["location"])
        _next_phase(build, "BUILD")
        variables = {item["name"]: item["value"] for item in build["environment"]["environmentVariables"]}
        image = images.build(files, log)
        session.require(*documented.image_push(variables["IMAGE"]))
        registry.push(variables["IMAGE"], image)
        log(f"pushed {variables['IMAGE']}")
        status = "SUCCEEDED"
    except (
        images.BuildFailed,
        sessions.AccessDenied,
        ImageAlreadyExistsException,
        LookupError,
        OSError,
        zipfile.BadZipFile,
    ) as error:
        log(f"error: {error}")
        contexts = [{"statusCode": "COMMAND_EXECUTION_ERROR", "message": str(error)}]
    finally:
        _next_phase(build, "COMPLETED", status, contexts)
        with _lock:
            build |= {
                "endTime": build["phases"][-1]["startTime"],
                "buildComplete": True,
                "buildStatus": status,
            }


def _next_phase(
    build: dict[str, Any], phase: str, status: str = "SUCCEEDED", contexts: Sequence[dict[str, str]] = ()
) -> None:
    """End the current phase with this status and start the next."""
    now = iso_8601_datetime_with_milliseconds()
    with _lock:
        build["phases"][-1] |= {"phaseStatus": status, "endTime": now, "contexts": list(contexts)}
        build["phases"].append({"phaseType": phase, "startTime": now})
        build["currentPhase"] = phase


def _source(session: Session, location: str) -> dict[str, bytes]:
    """Return the files of the source zip.

    Raises:
        BuildFailed: the zip is not in S3, or its buildspec has no phases.
        AccessDenied: the role of the project may not read the zip.
    """
    bucket, _, key = location.partition("/")
    session.require(*documented.build_source(bucket, key))
    found = s3.backend().get_object(bucket, key)
    if found is None:
        raise images.BuildFailed(f"NoSuchKey: there is no {key} in {bucket}")
    with zipfile.ZipFile(io.BytesIO(found.value)) as archive:
        files = {entry.filename: archive.read(entry) for entry in archive.infolist() if not entry.is_dir()}
    spec = yaml.safe_load(files.get("buildspec.yml", b""))
    if not isinstance(spec, dict) or not spec.get("phases"):
        raise images.BuildFailed("YAML_FILE_ERROR: buildspec.yml is missing or has no phases")
    return files


def _as_api(value: Any) -> Any:
    """Convert names and values of CloudFormation to the API's: `PrivilegedMode: "true"` to `privilegedMode: True`."""
    return nested.mapped(value, nested.boolean, lambda name: name[0].lower() + name[1:])
