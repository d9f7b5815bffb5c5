"""The container that serves the model: tagged with the hash of its source, and built by CodeBuild if ECR lacks the tag."""

import hashlib
import io
import time
import zipfile
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from deploy.command import DeployError, Say
from deploy.stages import Stage
from functions.platform.contract import CODE_PREFIX

FOLDER = Path(__file__).resolve().parent.parent / "training_jobs" / "serving_image"
POLL_S = 5.0
LOG_LINES = 20


class ImageError(DeployError):
    """The image could not be built. The message ends with the next step."""


def source(folder: Path = FOLDER) -> bytes:
    """Return the folder as a zip.

    The same files give the same bytes: sorted, uncompressed, with a fixed time and mode.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(path.name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, path.read_bytes())
    return packed.getvalue()


def tag(folder: Path = FOLDER) -> str:
    """Return the hash of the source, which is the image's tag."""
    return hashlib.sha256(source(folder)).hexdigest()[:16]


def source_key() -> str:
    """Return the key in the models bucket under which the CodeBuild project reads the source."""
    return f"{CODE_PREFIX}serving-image-{tag()}.zip"


def repository(stage: Stage) -> str:
    """Return the name of the ECR repository, which is also the name of the CodeBuild project."""
    return f"{stage.prefix}-serving"


def address(stage: Stage, account_id: str) -> str:
    """Return the address of the image. It is known before the image is built."""
    return f"{account_id}.dkr.ecr.{stage.region}.amazonaws.com/{repository(stage)}:{tag()}"


def ensure(stage: Stage, bucket: str, session: Any, say: Say, poll_s: float = POLL_S) -> bool:
    """Build the image if ECR lacks it, and wait for the build.

    Returns:
        False if the image existed.

    Raises:
        ImageError: the build failed.
    """
    ecr, codebuild = session.client("ecr"), session.client("codebuild")
    name, image_tag = repository(stage), tag()
    if _exists(ecr, name, image_tag):
        return False
    session.client("s3").put_object(Bucket=bucket, Key=source_key(), Body=source())
    say(f"building serving image {image_tag}, two to three minutes on AWS")
    build = _finish(codebuild.start_build(projectName=name)["build"], codebuild, say, poll_s)
    # Tags are immutable: of two simultaneous deployments, one finds its tag taken, by the same image.
    if build["buildStatus"] != "SUCCEEDED" and not _exists(ecr, name, image_tag):
        raise ImageError(_failure(build, session.client("logs")))
    return True


def _exists(ecr: Any, name: str, image_tag: str) -> bool:
    try:
        ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": image_tag}])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ImageNotFoundException":
            return False
        raise
    return True


def _finish(build: dict[str, Any], codebuild: Any, say: Say, poll_s: float) -> dict[str, Any]:
    """Wait for the end of a build and return it. The project's time limit ends a build that hangs."""
    started, phase = time.monotonic(), ""
    while build["buildStatus"] == "IN_PROGRESS":
        if build.get("currentPhase", phase) != phase:
            phase = build["currentPhase"]
            say(f"  serving image: {phase.lower().replace('_', ' ')}, {time.monotonic() - started:.0f} s")
        time.sleep(poll_s)
        build = codebuild.batch_get_builds(ids=[build["id"]])["builds"][0]
    return build


def _failure(build: dict[str, Any], logs: Any) -> str:
    reasons = [
        f"  {phase['phaseType']}: {context['message']}"
        for phase in build.get("phases", [])
        if phase.get("phaseStatus") not in (None, "SUCCEEDED")
        for context in phase.get("contexts", [])
        if context.get("message")
    ]
    log = build.get("logs", {})
    lines = _last_lines(log, logs)
    return "\n".join(
        [
            f"the serving image could not be built: build {build['id']} ended as {build['buildStatus']}",
            *reasons,
            *(["The end of its log:", *(f"  {line}" for line in lines)] if lines else []),
            f"The whole log: {log.get('deepLink', 'the project in the CodeBuild console')}",
            "Fix training_jobs/serving_image, then deploy again. After a failure on AWS's side, just deploy again",
        ]
    )


def _last_lines(log: dict[str, Any], logs: Any) -> list[str]:
    if not log.get("streamName"):
        return []
    try:
        events = logs.get_log_events(
            logGroupName=log["groupName"],
            logStreamName=log["streamName"],
            limit=LOG_LINES,
            startFromHead=False,
        )["events"]
    except ClientError:
        return []  # The message is complete enough without the log.
    return [event["message"].rstrip() for event in events]
