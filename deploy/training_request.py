"""The request of a training job on the snapshot of an earlier run, as the stage's state machine makes it.

The state Train of the deployed definition is the one place for image, code, instances, spot and limits.
Its arguments are evaluated here with the bindings that Step Functions has after Export.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jsonata
from botocore.exceptions import ClientError

from deploy.command import DeployError
from functions.platform.contract import EXPORTS_PREFIX

LISTED_RUNS = 5

Json = dict[str, Any]


class TrainError(DeployError):
    """The job cannot be submitted, or it failed. The message ends with the next step."""


@dataclass(frozen=True)
class Snapshot:
    """The manifest of a run's export, and when it was written."""

    run_id: str
    shop_id: str
    interactions: int
    written_at: datetime

    def __str__(self) -> str:
        """Return one line for a list."""
        return (
            f"{self.run_id}  shop {self.shop_id}, {self.interactions:,} interactions, "
            f"{self.written_at:%Y-%m-%d %H:%M} UTC"
        )


def read_manifest(s3: Any, bucket: str, run_id: str) -> Json:
    """Return the result of Export for a run.

    Raises:
        TrainError: the run has no snapshot. The message lists the latest ones.
    """
    key = f"{EXPORTS_PREFIX}{run_id}/manifest.json"
    try:
        manifest: Json = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "NoSuchBucket"):
            raise
        raise TrainError(f"s3://{bucket}/{key} does not exist. {_choices(s3, bucket)}") from None
    return manifest


def latest_snapshots(s3: Any, bucket: str, limit: int = LISTED_RUNS) -> list[Snapshot]:
    """Return the snapshots that were written last, newest first."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=EXPORTS_PREFIX)
    found = [
        (one["LastModified"], one["Key"])
        for page in pages
        for one in page.get("Contents", [])
        if one["Key"].endswith("/manifest.json")
    ]
    snapshots = []
    for written_at, key in sorted(found, reverse=True)[:limit]:
        manifest = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        snapshots.append(
            Snapshot(manifest["run_id"], manifest["shop_id"], manifest["interactions"], written_at)
        )
    return snapshots


def _choices(s3: Any, bucket: str) -> str:
    try:
        snapshots = latest_snapshots(s3, bucket)
    except ClientError:
        return "The bucket cannot be listed: deploy the stage first with make deploy"
    if not snapshots:
        return "No run has a snapshot yet: make run writes one"
    lines = "\n".join(f"  {one}" for one in snapshots)
    return f"Take one of the latest with RUN=<run id>; snapshots expire after exports_expire_days:\n{lines}"


def training_request(definition: Json, job_id: str, manifest: Json, hyperparameters: dict[str, str]) -> Json:
    """Return the arguments of the state Train for a snapshot.

    Args:
        definition: the deployed definition of the state machine.
        job_id: takes the place of the run's id, so that the job has a name and checkpoints of its own.
        manifest: what Export returned for the snapshot.
        hyperparameters: values that differ from the defaults of training_jobs/train.py.
    """
    bindings = {
        "options": {"hyperparameters": hyperparameters},
        "run_id": job_id,
        "snapshot": manifest,
        "job_failures": 0,
        "redrives": 0,
        "states": {
            "context": {"Execution": {"RedriveCount": 0}, "State": {"RetryCount": 0}},
        },
    }
    arguments: Json = _evaluated(definition["States"]["Train"]["Arguments"], bindings)
    return arguments


def _evaluated(value: Any, bindings: Json) -> Any:
    """Return a value of the definition with every JSONata expression replaced by its result."""
    if isinstance(value, dict):
        return {key: _evaluated(inner, bindings) for key, inner in value.items()}
    if isinstance(value, list):
        return [_evaluated(inner, bindings) for inner in value]
    if not isinstance(value, str) or not value.startswith("{%"):
        return value
    expression = jsonata.Jsonata(value.removeprefix("{%").removesuffix("%}").strip())
    frame = expression.create_frame()
    for name, bound in bindings.items():
        frame.bind(name, bound)
    result = expression.evaluate(None, frame)
    if result is None:
        raise TrainError(
            f"the state Train of the deployed definition has the expression {value}, which gives nothing here: "
            "deploy this version with make deploy, then run the same command again"
        )
    return result
