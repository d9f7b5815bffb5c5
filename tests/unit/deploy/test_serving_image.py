"""The serving image: tagged by its content, built once, and the message of a build that fails."""

import json
import re
import shutil
import time
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import requires
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from packaging.requirements import Requirement

from deploy import lock, serving_image
from deploy.stages import read_stage

LOCAL = read_stage("local")
NAME = serving_image.repository(LOCAL)
BUCKET = LOCAL.models_bucket(LOCAL.account_id)
REPOSITORY = Path(__file__).resolve().parents[3]
GROUP, STREAM = f"/aws/codebuild/{NAME}", "1"


class CodeBuild:
    """Builds that end at the third look, and push their image unless they fail."""

    def __init__(self, status: str = "SUCCEEDED", pushes: bool = True) -> None:
        self.status, self.pushes = status, pushes
        self.started: list[str] = []
        self._phases = iter(["DOWNLOAD_SOURCE", "BUILD"])

    def start_build(self, projectName: str) -> dict[str, Any]:
        self.started.append(projectName)
        return {"build": self._build(buildStatus="IN_PROGRESS", currentPhase="SUBMITTED")}

    def batch_get_builds(self, ids: list[str]) -> dict[str, Any]:
        assert ids == [f"{NAME}:1"]
        phase = next(self._phases, None)
        if phase:
            return {"builds": [self._build(buildStatus="IN_PROGRESS", currentPhase=phase)]}
        if self.pushes:
            push()
        failed = {"phaseType": "BUILD", "phaseStatus": "FAILED", "contexts": [{"message": "exit status 1"}]}
        done = {"phaseType": "QUEUED", "phaseStatus": "SUCCEEDED", "contexts": [{"message": ""}]}
        return {
            "builds": [
                self._build(buildStatus=self.status, phases=[done, failed, {"phaseType": "COMPLETED"}])
            ]
        }

    def _build(self, **about: Any) -> dict[str, Any]:
        logs = {"groupName": GROUP, "streamName": STREAM, "deepLink": "https://console/log"}
        return {"id": f"{NAME}:1", "logs": logs, **about}


class Session:
    """boto3's session with this CodeBuild."""

    def __init__(self, codebuild: CodeBuild) -> None:
        self.codebuild = codebuild

    def client(self, service: str) -> Any:
        return self.codebuild if service == "codebuild" else boto3.client(service)


def push() -> None:
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
    boto3.client("ecr").put_image(
        repositoryName=NAME, imageManifest=json.dumps(manifest), imageTag=serving_image.tag()
    )


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        boto3.client("ecr").create_repository(repositoryName=NAME, imageTagMutability="IMMUTABLE")
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield


def ensure(codebuild: CodeBuild) -> tuple[bool, list[str]]:
    said: list[str] = []
    return serving_image.ensure(LOCAL, BUCKET, Session(codebuild), said.append, poll_s=0), said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(serving_image.FOLDER, tmp_path / "serving_image")


def test_the_tag_depends_on_the_content_and_not_on_the_time(folder: Path) -> None:
    before = serving_image.tag()
    for path in folder.iterdir():
        path.touch()
        path.chmod(0o600)
    assert serving_image.tag(folder) == before
    (folder / "requirements.txt").write_text("numpy==1.0\n")
    assert serving_image.tag(folder) != before


def test_the_address_contains_account_region_stage_and_content() -> None:
    tag = serving_image.tag()
    assert serving_image.address(LOCAL, "210987654321") == (
        f"210987654321.dkr.ecr.us-east-1.amazonaws.com/tugboat-local-serving:{tag}"
    )


def test_an_image_is_built_once_from_the_uploaded_folder() -> None:
    codebuild = CodeBuild()
    built, said = ensure(codebuild)
    assert built
    assert codebuild.started == [NAME]
    assert [line.split(",")[0] for line in said[1:]] == [
        "  serving image: submitted",
        "  serving image: download source",
        "  serving image: build",
    ]
    stored = boto3.client("s3").get_object(Bucket=BUCKET, Key=serving_image.source_key())["Body"].read()
    with zipfile.ZipFile(BytesIO(stored)) as archive:
        assert set(archive.namelist()) == {"Dockerfile", "buildspec.yml", "requirements.txt", "serve"}
    assert ensure(codebuild) == (False, [])
    assert codebuild.started == [NAME]


@pytest.mark.parametrize("status", ["FAILED", "FAULT", "STOPPED", "TIMED_OUT"])
def test_a_failed_build_is_reported_with_its_log_and_the_next_step(status: str) -> None:
    logs = boto3.client("logs")
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName=STREAM)
    now_ms = int(time.time() * 1000)
    events = [{"timestamp": now_ms + n, "message": f"line {n}\n"} for n in range(30)]
    logs.put_log_events(logGroupName=GROUP, logStreamName=STREAM, logEvents=events)
    with pytest.raises(serving_image.ImageError) as failure:
        ensure(CodeBuild(status, pushes=False))
    message = str(failure.value)
    assert f"ended as {status}" in message
    assert "BUILD: exit status 1" in message
    assert "  line 29" in message
    assert "line 5\n" not in message, "the end of the log, not all of it"
    assert "https://console/log" in message
    assert message.endswith("just deploy again")


def test_a_failed_build_is_reported_even_if_its_log_cannot_be_read() -> None:
    with pytest.raises(serving_image.ImageError, match="https://console/log"):
        ensure(CodeBuild("FAILED", pushes=False))


def test_a_build_is_no_failure_if_another_one_pushed_the_same_image_first() -> None:
    assert ensure(CodeBuild("FAILED", pushes=True))[0]


def with_dependencies(requirements: list[str]) -> set[str]:
    """Return the names of these packages, and of all that they need here."""
    found: set[str] = set()
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found |= {requirement.name, *with_dependencies(requires(requirement.name) or [])}
    return found


def test_the_image_has_the_server_s_tested_packages_each_with_its_hashes() -> None:
    listed = lock.pins((serving_image.FOLDER / "requirements.txt").read_text())
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert listed.keys() == with_dependencies(["numpy", *extras["serve"]])
    locked = lock.pins((REPOSITORY / "requirements.lock").read_text())
    for name, pin in listed.items():
        assert pin.hashes
        assert (pin.version, pin.hashes) == (locked[name].version, locked[name].hashes)


def test_the_build_pushes_its_image_in_the_only_format_that_sagemaker_accepts() -> None:
    spec = yaml.safe_load((serving_image.FOLDER / "buildspec.yml").read_text())
    build, pushed = spec["phases"]["build"]["commands"]
    assert {"--provenance=false", "--output type=docker", "--platform linux/amd64"} <= {
        option for option in re.findall(r"--\w+[= ][\w=/]+", build)
    }
    assert pushed == 'docker push "$IMAGE"'
