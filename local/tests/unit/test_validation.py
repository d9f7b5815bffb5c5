"""The validator of requests: patterns, constraints and the services' errors."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st
from moto.core.exceptions import ServiceException
from moto.core.responses import BaseResponse
from moto.core.utils import get_service_model

from local.aws.validation import patterns, requests
from local.aws.validation.parsers import PARSERS

# The services that deploy, the pipeline, the Lambdas and the tests call.
SERVICES = [
    *("apigateway", "application-autoscaling", "cloudformation", "cloudwatch", "codebuild", "ecr", "events"),
    *("firehose", "iam", "lambda", "logs", "s3", "sagemaker", "sagemaker-runtime", "secretsmanager"),
    *("service-quotas", "sns", "sqs", "stepfunctions", "sts", "xray"),
]
JOB_NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"


def matches(pattern: str, value: str) -> bool:
    compiled = patterns.compiled(pattern)
    assert compiled is not None
    return compiled.fullmatch(value) is not None


def refusal(service: str, operation: str, parameters: dict[str, Any]) -> str:
    with pytest.raises(ServiceException) as refused:
        requests.check(service, operation, parameters)
    return f"{refused.value.code}: {refused.value.message}"


@pytest.mark.parametrize("service", SERVICES)
def test_no_pattern_of_a_service_in_use_is_skipped(service: str) -> None:
    shapes = get_session().get_service_model(service)._service_description["shapes"]
    skipped = {
        name
        for name, shape in shapes.items()
        if "pattern" in shape and not patterns.compiled(shape["pattern"])
    }
    assert skipped == set()


@pytest.mark.parametrize("service", SERVICES)
def test_every_request_to_a_service_in_use_passes_the_hook(service: str) -> None:
    package = {"lambda": "awslambda"}.get(service, service.replace("-", ""))
    handlers = importlib.import_module(f"moto.{package}.urls").url_paths.values()
    others = {handler.__qualname__ for handler in handlers if handler.__name__ != "dispatch"}
    # The others answer addresses that are no calls of the API. S3 has a hook of its own.
    assert others <= {
        "APIGatewayResponse.get_rest_api_without_id",
        "ApiGatewayV2Response.get_api_without_id",
        "CloudFormationResponse.cfnresponse",
        "S3Response.ambiguous_dispatch",
        "S3Response.bucket_dispatch",
        "S3Response.key_dispatch",
        "SNSResponse.serve_pem",
    }
    classes = vars(importlib.import_module(f"moto.{package}.responses")).values()
    own = [one for one in classes if isinstance(one, type) and one is not BaseResponse]
    assert [one for one in own if {"call_action", "dispatch", "_dispatch"} & vars(one).keys()] == []


@pytest.mark.parametrize(
    ("pattern", "accepted", "refused"),
    [
        (JOB_NAME, ["a", "a-b", "a" * 63], ["", "a_b", "-a", "a" * 64, "a\n"]),
        (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", ["", "día 1", "名前=٣"], ["a\tb", "a#b", "a\n"]),
        (r"\p{Print}+", ["a b~"], ["", "é", "a\n"]),
        (r"\A\S[\p{Print}]*\z", ["ab c"], [" a", "é\n"]),
        (r"[\w-_]*", ["a-_9"], ["é", "a b"]),
        (r"[\w- ]*", ["a-b c"], ["a.b"]),
        (r"\d{12}", ["123456789012"], ["١٢٣٤٥٦٧٨٩٠١٢"]),
        (r"[^\]\[]+", ["a"], ["[", "]"]),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*", ["a\t😀"], ["\x00", "a\n"]),
        (r"a++b", ["aab"], ["b"]),
    ],
)
def test_patterns_have_the_meaning_of_java(pattern: str, accepted: list[str], refused: list[str]) -> None:
    assert [value for value in accepted if not matches(pattern, value)] == []
    assert [value for value in refused if matches(pattern, value)] == []


def test_a_pattern_that_cannot_be_expressed_is_skipped() -> None:
    assert patterns.compiled(r"[\p{all}]*") is None


@given(st.text(st.sampled_from("aZ09-_ é\n"), max_size=70))
def test_a_job_name_is_accepted_exactly_if_it_has_the_documented_form(name: str) -> None:
    ascii_names = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    documented = 1 <= len(name.replace("-", "")) <= 63 and set(name) <= {*ascii_names, "-"}
    documented = documented and len(name) <= 63 and name[0] != "-" and name[-1] != "-"
    found = requests.violations("sagemaker", "DescribeTrainingJob", {"TrainingJobName": name})
    assert (found == []) == documented


@given(st.integers(-5, 1000), st.integers(0, 12_000))
def test_bounds_of_numbers_are_those_of_the_model(timeout_s: int, memory_mb: int) -> None:
    parameters = {"FunctionName": "f", "Timeout": timeout_s, "MemorySize": memory_mb}
    wrong = {found.path for found in requests.violations("lambda", "UpdateFunctionConfiguration", parameters)}
    members = get_service_model("lambda").operation_model("UpdateFunctionConfiguration").input_shape.members
    bounds = members["MemorySize"].metadata
    assert ("timeout" in wrong) == (timeout_s < 1)
    assert ("memorySize" in wrong) == (not bounds["min"] <= memory_mb <= bounds["max"])


def test_the_error_names_the_member_its_value_and_its_constraint() -> None:
    assert refusal("sagemaker", "DescribeTrainingJob", {"TrainingJobName": "a_b"}) == (
        "ValidationException: 1 validation error detected: Value 'a_b' at 'trainingJobName' failed to satisfy "
        f"constraint: Member must satisfy regular expression pattern: {JOB_NAME}"
    )


def test_every_violation_is_reported_with_its_path() -> None:
    message = refusal(
        "sagemaker",
        "AddTags",
        {"Tags": [{"Key": "ok", "Value": "v"}, {"Key": "", "Value": "v" * 257}, {"Key": "k"}]},
    )
    assert message.startswith("ValidationException: 4 validation errors detected: ")
    assert "Value null at 'resourceArn' failed to satisfy constraint: Member must not be null" in message
    assert "Value '' at 'tags.2.member.key' failed" in message
    assert (
        "at 'tags.2.member.value' failed to satisfy constraint: Member must have length less than" in message
    )
    assert "Value null at 'tags.3.member.value' failed" in message


def test_members_of_lists_and_maps_are_reported_together() -> None:
    job = {
        "Environment": {"K" * 513: "v"},
        "TrainingJobName": "a",
        "RoleArn": "arn:aws:iam::123456789012:role/r",
    }
    message = refusal("sagemaker", "CreateTrainingJob", job)
    assert (
        "Value at 'environment' failed to satisfy constraint: Map keys must satisfy constraint: [" in message
    )
    names = {"logGroupNames": ["a", "b c"], "startTime": 0, "endTime": 1, "queryString": "q"}
    message = refusal("logs", "StartQuery", names)
    assert "Value '[a, b c]' at 'logGroupNames' failed to satisfy constraint: Member must satisfy" in message


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "code"),
    [
        ("cloudformation", "DescribeChangeSet", {"ChangeSetName": ""}, "ValidationError"),
        ("cloudwatch", "DescribeAlarms", {"MaxRecords": 0}, "ValidationError"),
        ("codebuild", "BatchGetBuilds", {"ids": []}, "InvalidInputException"),
        ("ecr", "CreateRepository", {"repositoryName": "UPPER"}, "InvalidParameterException"),
        ("iam", "GetRole", {"RoleName": "a b"}, "ValidationError"),
        ("logs", "CreateLogGroup", {"logGroupName": "a b"}, "InvalidParameterException"),
        ("apigateway", "GetGatewayResponse", {"restApiId": "a", "responseType": "b"}, "BadRequestException"),
        ("xray", "PutTraceSegments", {}, "InvalidRequestException"),
        ("s3", "PutObject", {"Bucket": "b", "Key": "k", "StorageClass": "COLD"}, "InvalidArgument"),
        (
            "s3",
            "PutBucketVersioning",
            {"Bucket": "b", "VersioningConfiguration": {"Status": "On"}},
            "MalformedXML",
        ),
    ],
)
def test_each_service_has_its_own_code(
    service: str, operation: str, parameters: dict[str, Any], code: str
) -> None:
    assert refusal(service, operation, parameters).startswith(f"{code}: ")


def test_ecr_words_its_constraints_in_its_own_way() -> None:
    assert "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must have length" in refusal(
        "ecr", "CreateRepository", {"repositoryName": "a"}
    )


def test_s3_accepts_the_spelling_of_filter_rules_that_boto3_uses() -> None:
    rule = {"Key": {"FilterRules": [{"Name": "Prefix", "Value": "raw/"}]}}
    queue = {"QueueArn": "arn:aws:sqs:us-east-1:123456789012:q", "Events": ["s3:ObjectCreated:*"]}
    requests.check(
        "s3",
        "PutBucketNotificationConfiguration",
        {"Bucket": "b", "NotificationConfiguration": {"QueueConfigurations": [{**queue, "Filter": rule}]}},
    )


def test_a_recursive_structure_is_checked_at_every_depth() -> None:
    inner = {"SubExpressions": [{"Filters": [{"Name": ""}]}]}
    search = {"Resource": "TrainingJob", "SearchExpression": {"SubExpressions": [inner]}}
    path = "searchExpression.subExpressions.1.member.subExpressions.1.member.filters.1.member.name"
    assert {found.path for found in requests.violations("sagemaker", "Search", search)} == {path}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"TrainingJobName": 5}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"Tags": {"Key": "k"}}', "Expected list or null"),
        (b'{"HyperParameters": ["k"]}', "Expected map or null"),
        (b'{"StoppingCondition": "soon"}', "a structure is expected"),
        (b'{"StoppingCondition": {"MaxRuntimeInSeconds": "60"}}', "can not be converted to an Integer"),
        (b'{"EnableNetworkIsolation": "true"}', "can not be converted to a Boolean"),
        (b"not JSON", "Expecting value"),
    ],
)
def test_json_of_another_type_is_unreadable(body: bytes, reason: str) -> None:
    operation = get_service_model("sagemaker").operation_model("CreateTrainingJob")
    request = {"body": body, "headers": {}, "values": {}, "url_params": {}}
    with pytest.raises(ValueError, match=reason):
        PARSERS["json"](operation).parse(request)
