"""A request that AWS refuses for its form is refused with the same code, in each protocol and also inside the local services."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from local.tests.integration.aws.clients import ROLE, Aws
from local.tests.integration.aws.sagemaker import training_request
from local.tests.integration.aws.test_stepfunctions import TRAIN, run

pytestmark = pytest.mark.local_stack

LONG = "x" * 300


@pytest.mark.parametrize(
    ("service", "call", "parameters", "code"),
    [
        # JSON
        ("sagemaker", "describe_training_job", {"TrainingJobName": "a_b"}, "ValidationException"),
        ("stepfunctions", "start_execution", {"stateMachineArn": "m", "name": LONG}, "ValidationException"),
        ("events", "put_rule", {"Name": "a b"}, "ValidationException"),
        ("secretsmanager", "create_secret", {"Name": ""}, "ValidationException"),
        ("firehose", "describe_delivery_stream", {"DeliveryStreamName": "a b"}, "ValidationException"),
        ("logs", "create_log_group", {"logGroupName": "a b"}, "InvalidParameterException"),
        ("ecr", "create_repository", {"repositoryName": "UPPER"}, "InvalidParameterException"),
        ("codebuild", "batch_get_builds", {"ids": []}, "InvalidInputException"),
        ("cloudwatch", "describe_alarms", {"MaxRecords": 101}, "ValidationError"),
        # query
        ("iam", "create_role", {"RoleName": "a b", "AssumeRolePolicyDocument": "{}"}, "ValidationError"),
        ("sts", "assume_role", {"RoleArn": ROLE, "RoleSessionName": "a b"}, "ValidationError"),
        ("cloudformation", "describe_change_set", {"ChangeSetName": "a b"}, "ValidationError"),
        # REST with JSON
        ("lambda", "get_function", {"FunctionName": LONG}, "ValidationException"),
        (
            "lambda",
            "update_function_configuration",
            {"FunctionName": "f", "Timeout": 0},
            "ValidationException",
        ),
        (
            "apigateway",
            "put_gateway_response",
            {"restApiId": "a", "responseType": "NONE"},
            "BadRequestException",
        ),
        ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "a_b", "Body": b""}, "ValidationError"),
        # REST with XML
        ("s3", "put_object", {"Bucket": "b", "Key": "k", "Body": b"", "ACL": "open"}, "InvalidArgument"),
        (
            "s3",
            "put_bucket_versioning",
            {"Bucket": "b", "VersioningConfiguration": {"Status": "On"}},
            "MalformedXML",
        ),
    ],
)
def test_a_value_outside_the_service_model_is_refused_with_the_services_code(
    aws: Aws, service: str, call: str, parameters: dict[str, Any], code: str
) -> None:
    client = aws.client(service, parameter_validation=False)
    with pytest.raises(ClientError) as refused:
        getattr(client, call)(**parameters)
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_missing_member_is_refused_although_botocore_was_not_asked(aws: Aws) -> None:
    client = aws.client("sagemaker", parameter_validation=False)
    with pytest.raises(ClientError, match="Value null at 'trainingJobName' failed to satisfy constraint"):
        client.describe_training_job()


def ask(aws: Aws, target: str, service: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """Send a JSON request as it is; return the status and the parsed response."""
    scope = f"AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host"
    address = urlsplit(aws.stack.aws_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": target,
        "Authorization": scope + ", Signature=0",
    }
    connection.request("POST", "/", body, headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


@pytest.mark.parametrize("target", ["SageMaker.DescribeTrainingJob", "SageMaker.CreateTrainingJob"])
def test_a_value_of_another_type_is_refused_before_it_is_read(aws: Aws, target: str) -> None:
    status, answer = ask(aws, target, "sagemaker", b'{"TrainingJobName": 5, "Tags": "x"}')
    assert (status, answer["__type"]) == (400, "SerializationException")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"DeliveryStreamName": "a b", "Records": [{"Data": "eA=="}]}', "ValidationException"),
        (b'{"DeliveryStreamName": "a", "Records": []}', "ValidationException"),
        (b'{"DeliveryStreamName": "a"}', "ValidationException"),
        (b'{"DeliveryStreamName": "a", "Records": {"Data": "eA=="}}', "SerializationException"),
        (b'{"DeliveryStreamName": 1, "Records": [{"Data": "eA=="}]}', "SerializationException"),
    ],
)
def test_the_fast_way_of_firehose_refuses_the_same_requests(aws: Aws, body: bytes, code: str) -> None:
    status, answer = ask(aws, "Firehose_20150804.PutRecordBatch", "firehose", body)
    assert (status, answer["__type"]) == (400, code)


def test_a_job_that_a_state_machine_starts_is_validated_too(aws: Aws) -> None:
    bucket = aws.make_bucket()
    request = training_request(bucket, f"tugboat-{'0' * 36}_{'0' * 36}-0")
    ended = run(aws, {"Train": {"Type": "Task", "Resource": TRAIN, "Arguments": request, "End": True}})
    assert ended["status"] == "FAILED"
    assert ended["error"] == "SageMaker.AmazonSageMakerException"
    assert "at 'trainingJobName' failed to satisfy constraint" in ended["cause"]
    assert "Error Code: ValidationException" in ended["cause"]
