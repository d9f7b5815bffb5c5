"""A spot interruption costs time and nothing else: the real training code under the local SageMaker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from local.testing import interrupt_training, wait_for
from local.tests.integration.aws.clients import IMAGE, ROLE, Aws, running_aws
from local.tests.integration.aws.sagemaker import read_archive
from tests.unit.training_jobs import shop
from training_jobs import package

pytestmark = [pytest.mark.local_stack, pytest.mark.timeout(300)]

SETTINGS = {
    "epochs": "60",
    "dim": "24",
    "layers": "1",
    "batch_events": "112",
    "tune_cases": "50",
    "threads": "1",
    "model_version": "v",
    "snapshot_id": "s",
    "checkpoint_dir": "/opt/ml/checkpoints",
    "sagemaker_program": "train.py",
}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with running_aws(tmp_path_factory.mktemp("local-aws")) as aws:
        yield aws


@pytest.fixture(scope="module")
def bucket(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The code and a small shop's snapshot."""
    bucket, s3 = aws.make_bucket(), aws.client("s3")
    s3.put_object(Bucket=bucket, Key="code.tar.gz", Body=package.build_source_archive()[0])
    for channel in shop.write_shop(tmp_path_factory.mktemp("shop"), sessions=300):
        for path in channel.iterdir():
            s3.put_object(Bucket=bucket, Key=f"{channel.name}/{path.name}", Body=path.read_bytes())
    return bucket


def train(aws: Aws, bucket: str, name: str) -> None:
    channels = [
        {
            "ChannelName": channel,
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/{channel}/"}},
        }
        for channel in ("interactions", "items")
    ]
    aws.client("sagemaker").create_training_job(
        TrainingJobName=name,
        RoleArn=ROLE,
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        HyperParameters={**SETTINGS, "sagemaker_submit_directory": f"s3://{bucket}/code.tar.gz"},
        InputDataConfig=channels,
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/training"},
        CheckpointConfig={"S3Uri": f"s3://{bucket}/checkpoints/{name}"},
        ResourceConfig={"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 200, "MaxWaitTimeInSeconds": 280},
    )


def model(aws: Aws, bucket: str, name: str) -> dict[str, bytes]:
    """Return the files of the model archive."""
    key = f"training/{name}/output/model.tar.gz"
    return read_archive(aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())


def epochs(aws: Aws, name: str) -> list[tuple[str, int]]:
    """Return the stage and the number of each epoch in the log of a job."""
    found = []
    for line in (aws.stack.logs / "jobs" / f"{name}.log").read_text().splitlines():
        fields: dict[str, Any] = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
        if "epoch" in fields:
            found.append((fields["stage"], int(fields["epoch"])))
    return found


def test_an_interrupted_job_resumes_and_leaves_the_model_of_one_that_was_not(aws: Aws, bucket: str) -> None:
    train(aws, bucket, "interrupted")
    s3 = aws.client("s3")
    wait_for(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="checkpoints/interrupted/")["KeyCount"], 90)
    interrupt_training(aws.stack, "interrupted")
    job = wait_for(lambda: _ended(aws, "interrupted"), 150)
    passed = [transition["Status"] for transition in job["SecondaryStatusTransitions"]]
    assert passed.count("Interrupted") == 1
    train(aws, bucket, "whole")
    wait_for(lambda: _ended(aws, "whole"), 150)
    resumed, whole = epochs(aws, "interrupted"), epochs(aws, "whole")
    # The job resumed: no more than the epoch that was under way was trained twice.
    assert set(resumed) == set(whole)
    assert len(resumed) <= len(whole) + 2
    assert model(aws, bucket, "interrupted") == model(aws, bucket, "whole")


def _ended(aws: Aws, name: str) -> dict[str, Any] | None:
    job: dict[str, Any] = aws.client("sagemaker").describe_training_job(TrainingJobName=name)
    if job["TrainingJobStatus"] in ("InProgress", "Stopping"):
        return None
    assert job["TrainingJobStatus"] == "Completed", job
    return job
