"""SageMaker: jobs that follow the contract of its containers, and endpoints that serve models."""

from __future__ import annotations

import json
import sys
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.testing import interrupt_training, wait_for
from local.tests.integration.aws.clients import IMAGE, ROLE, Aws
from local.tests.integration.aws.sagemaker import (
    ended_training,
    invoke,
    make_model,
    prepare,
    read_archive,
    settled_endpoint,
    training_request,
)

pytestmark = pytest.mark.local_stack


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def bucket(aws: Aws) -> str:
    return prepare(aws)


def test_a_training_job_reads_its_channel_and_writes_model_metrics_and_logs(aws: Aws, bucket: str) -> None:
    name = unique("train")
    request = training_request(bucket, name, checkpoints="/opt/ml/checkpoints")
    request["Environment"] = {"STAGE": "test"}
    request["CheckpointConfig"] = {"S3Uri": f"s3://{bucket}/checkpoints"}
    s3 = aws.client("s3")
    s3.put_object(Bucket=bucket, Key="checkpoints/epoch-0", Body=b"older")
    aws.client("sagemaker").create_training_job(**request)
    job = ended_training(aws, name)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert [metric["Value"] for metric in job["FinalMetricDataList"]] == [0.25]
    uri = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{bucket}/training/{name}/output/model.tar.gz"
    archive = s3.get_object(Bucket=bucket, Key=f"training/{name}/output/model.tar.gz")["Body"].read()
    model = json.loads(read_archive(archive)["model.json"])
    assert model["rows"] == 3
    assert model["given"] == "0.25"
    assert model["stage"] == "test"
    assert model["seen"] == ["epoch-0"]
    assert s3.get_object(Bucket=bucket, Key="checkpoints/epoch-1")["Body"].read() == b"weights"
    events = aws.client("logs").filter_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=name
    )["events"]
    assert "epoch=1 loss=9; hr_at_20=0.10" in [event["message"] for event in events]
    assert "hr_at_20" in (aws.stack.logs / "jobs" / f"{name}.log").read_text()


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("fail", "AlgorithmError: no sessions to train on"),
        ("crash", "RuntimeError: lost"),
        ("killed", "ExitCode 137"),
    ],
)
def test_a_failed_training_job_has_a_reason(aws: Aws, bucket: str, what: str, reason: str) -> None:
    name = unique(what)
    aws.client("sagemaker").create_training_job(**training_request(bucket, name, do=what))
    job = ended_training(aws, name)
    assert job["TrainingJobStatus"] == "Failed"
    assert reason in job["FailureReason"]


def test_a_training_job_stops_on_request_and_at_its_time_limit(aws: Aws, bucket: str) -> None:
    asked, over = unique("asked"), unique("over")
    client = aws.client("sagemaker")
    client.create_training_job(**training_request(bucket, asked, do="wait"))
    late = {**training_request(bucket, over, do="wait"), "StoppingCondition": {"MaxRuntimeInSeconds": 1}}
    client.create_training_job(**late)
    wait_for(lambda: (aws.stack.logs / "jobs" / f"{asked}.log").exists())
    client.stop_training_job(TrainingJobName=asked)
    for name, secondary in ((asked, "Stopped"), (over, "MaxRuntimeExceeded")):
        job = ended_training(aws, name)
        assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", secondary)


def test_a_spot_job_that_is_interrupted_starts_again_with_its_checkpoints(aws: Aws, bucket: str) -> None:
    name, s3 = unique("spot"), aws.client("s3")
    request = training_request(bucket, name, do="once", checkpoints="/opt/ml/checkpoints")
    request["CheckpointConfig"] = {"S3Uri": f"s3://{bucket}/{name}"}
    request["EnableManagedSpotTraining"] = True
    request["StoppingCondition"] = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120}
    aws.client("sagemaker").create_training_job(**request)
    wait_for(lambda: s3.list_objects_v2(Bucket=bucket, Prefix=f"{name}/")["KeyCount"], timeout_s=30)
    interrupt_training(aws.stack, name)
    job = ended_training(aws, name)
    assert job["TrainingJobStatus"] == "Completed"
    passed = [transition["Status"] for transition in job["SecondaryStatusTransitions"]]
    once = ["Starting", "Downloading", "Training"]
    assert passed == [*once, "Interrupted", *once, "Uploading", "Completed"]
    archive = s3.get_object(Bucket=bucket, Key=f"training/{name}/output/model.tar.gz")["Body"].read()
    assert json.loads(read_archive(archive)["model.json"])["seen"] == ["waited"]


