"""CodeBuild builds images without Docker, ECR keeps them."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError

from local.tests.integration.aws.clients import ROLE, Aws
from local.tests.integration.aws.sagemaker import DOCKERFILE, build_image, make_repository

pytestmark = pytest.mark.local_stack


@pytest.fixture(scope="module")
def bucket(aws: Aws) -> str:
    return aws.make_bucket()


@pytest.fixture
def repository(aws: Aws) -> str:
    return make_repository(aws, f"images-{uuid.uuid4().hex[:8]}")


def test_a_built_image_stays_in_the_registry_under_its_immutable_tag(
    aws: Aws, bucket: str, repository: str
) -> None:
    build = build_image(aws, bucket, f"{repository}:1")
    assert build["buildStatus"] == "SUCCEEDED"
    assert [phase["phaseType"] for phase in build["phases"]][-1] == "COMPLETED"
    name = repository.partition("/")[2]
    (image,) = aws.client("ecr").describe_images(repositoryName=name, imageIds=[{"imageTag": "1"}])[
        "imageDetails"
    ]
    assert image["imageManifestMediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    again = build_image(aws, bucket, f"{repository}:1", serve="#!/bin/sh\nexit 3\n")
    assert again["buildStatus"] == "FAILED", "its tag is taken, and tags are immutable"
    with pytest.raises(ClientError, match="ImageNotFoundException"):
        aws.client("ecr").describe_images(repositoryName=name, imageIds=[{"imageTag": "2"}])


@pytest.mark.parametrize(
    ("dockerfile", "reason"),
    [
        ("FROM public.ecr.aws/docker/library/python:2.7-slim\n", "not an image of Python 3.11"),
        (DOCKERFILE + "USER nobody\n", "USER is none of FROM, COPY, RUN"),
        (DOCKERFILE + "RUN apt-get update\n", "runs pip install only"),
        (DOCKERFILE + "COPY missing /tmp/missing\n", "missing is not beside the Dockerfile"),
        (DOCKERFILE + "COPY serve /tmp/serve\nRUN pip install -r /tmp/nothing.txt\n", "exit code 1"),
    ],
)
def test_a_dockerfile_that_cannot_be_built_fails_with_its_reason(
    aws: Aws, bucket: str, repository: str, dockerfile: str, reason: str
) -> None:
    build = build_image(aws, bucket, f"{repository}:1", Dockerfile=dockerfile)
    assert build["buildStatus"] == "FAILED"
    (failed,) = (phase for phase in build["phases"] if phase.get("phaseStatus") == "FAILED")
    assert failed["phaseType"] == "BUILD"
    assert reason in failed["contexts"][0]["message"]
    log = aws.client("logs").get_log_events(
        logGroupName=build["logs"]["groupName"], logStreamName=build["logs"]["streamName"]
    )
    assert reason in log["events"][-1]["message"]


def test_a_stack_creates_and_deletes_its_repository_with_images_and_its_build_project(
    aws: Aws, bucket: str
) -> None:
    name = f"stack-{uuid.uuid4().hex[:8]}"
    repository = {"RepositoryName": name, "ImageTagMutability": "IMMUTABLE", "EmptyOnDelete": True}
    project = {
        "Name": name,
        "ServiceRole": ROLE,
        "Source": {"Type": "S3", "Location": f"{bucket}/{name}.zip"},
        "Artifacts": {"Type": "NO_ARTIFACTS"},
        "Environment": {"Type": "LINUX_CONTAINER", "ComputeType": "BUILD_GENERAL1_SMALL", "Image": "i"},
    }
    template = {
        "Resources": {
            "Images": {"Type": "AWS::ECR::Repository", "Properties": repository},
            "Build": {"Type": "AWS::CodeBuild::Project", "Properties": project},
        }
    }
    cloudformation, ecr, codebuild = (aws.client(one) for one in ("cloudformation", "ecr", "codebuild"))
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    address = ecr.describe_repositories(repositoryNames=[name])["repositories"][0]["repositoryUri"]
    assert build_image(aws, bucket, f"{address}:1")["buildStatus"] == "SUCCEEDED"
    (found,) = codebuild.batch_get_projects(names=[name])["projects"]
    assert found["source"] == {"type": "S3", "location": f"{bucket}/{name}.zip"}

    project["Description"] = "changed"
    cloudformation.update_stack(StackName=name, TemplateBody=json.dumps(template))
    assert codebuild.batch_get_projects(names=[name])["projects"][0]["description"] == "changed"
    assert len(ecr.describe_images(repositoryName=name)["imageDetails"]) == 1

    cloudformation.delete_stack(StackName=name)
    assert name not in codebuild.list_projects()["projects"]
    with pytest.raises(ClientError, match="RepositoryNotFoundException"):
        ecr.describe_images(repositoryName=name)
