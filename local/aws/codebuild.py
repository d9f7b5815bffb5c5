"""CodeBuild with real builds of sources from S3: of an image (local/aws/images.py), or of the commands of a buildspec.

moto 5.2.5 only records builds, reports each as successful, and does not support projects in CloudFormation templates.
A source with a Dockerfile has commands that need Docker, so they do not run here.
Their result does appear: an image, pushed to ECR as $IMAGE.
"""

from __future__ import annotations

import copy
import io
import threading
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from moto.codebuild import models
from moto.codebuild.exceptions import InvalidInputException
from moto.codebuild.responses import CodeBuildResponse
from moto.core.common_models import CloudFormationModel
from moto.core.utils import iso_8601_datetime_with_milliseconds
from moto.ecr.exceptions import ImageAlreadyExistsException

from local.aws import codebuild_commands, images, logs, nested, s3
from local.aws.authorization import documented, sessions
from local.aws.authorization.sessions import Session
from local.aws.ecr import Registry
from local.aws.sagemaker.requests import RequestFields
from local.aws.settings import ACCOUNT_ID, REGION, Settings

# The thread of a build changes it while requests read it.
_lock = threading.Lock()
_request_fields = RequestFields("environmentVariablesOverride")


@dataclass(frozen=True)
class _Running:
    """A build with what its thread needs."""

    settings: Settings
    registry: Registry
    session: Session
    build: dict[str, Any]
    log_file: Path
    stopped: threading.Event = field(default_factory=threading.Event)

    def log(self, line: str) -> None:
        """Append a line to the log of the build."""
        self.forward([line])
        with self.log_file.open("a") as file:
            file.write(line + "\n")

    def forward(self, lines: Sequence[str]) -> None:
        """Append lines to the log group only."""
        target = self.build["logs"]
        now_ms = int(time.time() * 1000)
        logs.append_events(self.session, target["groupName"], target["streamName"], lines, now_ms)


_running: dict[str, _Running] = {}


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
        source = _as_api(properties["Source"])
        if "buildSpec" in source:
            source["buildspec"] = source.pop("buildSpec")
        made = backend().create_project(
            project_name=resource_name,
            description=properties.get("Description"),
            project_source=source,
            artifacts=_as_api(properties["Artifacts"]),
            environment=_environment(properties["Environment"]),
            service_role=properties["ServiceRole"],
            tags=None,
            cache=None,
            timeout=int(properties.get("TimeoutInMinutes", 60)),
            queued_timeout=int(properties.get("QueuedTimeoutInMinutes", 480)),
            source_version=None,
            logs_config=_as_api(properties.get("LogsConfig", {})),
            vpc_config=None,
        )
        made["secondarySources"] = _as_api(properties.get("SecondarySources", []))
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
        log_file.parent.mkdir(parents=True, exist_ok=True)
        given = {item["name"]: item for item in project["environment"].get("environmentVariables", [])}
        given |= {item["name"]: item for item in _request_fields.get("environmentVariablesOverride") or []}
        build |= {
            "source": project["source"],
            "secondarySources": project.get("secondarySources", []),
            "environment": project["environment"] | {"environmentVariables": list(given.values())},
            "timeoutInMinutes": project["timeoutInMinutes"] or 60,
            "logs": {"groupName": group, "streamName": stream, "deepLink": str(log_file)},
        }
        running = _Running(settings, registry, _session(project["serviceRole"]), build, log_file)
        _running[build["id"]] = running
        started = copy.deepcopy(build)
        threading.Thread(target=_build, args=(running,), daemon=True).start()
        return started

    def batch_get_builds(self: models.CodeBuildBackend, ids: list[str]) -> list[dict[str, Any]]:
        with _lock:
            builds = [build for builds in self.build_metadata_history.values() for build in builds]
            return copy.deepcopy([build for build in builds if build["id"] in ids])

    def stop_build(self: models.CodeBuildBackend, build_id: str) -> dict[str, Any] | None:
        if build_id in _running:
            _running[build_id].stopped.set()
        return batch_get_builds(self, [build_id])[0]

    models.CodeBuildBackend.start_build = start_build
    models.CodeBuildBackend.batch_get_builds = batch_get_builds
    models.CodeBuildBackend.stop_build = stop_build
    CodeBuildResponse.start_build = _request_fields.around(CodeBuildResponse.start_build)


def _session(role_arn: str) -> Session:
    try:
        return sessions.assume(role_arn, "codebuild.amazonaws.com", "CodeBuild")
    except sessions.CannotAssumeRole as error:
        message = f"CodeBuild is not authorized to perform: sts:AssumeRole on {role_arn}"
        raise InvalidInputException(message) from error


