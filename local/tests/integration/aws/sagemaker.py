"""A small training project, a model server in an image, and the requests that run them."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from typing import Any

from local.testing import wait_for
from local.tests.integration.aws.clients import IMAGE, ROLE, Aws, make_zip

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
waited = os.path.join(a.checkpoints, "waited")
if a.do == "once" and not os.path.exists(waited):
    open(waited, "w").close()
    time.sleep(5)
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

REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"

DOCKERFILE = """
FROM public.ecr.aws/docker/library/python:3.11-slim
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
COPY --chmod=755 serve /usr/local/bin/serve
# Words may be quoted, and lines go on.
ENV PYTHONPATH=/opt/ml/model/code \\
    # after a comment too
    GREETING="good day"
"""
SERVE = """#!/bin/sh
exec python -m server "$SAGEMAKER_BIND_TO_PORT"
"""
BUILDSPEC = "version: 0.2\nphases: {build: {commands: [docker build ., docker push $IMAGE]}}\n"

# The server of /ping and /invocations in a model archive.
SERVER = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
model = json.load(open(os.path.join(os.path.dirname(__file__), "..", "model.json")))
if model.get("broken"):
    raise RuntimeError("weights do not fit")
weights = bytearray(model.get("megabytes", 0) * 1024 ** 2)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200 if self.path == "/ping" else 404, {})
    def do_POST(self):
        k = json.loads(self.rfile.read(int(self.headers["Content-Length"]))).get("k")
        if not isinstance(k, int):
            return self.answer(400, {"error": "k must be a number"})
        if k == 0:
            return self.answer(500, {"error": "bug"})
        self.answer(200, {"items": list(range(k)), "version": model["version"], "word": os.environ.get("WORD"),
                          "greeting": os.environ.get("GREETING"), "python": sys.prefix})
    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def make_archive(members: dict[str, str]) -> bytes:
    """Return a .tar.gz of text files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def read_archive(data: bytes) -> dict[str, bytes]:
    """Return the files of a .tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        return {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]


def prepare(aws: Aws) -> str:
    """Create a bucket with code and data; return its name."""
    s3, bucket = aws.client("s3"), aws.make_bucket()
    s3.put_object(Bucket=bucket, Key="code/source.tar.gz", Body=make_archive({"train.py": TRAIN}))
    s3.put_object(Bucket=bucket, Key="data/a.csv", Body=b"1\n2\n")
    s3.put_object(Bucket=bucket, Key="data/sub/b.csv", Body=b"3\n")
    return bucket


def training_request(bucket: str, name: str, **hyperparameters: str) -> dict[str, Any]:
    """Return the arguments of CreateTrainingJob."""
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
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
    """Wait until a training job has ended; return its description."""
    client = aws.client("sagemaker")

    def described() -> dict[str, Any] | None:
        job: dict[str, Any] = client.describe_training_job(TrainingJobName=name)
        return job if job["TrainingJobStatus"] not in ("InProgress", "Stopping") else None

    job: dict[str, Any] = wait_for(described, timeout_s=30, pause_s=0.01)
    # The state machine reads this field as soon as the status is final.
    assert "TrainingTimeInSeconds" in job
    return job


def make_repository(aws: Aws, name: str = "test-serving") -> str:
    """Create an image repository with immutable tags; return its address."""
    made = aws.client("ecr").create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    return str(made["repository"]["repositoryUri"])


def build_image(aws: Aws, bucket: str, address: str, **files: str) -> dict[str, Any]:
    """Build an image with CodeBuild; return the finished build."""
    source = {"Dockerfile": DOCKERFILE, "serve": SERVE, "buildspec.yml": BUILDSPEC, **files}
    project = f"build-{uuid.uuid4().hex[:8]}"
    aws.client("s3").put_object(Bucket=bucket, Key=f"{project}.zip", Body=make_zip(source))
    codebuild = aws.client("codebuild")
    codebuild.create_project(
        name=project,
        source={"type": "S3", "location": f"{bucket}/{project}.zip"},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={
            "type": "LINUX_CONTAINER",
            "image": "aws/codebuild/amazonlinux-x86_64-standard:5.0",
            "computeType": "BUILD_GENERAL1_SMALL",
            "environmentVariables": [{"name": "IMAGE", "value": address, "type": "PLAINTEXT"}],
        },
        serviceRole=ROLE,
    )
    started = codebuild.start_build(projectName=project)["build"]
    assert started["buildStatus"] == "IN_PROGRESS"

    def ended() -> dict[str, Any] | None:
        build: dict[str, Any] = codebuild.batch_get_builds(ids=[started["id"]])["builds"][0]
        return build if build["buildComplete"] else None

    build: dict[str, Any] = wait_for(ended, timeout_s=60)
    return build


def serving_image(aws: Aws, bucket: str) -> str:
    """Return the address of the image that serves the models below; build it at the first call."""
    names = [found["repositoryName"] for found in aws.client("ecr").describe_repositories()["repositories"]]
    if "test-serving" in names:
        return f"{REGISTRY}/test-serving:1"
    address = f"{make_repository(aws)}:1"
    build = build_image(aws, bucket, address)
    assert build["buildStatus"] == "SUCCEEDED", build["phases"]
    return address


def make_model(aws: Aws, bucket: str, name: str, image: str | None = None, **details: Any) -> None:
    """Create a model archive on S3, its model and its endpoint configuration, all with this name."""
    archive = make_archive({"model.json": json.dumps({"version": name, **details}), "code/server.py": SERVER})
    aws.client("s3").put_object(Bucket=bucket, Key=f"{name}.tar.gz", Body=archive)
    sagemaker = aws.client("sagemaker")
    container = {
        "Image": image or serving_image(aws, bucket),
        "ModelDataUrl": f"s3://{bucket}/{name}.tar.gz",
        "Environment": {"WORD": "set"},
    }
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{"VariantName": "all", "ModelName": name, "ServerlessConfig": serverless}],
    )


def settled_endpoint(aws: Aws, name: str) -> dict[str, Any]:
    """Wait until an endpoint is neither created nor updated; return its description."""
    client = aws.client("sagemaker")

    def described() -> dict[str, Any] | None:
        endpoint: dict[str, Any] = client.describe_endpoint(EndpointName=name)
        return endpoint if endpoint["EndpointStatus"] not in ("Creating", "Updating") else None

    endpoint: dict[str, Any] = wait_for(described, timeout_s=30)
    return endpoint


def invoke(aws: Aws, name: str, request: Any) -> Any:
    """Return the parsed response of the endpoint."""
    answer = aws.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name, ContentType="application/json", Body=json.dumps(request).encode()
    )
    return json.loads(answer["Body"].read())
