"""The model that answered: its release, archive, training job, run, snapshot and reports; and its explanation."""

import json
import shutil
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from botocore.exceptions import ClientError

from deploy.explain.trace import ExplainError, Json
from functions.platform.contract import (
    ARCHIVE_CARD,
    ARCHIVE_FALLBACK,
    EVALUATIONS_PREFIX,
    EXPORTS_PREFIX,
    VALIDATION_REPORTS_PREFIX,
)
from functions.platform.releases import Release, read_record
from functions.platform.run_names import run_id_of
from functions.platform.s3_keys import evaluation_key, split_s3_uri

MISSING = frozenset({"404", "NoSuchKey", "NotFound", "ValidationException", "ResourceNotFound"})
EXPLAINER = "training_jobs/serving/explain.py"
TIMEOUT_S = 600


@dataclass
class Origin:
    """The origin of a model's answers. What no longer exists is None, and `gaps` says so with the next step."""

    model_version: str
    release: str
    archive_uri: str | None = None
    run_id: str | None = None
    published_at: str | None = None
    job: Json | None = None
    serving_image: str | None = None
    execution: Json | None = None
    snapshot: Json | None = None
    gate: Json | None = None
    validation_uri: str | None = None
    gaps: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Clients:
    """The clients that the origin of a model is read with."""

    s3: Any
    sagemaker: Any
    stepfunctions: Any


def release_at(clients: Clients, bucket: str, shop_id: str, issued_at_ms: int) -> str | None:
    """Return the version of the shop's release that was published last before an answer, if it is still on record."""
    record = read_record(clients.s3, bucket, shop_id)
    for release in (record.current, record.previous):
        if release and datetime.fromisoformat(release.published_at).timestamp() * 1000 <= issued_at_ms:
            return release.model_version
    return None


def origin_of(clients: Clients, bucket: str, shop_id: str, machine_arn: str, model_version: str) -> Origin:
    """Return where a model of a shop comes from. Every part that expired is left out and listed among the gaps."""
    record = read_record(clients.s3, bucket, shop_id)
    candidate = record.canary.release if record.canary else None
    releases = {"current": record.current, "canary": candidate, "previous": record.previous}
    found = next(
        ((name, one) for name, one in releases.items() if one and one.model_version == model_version), None
    )
    origin = Origin(model_version, found[0] if found else "not on record")
    origin.job = _job(clients.sagemaker, model_version)
    if found:
        _add_release(origin, found[1], clients.sagemaker)
    elif origin.job:
        origin.archive_uri = origin.job["archive_uri"]
    if origin.job is None:
        origin.gaps.append(
            f"SageMaker has no training job {model_version}, so image and code version are unknown. "
            "Models of make train have jobs of other names"
        )
    if origin.archive_uri and not _exists(clients.s3, origin.archive_uri):
        origin.gaps.append(
            f"{origin.archive_uri} is deleted: training outputs expire, and only the current and the previous release "
            "keep a copy. The items cannot be asked reproduction. For a later answer run make explain within "
            "that time"
        )
        origin.archive_uri = None
    elif not origin.archive_uri:
        origin.gaps.append("no archive of this model is known, so its items cannot be asked again")
    origin.run_id = origin.run_id or (origin.job or {}).get("run_id")
    if origin.run_id:
        _add_run(origin, clients, bucket, machine_arn)
    return origin


def _add_release(origin: Origin, release: Release, sagemaker: Any) -> None:
    origin.archive_uri, origin.run_id = release.model_data_uri, release.run_id
    origin.published_at = release.published_at
    model = _found(sagemaker.describe_model, ModelName=release.model_name)
    origin.serving_image = model["PrimaryContainer"]["Image"] if model else None


def _job(sagemaker: Any, name: str) -> Json | None:
    job = _found(sagemaker.describe_training_job, TrainingJobName=name)
    if job is None:
        return None
    settings = job.get("HyperParameters", {})
    channels = job.get("InputDataConfig", [])
    return {
        "name": name,
        "status": job["TrainingJobStatus"],
        "image": job["AlgorithmSpecification"].get("TrainingImage"),
        "code_uri": _unquoted(settings.get("sagemaker_submit_directory")),
        # The snapshot of a run has the run's id.
        "run_id": _unquoted(settings.get("snapshot_id")),
        "hyperparameters": {
            key: _unquoted(value) for key, value in settings.items() if not key.startswith("sagemaker_")
        },
        "inputs": {one["ChannelName"]: one["DataSource"]["S3DataSource"]["S3Uri"] for one in channels},
        "archive_uri": job.get("ModelArtifacts", {}).get("S3ModelArtifacts"),
        "created_at": str(job["CreationTime"]),
    }


def _unquoted(value: str | None) -> str | None:
    """Return a hyperparameter without the quotes of SageMaker's tools."""
    return value.strip('"') if value else value