def _build(running: _Running) -> None:
    build = running.build
    status, contexts = "FAILED", []
    try:
        _next_phase(build, "DOWNLOAD_SOURCE")
        archive = _source(running.session, build["source"]["location"])
        spec = _buildspec(build["source"], archive)
        _next_phase(build, "BUILD")
        if "Dockerfile" in archive.namelist():
            _build_image(running, archive)
            status = "SUCCEEDED"
        else:
            sources = {"": archive} | {
                source["sourceIdentifier"]: _source(running.session, source["location"])
                for source in build["secondarySources"]
            }
            status = _run_commands(running, spec, sources)
    except (
        codebuild_commands.CommandFailed,
        images.BuildFailed,
        sessions.AccessDenied,
        ImageAlreadyExistsException,
        LookupError,
        OSError,
        zipfile.BadZipFile,
    ) as error:
        running.log(f"error: {error}")
        contexts = [{"statusCode": "COMMAND_EXECUTION_ERROR", "message": str(error)}]
    finally:
        _next_phase(build, "COMPLETED", status, contexts)
        with _lock:
            build |= {
                "endTime": build["phases"][-1]["startTime"],
                "buildComplete": True,
                "buildStatus": status,
            }
        _running.pop(build["id"])


def _build_image(running: _Running, archive: zipfile.ZipFile) -> None:
    files = {entry.filename: archive.read(entry) for entry in archive.infolist() if not entry.is_dir()}
    address = _variables(running.build)["IMAGE"]
    image = images.build(files, running.log)
    running.session.require(*documented.image_push(address))
    running.registry.push(address, image)
    running.log(f"pushed {address}")


def _run_commands(running: _Running, spec: dict[str, Any], sources: dict[str, zipfile.ZipFile]) -> str:
    """Run the commands of a buildspec in the container of the project; return the status of the build."""
    environment = running.build["environment"]
    image = running.registry.find(environment["image"])
    if environment.get("imagePullCredentialsType") == "SERVICE_ROLE":
        running.session.require(*documented.image_pull(environment["image"]))
    ended = codebuild_commands.run(
        running.settings,
        running.session,
        running.build,
        spec,
        sources,
        _variables(running.build),
        image,
        running.log_file,
        running.stopped,
    )
    running.forward(ended.output.splitlines())
    return ended.status


def _variables(build: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in build["environment"]["environmentVariables"]}


def _next_phase(
    build: dict[str, Any], phase: str, status: str = "SUCCEEDED", contexts: Sequence[dict[str, str]] = ()
) -> None:
    """End the current phase with this status and start the next."""
    now = iso_8601_datetime_with_milliseconds()
    with _lock:
        build["phases"][-1] |= {"phaseStatus": status, "endTime": now, "contexts": list(contexts)}
        build["phases"].append({"phaseType": phase, "startTime": now})
        build["currentPhase"] = phase


def _source(session: Session, location: str) -> zipfile.ZipFile:
    """Return the zip of a source.

    Raises:
        BuildFailed: the zip is not in S3.
        AccessDenied: the role of the project may not read the zip.
    """
    bucket, _, key = location.partition("/")
    session.require(*documented.build_source(bucket, key))
    found = s3.backend().get_object(bucket, key)
    if found is None:
        raise images.BuildFailed(f"NoSuchKey: there is no {key} in {bucket}")
    return zipfile.ZipFile(io.BytesIO(found.value))


def _buildspec(source: dict[str, Any], archive: zipfile.ZipFile) -> dict[str, Any]:
    """Return the buildspec of the project, or else the file in its source.

    Raises:
        BuildFailed: there is none, or it has no phases.
    """
    text: str | bytes = source.get("buildspec") or ""
    if not text and "buildspec.yml" in archive.namelist():
        text = archive.read("buildspec.yml")
    spec = yaml.safe_load(text)
    if not isinstance(spec, dict) or not spec.get("phases"):
        raise images.BuildFailed("YAML_FILE_ERROR: buildspec.yml is missing or has no phases")
    return spec


def _as_api(value: Any) -> Any:
    """Convert names and values of CloudFormation to the API's: `PrivilegedMode: "true"` to `privilegedMode: True`."""
    return nested.mapped(value, nested.boolean, _api_name)


def _environment(given: dict[str, Any]) -> dict[str, Any]:
    """Convert an environment. The value of a variable stays a text, also "false"."""
    variables = nested.mapped(given.get("EnvironmentVariables", []), key=_api_name)
    return {**_as_api(given), "environmentVariables": variables}


def _api_name(name: str) -> str:
    return name[0].lower() + name[1:]
