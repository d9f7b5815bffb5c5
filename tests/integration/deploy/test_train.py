"""Training from a laptop: the real SageMaker SDK against the local AWS. Needs `make train` or `make training-images` once."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.stages import read_stage
from deploy.training_request import training_request
from local.tests.integration.aws.clients import ROLE, Aws, running_aws
from local.tests.integration.aws.sagemaker import make_archive
from tests.integration.statemachine.pipeline import SERVER, TRAIN, Pipeline
from tests.missing import missing

pytestmark = [pytest.mark.local_stack, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).resolve().parents[3]
SDK_PYTHON = REPOSITORY / "build" / "sagemaker" / "bin" / "python"
LOCAL = read_stage("local")
BUCKET = LOCAL.models_bucket(LOCAL.account_id)
RUN = "20261129-0123456789ab"
MANIFEST = {
    "run_id": RUN,
    "snapshot_id": RUN,
    "shop_id": "demo",
    "interactions": 12345,
    "interactions_uri": f"s3://{BUCKET}/exports/{RUN}/interactions/",
    "items_uri": f"s3://{BUCKET}/exports/{RUN}/items/",
}


def sdk(module: str, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command with the SDK's Python."""
    if not (REPOSITORY / "build" / "sagemaker" / ".installed").exists():
        missing("the SageMaker SDK (build/sagemaker)", "make training-images")
    return subprocess.run(
        [SDK_PYTHON, "-m", module, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """The stage `local` as far as training needs it: bucket, code, a snapshot, and the state machine."""
    with running_aws(tmp_path_factory.mktemp("local-aws")) as aws:
        s3 = aws.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        archive = make_archive({"train.py": TRAIN, "server.txt": SERVER})
        objects = {"code/source.tar.gz": archive, f"exports/{RUN}/manifest.json": json.dumps(MANIFEST)}
        objects |= {f"exports/{RUN}/{table}/part.parquet": b"x" for table in ("interactions", "items")}
        for key, body in objects.items():
            s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        steps = ("Lock", "Load", "Transform", "Validate", "Export", "Publish", "Prove", "Rollback")
        Pipeline(aws, BUCKET, LOCAL.prefix, use_spot=True, functions=dict.fromkeys(steps, "not-run")).deploy()
        yield aws


def jobs(aws: Aws) -> list[dict[str, Any]]:
    sagemaker = aws.client("sagemaker")
    names = [one["TrainingJobName"] for one in sagemaker.list_training_jobs()["TrainingJobSummaries"]]
    return [sagemaker.describe_training_job(TrainingJobName=name) for name in names]


def test_a_job_has_the_request_of_the_state_machine_and_ends_with_metrics_and_a_model(stage: Aws) -> None:
    arguments = ("--stage", "local", "--run", RUN, "--hyperparameter", "do=train")
    done = sdk("deploy.train", *arguments, environment=stage.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = jobs(stage)
    name = job["TrainingJobName"]
    definition = stage.client("stepfunctions").describe_state_machine(
        stateMachineArn=f"arn:aws:states:us-east-1:{LOCAL.account_id}:stateMachine:{LOCAL.prefix}-pipeline"
    )["definition"]
    wanted = training_request(json.loads(definition), "any", MANIFEST, {"do": "train"})
    assert wanted.pop("TrainingJobName") == "tugboat-local-any-0-0"
    assert wanted.pop("CheckpointConfig") == {"S3Uri": f"s3://{BUCKET}/checkpoints/any/"}
    assert name.startswith("tugboat-local-adhoc-2")
    assert job["CheckpointConfig"]["S3Uri"].startswith(f"s3://{BUCKET}/checkpoints/adhoc-")
    assert wanted["EnableManagedSpotTraining"] is True
    assert wanted["RoleArn"] == ROLE
    for field, value in wanted.items():
        sent = job[field]
        assert (sent if not isinstance(value, dict) else {key: sent[key] for key in value}) == value, field
    assert "metric   loss" in done.stdout
    assert f"model    s3://{BUCKET}/training/{name}/output/model.tar.gz" in done.stdout
    # The log of the job.
    assert "resumed at 0" in done.stdout + done.stderr


def test_a_failed_job_ends_with_its_reason_and_the_place_of_its_log(stage: Aws) -> None:
    arguments = ("--stage", "local", "--run", RUN, "--hyperparameter", "do=fail")
    done = sdk("deploy.train", *arguments, environment=stage.environment)
    assert done.returncode == 1
    assert "DataError: no sessions to train on" in done.stderr
    assert "/aws/sagemaker/TrainingJobs" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_run_is_refused_with_a_list_of_the_latest(stage: Aws) -> None:
    done = sdk("deploy.train", "--stage", "local", "--run", "yesterday", environment=stage.environment)
    assert done.returncode == 1
    assert f"s3://{BUCKET}/exports/yesterday/manifest.json does not exist" in done.stderr
    assert f"{RUN}  shop demo, 12,345 interactions" in done.stderr


def test_the_training_containers_are_those_of_the_sdk() -> None:
    done = sdk("deploy.training_images", "--check", environment={})
    assert done.returncode == 0, done.stderr