def _add_run(origin: Origin, clients: Clients, bucket: str, machine_arn: str) -> None:
    run_id = str(origin.run_id)
    manifest_key = f"{EXPORTS_PREFIX}{run_id}/manifest.json"
    origin.snapshot = _json(clients.s3, bucket, manifest_key)
    if origin.snapshot is None:
        origin.gaps.append(
            f"s3://{bucket}/{manifest_key} is deleted: snapshots expire after exports_expire_days "
            "(deploy/stages.toml). make run writes a new one"
        )
    evaluation = _json(clients.s3, bucket, evaluation_key(run_id))
    if evaluation is None:
        origin.gaps.append(f"s3://{bucket}/{EVALUATIONS_PREFIX}{run_id}/ has no evaluation of the gate")
    else:
        origin.gate = {
            "passed": evaluation["passed"],
            "failures": evaluation.get("failures", []),
            "override_reason": evaluation.get("override_reason"),
            "checks": len(evaluation.get("checks", [])),
            "champion": evaluation.get("champion"),
            "report_uri": f"s3://{bucket}/{EVALUATIONS_PREFIX}{run_id}/evaluation.html",
        }
    report = f"s3://{bucket}/{VALIDATION_REPORTS_PREFIX}{run_id}.html"
    origin.validation_uri = report if _exists(clients.s3, report) else None
    origin.execution = _execution(clients.stepfunctions, machine_arn, run_id)
    if origin.execution is None:
        origin.gaps.append(
            f"Step Functions has no execution of run {run_id}: it keeps them for 90 days. "
            "The log group of the state machine may have it"
        )


def _execution(stepfunctions: Any, machine_arn: str, run_id: str) -> Json | None:
    """Return the execution of a run. Its id begins with the day of the start."""
    pages = stepfunctions.get_paginator("list_executions")
    try:
        for page in pages.paginate(stateMachineArn=machine_arn):  # newest first
            for one in page["executions"]:
                arn, started_at = str(one["executionArn"]), one["startDate"].astimezone(UTC)
                if run_id_of(arn, started_at) == run_id:
                    return {"arn": arn, "status": one["status"], "started_at": str(started_at)}
                if f"{started_at:%Y%m%d}" < run_id[:8]:
                    return None
    except ClientError as error:
        if error.response["Error"]["Code"] != "StateMachineDoesNotExist":
            raise
    return None


@contextmanager
def unpacked(s3: Any, archive_uri: str) -> Iterator[Path]:
    """Download an archive and unpack it into a folder that is deleted at the end.

    Raises:
        ExplainError: the archive cannot be unpacked.
    """
    bucket, key = split_s3_uri(archive_uri)
    with TemporaryDirectory(prefix="tugboat-explain-") as folder:
        packed = Path(folder) / "model.tar.gz"
        with packed.open("wb") as file:
            shutil.copyfileobj(s3.get_object(Bucket=bucket, Key=key)["Body"], file)
        archive = Path(folder) / "model"
        try:
            with tarfile.open(packed, "r:gz") as tar:
                tar.extractall(archive, filter="data")
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise ExplainError(
                f"{archive_uri} cannot be unpacked ({error}): run the pipeline again"
            ) from error
        packed.unlink()
        yield archive


def ask(archive: Path, question: Json) -> Json | None:
    """Return the archive's own explanation of its answer, or None if its code is older than explanations.

    The archive's code runs in a process of its own, without this process's credentials.

    Raises:
        ExplainError: the code failed.
    """
    if not (archive / "code" / EXPLAINER).exists():
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "training_jobs.serving.explain", str(archive)],
            input=json.dumps(question),
            env={"PYTHONPATH": str(archive / "code")},
            cwd=archive,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ExplainError(
            f"the model did not explain within {TIMEOUT_S} s: run the same command on a larger machine"
        ) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise ExplainError(
            f"the archive's own explain.py failed: {lines[-1]}. "
            "Run the same command in a checkout of the version that trained the model"
        )
    document: Json = json.loads(done.stdout)
    return document


def read_fallback(archive: Path) -> Json:
    """Return the archive's answers for the time that no endpoint answers, and its snapshot."""
    fallback: Json = json.loads((archive / ARCHIVE_FALLBACK).read_text("utf-8"))
    card = json.loads((archive / ARCHIVE_CARD).read_text("utf-8"))
    return {**fallback, "snapshot_id": card["snapshot_id"], "model_version": card["model_version"]}


def _found(describe: Any, **name: str) -> Json | None:
    try:
        found: Json = describe(**name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in MISSING:
            raise
        return None
    return found


def _exists(s3: Any, uri: str) -> bool:
    bucket, key = split_s3_uri(uri)
    return _found(s3.head_object, Bucket=bucket, Key=key) is not None


def _json(s3: Any, bucket: str, key: str) -> Json | None:
    found = _found(s3.get_object, Bucket=bucket, Key=key)
    return json.loads(found["Body"].read()) if found else None