def test_a_job_on_demand_is_not_interrupted(aws: Aws, bucket: str) -> None:
    name, s3 = unique("on-demand"), aws.client("s3")
    request = training_request(bucket, name, do="once", checkpoints="/opt/ml/checkpoints")
    request["CheckpointConfig"] = {"S3Uri": f"s3://{bucket}/{name}"}
    aws.client("sagemaker").create_training_job(**request)
    wait_for(lambda: s3.list_objects_v2(Bucket=bucket, Prefix=f"{name}/")["KeyCount"], timeout_s=30)
    interrupt_training(aws.stack, name)
    passed = [one["Status"] for one in ended_training(aws, name)["SecondaryStatusTransitions"]]
    assert "Interrupted" not in passed


def test_names_that_aws_refuses_are_refused(aws: Aws, bucket: str) -> None:
    client = aws.client("sagemaker")
    for name in ("with_underscore", "x" * 64):
        with pytest.raises(ClientError, match="ValidationException"):
            client.create_training_job(**training_request(bucket, name))
    name = unique("twice")
    client.create_training_job(**training_request(bucket, name, do="fail"))
    with pytest.raises(ClientError, match="ResourceInUse"):
        client.create_training_job(**training_request(bucket, name))


def test_a_processing_job_downloads_its_inputs_and_uploads_its_outputs(aws: Aws, bucket: str) -> None:
    name, s3 = unique("evaluate"), aws.client("s3")
    code = (
        "import json, os, sys\n"
        "base = sys.argv[1]\n"
        "found = {d: sorted(os.listdir(os.path.join(base, 'input', d))) for d in ('data', 'champion')}\n"
        "json.dump([found, os.environ['OUT'] == base + '/output'], open(os.environ['OUT'] + '/e.json', 'w'))\n"
    )
    s3.put_object(Bucket=bucket, Key="evaluation/evaluate.py", Body=code.encode())
    inputs = {"code": "evaluation/evaluate.py", "data": "data/", "champion": "data/sub/"}
    aws.client("sagemaker").create_processing_job(
        **_processing(
            name,
            ["python3", "/opt/ml/processing/input/code/evaluate.py"],
            ContainerArguments=["/opt/ml/processing"],
        ),
        Environment={"OUT": "/opt/ml/processing/output"},
        ProcessingInputs=[
            {
                "InputName": folder,
                "S3Input": {
                    "S3Uri": f"s3://{bucket}/{key}",
                    "LocalPath": f"/opt/ml/processing/input/{folder}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for folder, key in inputs.items()
        ],
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "evaluation",
                    "S3Output": {
                        "S3Uri": f"s3://{bucket}/evaluated",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
    )
    job = _ended_processing(aws, name)
    assert job["ProcessingJobStatus"] == "Completed", job.get("FailureReason")
    written = json.loads(s3.get_object(Bucket=bucket, Key="evaluated/e.json")["Body"].read())
    assert written == [{"data": ["a.csv", "sub"], "champion": ["b.csv"]}, True]


def test_a_processing_job_whose_input_is_empty_fails_as_on_aws(aws: Aws, bucket: str) -> None:
    name = unique("empty")
    place = {"S3Uri": f"s3://{bucket}/nothing-here/", "LocalPath": "/opt/ml/processing/input/champion"}
    aws.client("sagemaker").create_processing_job(
        **_processing(name, ["python3", "-V"]),
        ProcessingInputs=[
            {"InputName": "champion", "S3Input": {**place, "S3DataType": "S3Prefix", "S3InputMode": "File"}}
        ],
    )
    job = _ended_processing(aws, name)
    assert job["ProcessingJobStatus"] == "Failed"
    assert "No S3 objects found under S3 URL" in job["FailureReason"]


def test_a_failed_processing_job_has_a_reason(aws: Aws) -> None:
    name = unique("bad")
    command = ["bash", "-c", "echo metrics missing; exit 4"]
    aws.client("sagemaker").create_processing_job(**_processing(name, command))
    job = _ended_processing(aws, name)
    assert job["ProcessingJobStatus"] == "Failed"
    assert "metrics missing" in job["FailureReason"]
    assert "exit code: 4" in job["FailureReason"]


def _processing(name: str, entrypoint: list[str], **application: Any) -> dict[str, Any]:
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    return {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "ProcessingResources": {"ClusterConfig": cluster},
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": entrypoint, **application},
    }


def _ended_processing(aws: Aws, name: str) -> dict[str, Any]:
    def described() -> dict[str, Any] | None:
        job: dict[str, Any] = aws.client("sagemaker").describe_processing_job(ProcessingJobName=name)
        return job if job["ProcessingJobStatus"] != "InProgress" else None

    job: dict[str, Any] = wait_for(described, timeout_s=30)
    return job


def test_tuning_runs_its_jobs_and_selects_the_best(aws: Aws, bucket: str) -> None:
    name, client = unique("tune"), aws.client("sagemaker")
    request = training_request(bucket, name)
    definition = {
        "StaticHyperParameters": {
            k: v for k, v in request["HyperParameters"].items() if k != "learning-rate"
        },
        "AlgorithmSpecification": request["AlgorithmSpecification"],
        **{key: request[key] for key in ("RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig")},
        "StoppingCondition": request["StoppingCondition"],
    }
    scale = {"Name": "learning-rate", "MinValue": "0.0001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}
    client.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "RandomSeed": 7,
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "hr_at_20"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"ContinuousParameterRanges": [scale]},
        },
        TrainingJobDefinition=definition,
    )

    def described() -> dict[str, Any] | None:
        job: dict[str, Any] = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return job if job["HyperParameterTuningJobStatus"] != "InProgress" else None

    job = wait_for(described, timeout_s=30)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Completed"] == 3
    ran = client.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    rates = [float(s["TunedHyperParameters"]["learning-rate"]) for s in ran["TrainingJobSummaries"]]
    assert len(set(rates)) == 3
    best = job["BestTrainingJob"]
    assert float(best["TunedHyperParameters"]["learning-rate"]) == max(rates)
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == pytest.approx(max(rates))


def test_an_endpoint_serves_is_updated_keeps_serving_through_a_failed_update_and_is_deleted(
    aws: Aws, bucket: str
) -> None:
    first, second, broken, name = (unique(word) for word in ("first", "second", "broken", "shop"))
    client = aws.client("sagemaker")
    make_model(aws, bucket, first)
    make_model(aws, bucket, second)
    make_model(aws, bucket, broken, broken=True)
    client.create_endpoint(EndpointName=name, EndpointConfigName=first)
    assert settled_endpoint(aws, name)["EndpointStatus"] == "InService"
    answer = invoke(aws, name, {"k": 2})
    python = answer.pop("python")
    assert answer == {"items": [0, 1], "version": first, "word": "set", "greeting": "good day"}
    assert python != sys.prefix, "the server must run in its image, not in this environment"

    client.update_endpoint(EndpointName=name, EndpointConfigName=second)
    assert invoke(aws, name, {"k": 1})["version"] in (first, second)
    assert settled_endpoint(aws, name)["EndpointConfigName"] == second
    assert invoke(aws, name, {"k": 1})["version"] == second

    client.update_endpoint(EndpointName=name, EndpointConfigName=broken)
    after = settled_endpoint(aws, name)
    assert (after["EndpointStatus"], after["EndpointConfigName"]) == ("InService", second)
    assert "weights do not fit" in after["FailureReason"]
    assert invoke(aws, name, {"k": 1})["version"] == second

    runtime = aws.client("sagemaker-runtime")
    for request, status in (({"k": "many"}, 400), ({"k": 0}, 500)):
        with pytest.raises(runtime.exceptions.ModelError) as refused:
            invoke(aws, name, request)
        assert refused.value.response["OriginalStatusCode"] == status

    client.delete_endpoint(EndpointName=name)
    client.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1})
    with pytest.raises(ClientError, match="not found"):
        invoke(aws, name, {"k": 1})
    with pytest.raises(ClientError, match="Could not find"):
        client.describe_endpoint(EndpointName=name)


def test_an_endpoint_of_a_broken_or_missing_model_fails(aws: Aws, bucket: str) -> None:
    name = unique("broken")
    make_model(aws, bucket, name, broken=True)
    aws.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=name)
    endpoint = settled_endpoint(aws, name)
    assert endpoint["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in endpoint["FailureReason"]
    with pytest.raises(ClientError, match="already existing"):
        make_model(aws, bucket, name)


def test_an_endpoint_whose_image_is_not_in_the_registry_fails(aws: Aws, bucket: str) -> None:
    name = unique("imageless")
    make_model(aws, bucket, name, image="123456789012.dkr.ecr.us-east-1.amazonaws.com/nowhere:1")
    aws.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=name)
    endpoint = settled_endpoint(aws, name)
    assert endpoint["EndpointStatus"] == "Failed"
    assert "nowhere:1 not found" in endpoint["FailureReason"]


def test_a_model_that_does_not_fit_the_endpoint_s_memory_fails(aws: Aws, bucket: str) -> None:
    name = unique("large")
    make_model(aws, bucket, name, megabytes=2_500)
    aws.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=name)
    assert "MemoryError" in settled_endpoint(aws, name)["FailureReason"]
