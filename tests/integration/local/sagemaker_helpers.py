"""A tiny training project and the requests that run it."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

from local_aws import ROLE, Aws, wait_for

TRAIN = """
import argparse, json, os, signal, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", type=float)
parser.add_argument("--do", default="train")
parser.add_argument("--checkpoints", default="")
a = parser.parse_args()
if a.do == "fail":
    open(os.environ["SM_OUTPUT_DIR"] + "/failure", "w").write("no sessions to train on")
    sys.exit(1)
if a.do == "crash":
    raise RuntimeError("lost")
if a.do == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if a.do == "wait":
    print("waiting", flush=True)
    time.sleep(60)
rows = sum(len(open(os.path.join(d, f)).readlines())
           for d, _, fs in os.walk(os.environ["SM_CHANNEL_INTERACTIONS"]) for f in fs)
seen = sorted(os.listdir(a.checkpoints)) if a.checkpoints else []
if a.checkpoints:
    open(os.path.join(a.checkpoints, "epoch-%d" % len(seen)), "w").write("weights")
print(f"epoch=1 loss=9; hr_at_20=0.10")
print(f"epoch=2 loss=3; hr_at_20={a.learning_rate}")
model = os.environ["SM_MODEL_DIR"]
config = json.load(open(os.environ["SM_INPUT_CONFIG_DIR"] + "/hyperparameters.json"))
json.dump({"rows": rows, "seen": seen, "given": config["learning-rate"], "stage": os.environ.get("STAGE"),
           "hps": json.loads(os.environ["SM_HPS"])}, open(model + "/model.json", "w"))
"""

INFERENCE = """
import json, os
def model_fn(model_dir):
    model = json.load(open(os.path.join(model_dir, "model.json")))
    if model.get("broken"):
        raise RuntimeError("weights do not fit")
    return model
def input_fn(body, content_type):
    request = json.loads(body)
    if not isinstance(request.get("k"), int):
        raise ValueError("k must be a number")
    return request
def predict_fn(request, model):
    return {"items": list(range(request["k"])), "version": model["version"], "word": os.environ.get("WORD"),
            "bug": 1 / request["k"]}
def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""


def make_archive(members: dict[str, str]) -> bytes:
    """A .tar.gz of text files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def read_archive(data: bytes) -> dict[str, bytes]:
    """The files of a .tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        return {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]


def prepare(aws: Aws) -> str:
    """A bucket with code and data."""
    s3, bucket = aws.client("s3"), aws.make_bucket()
    s3.put_object(Bucket=bucket, Key="code/source.tar.gz", Body=make_archive({"train.py": TRAIN}))
    s3.put_object(Bucket=bucket, Key="data/a.csv", Body=b"1\n2\n")
    s3.put_object(Bucket=bucket, Key="data/sub/b.csv", Body=b"3\n")
    return bucket


def training_request(bucket: str, name: str, **hyperparameters: str) -> dict[str, Any]:
    """CreateTrainingJob's arguments."""
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": "pytorch-training",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "hr_at_20", "Regex": r"hr_at_20=([0-9.]+)"}],
        },
        "HyperParameters": {
            "learning-rate": "0.25",
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": f"s3://{bucket}/code/source.tar.gz",
            **hyperparameters,
        },
        "InputDataConfig": [
            {
                "ChannelName": "interactions",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/data/"}},
            }
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/training"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def ended_training(aws: Aws, name: str) -> dict[str, Any]:
    """The description of a training job, once it has ended."""
    client = aws.client("sagemaker")

    def described() -> dict[str, Any] | None:
        job: dict[str, Any] = client.describe_training_job(TrainingJobName=name)
        return job if job["TrainingJobStatus"] not in ("InProgress", "Stopping") else None

    job: dict[str, Any] = wait_for(described, timeout_s=30)
    return job


def make_model(aws: Aws, bucket: str, name: str, **about: Any) -> None:
    """A model archive on S3, its model and its endpoint configuration, all of this name."""
    archive = make_archive(
        {"model.json": json.dumps({"version": name, **about}), "code/inference.py": INFERENCE}
    )
    aws.client("s3").put_object(Bucket=bucket, Key=f"{name}.tar.gz", Body=archive)
    sagemaker = aws.client("sagemaker")
    container = {"Image": "pytorch-inference", "ModelDataUrl": f"s3://{bucket}/{name}.tar.gz"}
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        PrimaryContainer={**container, "Environment": {"WORD": "set", "SAGEMAKER_PROGRAM": "inference.py"}},
    )
    serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{"VariantName": "all", "ModelName": name, "ServerlessConfig": serverless}],
    )


def settled_endpoint(aws: Aws, name: str) -> dict[str, Any]:
    """The description of an endpoint, once nothing is in progress."""
    client = aws.client("sagemaker")

    def described() -> dict[str, Any] | None:
        endpoint: dict[str, Any] = client.describe_endpoint(EndpointName=name)
        return endpoint if endpoint["EndpointStatus"] not in ("Creating", "Updating") else None

    endpoint: dict[str, Any] = wait_for(described, timeout_s=30)
    return endpoint


def invoke(aws: Aws, name: str, request: Any) -> Any:
    """What the endpoint answers."""
    answer = aws.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name, ContentType="application/json", Body=json.dumps(request).encode()
    )
    return json.loads(answer["Body"].read())
