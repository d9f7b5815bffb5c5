"""Every principal acts under its own policies, and a refusal has the form of its service."""

from __future__ import annotations

import json
import urllib.request
import uuid
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.environment import SNOWFLAKE_ACCESS_KEY, SNOWFLAKE_SECRET_KEY, SNOWFLAKE_USER_ARN
from local.testing import wait_for
from local.tests.integration.aws.clients import EVERYTHING, Aws, document
from local.tests.integration.aws.sagemaker import ended_training, prepare, training_request

pytestmark = pytest.mark.local_stack

READER = """
import boto3, botocore.exceptions
s3 = boto3.client("s3")
def handler(event, context):
    try:
        return getattr(s3, event.pop("do"))(**event).get("Errors", "done")
    except botocore.exceptions.ClientError as error:
        return [error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]]
"""


def allow(action: str | list[str], resource: str, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def role(aws: Aws, *statements: dict[str, Any]) -> str:
    return aws.make_role(f"role-{uuid.uuid4().hex[:8]}", *statements)


def outcome(aws: Aws, function: str, do: str, **arguments: Any) -> Any:
    """Return the result of a method of S3 that the function calls under its role."""
    result, error = aws.invoke(function, {"do": do, **arguments})
    assert error is None, result
    return result


def test_a_function_may_do_what_its_own_role_allows_and_nothing_else(aws: Aws) -> None:
    bucket = aws.make_bucket()
    for key in ("a/1", "b/1"):
        aws.client("s3").put_object(Bucket=bucket, Key=key, Body=b"x")
    arn = role(aws, allow("s3:DeleteObject", f"arn:aws:s3:::{bucket}/a/*"))
    function = aws.make_function(READER, Role=arn)
    assert outcome(aws, function, "delete_object", Bucket=bucket, Key="a/1") == "done"
    assert outcome(aws, function, "delete_object", Bucket=bucket, Key="b/1") == ["AccessDenied", 403]
    assert outcome(aws, function, "list_objects_v2", Bucket=bucket) == ["AccessDenied", 403]
    iam, name = aws.client("iam"), arn.rpartition("/")[2]
    iam.put_role_policy(RoleName=name, PolicyName="more", PolicyDocument=document(EVERYTHING))
    assert outcome(aws, function, "list_objects_v2", Bucket=bucket) == "done"
    denial = document({"Effect": "Deny", "Action": "s3:List*", "Resource": "*"})
    iam.put_role_policy(RoleName=name, PolicyName="less", PolicyDocument=denial)
    assert outcome(aws, function, "list_objects_v2", Bucket=bucket) == ["AccessDenied", 403]


def test_a_missing_key_is_a_404_only_for_a_role_that_may_list_it(aws: Aws) -> None:
    bucket = aws.make_bucket()
    arn = role(
        aws,
        allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*"),
        allow("s3:ListBucket", f"arn:aws:s3:::{bucket}", Condition={"StringLike": {"s3:prefix": "listed/*"}}),
    )
    function = aws.make_function(READER, Role=arn)
    assert outcome(aws, function, "get_object", Bucket=bucket, Key="listed/x") == ["NoSuchKey", 404]
    assert outcome(aws, function, "get_object", Bucket=bucket, Key="other/x") == ["AccessDenied", 403]
    assert outcome(aws, function, "head_object", Bucket=bucket, Key="other/x") == ["403", 403]


def test_a_batch_of_deletes_reports_the_keys_that_are_refused(aws: Aws) -> None:
    bucket = aws.make_bucket()
    s3 = aws.client("s3")
    for key in ("a/1", "b/1"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    function = aws.make_function(
        READER, Role=role(aws, allow("s3:DeleteObject", f"arn:aws:s3:::{bucket}/a/*"))
    )
    wanted = {"Objects": [{"Key": "a/1"}, {"Key": "b/1"}]}
    (refused,) = outcome(aws, function, "delete_objects", Bucket=bucket, Delete=wanted)
    assert (refused["Key"], refused["Code"]) == ("b/1", "AccessDenied")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["b/1"]


def test_an_operation_that_is_not_in_the_table_says_where_to_add_it(aws: Aws) -> None:
    session = assumed(aws, role(aws, EVERYTHING))
    with pytest.raises(ClientError, match=r"AccessDeniedException.*operations\.py"):
        session("dynamodb").list_tables()


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("s3", lambda client: client.list_buckets(), "InvalidAccessKeyId"),
        ("secretsmanager", lambda client: client.list_secrets(), "UnrecognizedClientException"),
        ("lambda", lambda client: client.list_functions(), "UnrecognizedClientException"),
        ("iam", lambda client: client.list_roles(), "InvalidClientTokenId"),
    ],
)
def test_unknown_credentials_are_refused_in_the_form_of_the_service(
    aws: Aws, service: str, call: Any, code: str
) -> None:
    client = client_with(aws, {"AccessKeyId": "stranger", "SecretAccessKey": "x"})(service)
    with pytest.raises(ClientError) as refused:
        call(client)
    assert refused.value.response["Error"]["Code"] == code


def test_the_keys_of_a_session_are_refused_without_its_token(aws: Aws) -> None:
    given = aws.client("sts").assume_role(RoleArn=role(aws, EVERYTHING), RoleSessionName="test")
    keys = given["Credentials"]
    bucket = aws.make_bucket()
    assert client_with(aws, keys)("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    for token in (None, "another"):
        with pytest.raises(ClientError, match="InvalidAccessKeyId"):
            client_with(aws, {**keys, "SessionToken": token})("s3").list_objects_v2(Bucket=bucket)
    url = client_with(aws, keys)("s3").generate_presigned_url("list_objects_v2", {"Bucket": bucket})
    with urllib.request.urlopen(url, timeout=5) as response:
        assert b"<KeyCount>0</KeyCount>" in response.read()


def test_a_role_that_does_not_trust_a_service_is_refused_by_it(aws: Aws) -> None:
    trust = document(
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    )
    name = f"role-{uuid.uuid4().hex[:8]}"
    arn = aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        aws.make_function(READER, Role=arn)
    definition = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    with pytest.raises(ClientError, match=r"states\.amazonaws\.com"):
        aws.client("stepfunctions").create_state_machine(name=name, definition=definition, roleArn=arn)
    destination = {"RoleARN": arn, "BucketARN": "arn:aws:s3:::bucket"}
    with pytest.raises(ClientError, match="unable to assume role"):
        aws.client("firehose").create_delivery_stream(
            DeliveryStreamName=name, ExtendedS3DestinationConfiguration=destination
        )


def test_a_user_assumes_only_a_role_that_trusts_it_with_the_external_id(aws: Aws) -> None:
    bucket = aws.make_bucket()
    name = f"role-{uuid.uuid4().hex[:8]}"
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": SNOWFLAKE_USER_ARN},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "secret"}},
    }
    iam = aws.client("iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    allowed = document(allow("s3:ListBucket", f"arn:aws:s3:::{bucket}"))
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=allowed)
    keys = {"AccessKeyId": SNOWFLAKE_ACCESS_KEY, "SecretAccessKey": SNOWFLAKE_SECRET_KEY}
    sts = client_with(aws, keys)("sts")
    for external_id in ({}, {"ExternalId": "other"}):
        with pytest.raises(ClientError, match="not authorized to perform: sts:AssumeRole"):
            sts.assume_role(RoleArn=arn, RoleSessionName="test", **external_id)
    with pytest.raises(ClientError, match="not authorized"):
        assumed(aws, arn)
    given = sts.assume_role(RoleArn=arn, RoleSessionName="test", ExternalId="secret")["Credentials"]
    s3 = client_with(aws, given)("s3")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")


def test_a_state_machine_fails_on_a_call_that_its_role_does_not_allow(aws: Aws) -> None:
    function = aws.make_function("def handler(event, context): return event")
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:{function}"
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True}
    definition = {"StartAt": "T", "States": {"T": {**task, "Parameters": {"FunctionName": arn}}}}
    states = aws.client("stepfunctions")
    ended = {}
    for granted in (allow("lambda:InvokeFunction", arn), allow("sns:Publish", "*")):
        machine = states.create_state_machine(
            name=f"machine-{uuid.uuid4().hex[:8]}",
            definition=json.dumps(definition),
            roleArn=role(aws, granted),
        )
        run = states.start_execution(stateMachineArn=machine["stateMachineArn"])["executionArn"]
        assert wait_for(partial(has_ended, states, run), 30)
        described = states.describe_execution(executionArn=run)
        ended[granted["Action"]] = (described["status"], described.get("error"))
    assert ended["lambda:InvokeFunction"] == ("SUCCEEDED", None)
    assert ended["sns:Publish"] == ("FAILED", "Lambda.AccessDeniedException")


def test_a_role_that_may_not_pass_another_role_starts_no_job(aws: Aws) -> None:
    client = assumed(aws, role(aws, allow("sagemaker:*", "*")))("sagemaker")
    with pytest.raises(ClientError, match=r"AccessDeniedException.*iam:PassRole"):
        client.create_training_job(**training_request("bucket", "not-passed"))


def test_a_training_job_whose_role_may_not_read_its_data_fails_with_the_reason(aws: Aws) -> None:
    name = f"job-{uuid.uuid4().hex[:8]}"
    arn = role(aws, allow(["ecr:*", "logs:*"], "*"))
    aws.client("sagemaker").create_training_job(**{**training_request(prepare(aws), name), "RoleArn": arn})
    job = ended_training(aws, name)
    assert job["TrainingJobStatus"] == "Failed"
    assert "is not authorized to perform: s3:" in job["FailureReason"]


def has_ended(states: Any, run: str) -> bool:
    return bool(states.describe_execution(executionArn=run)["status"] != "RUNNING")


def assumed(aws: Aws, arn: str) -> Any:
    """Return a factory of clients that act under a role, which the administrator assumes."""
    given = aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    return client_with(aws, given)


def client_with(aws: Aws, given: dict[str, Any]) -> Any:
    """Return a factory of clients with these credentials."""
    session = boto3.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given.get("SessionToken"),
        region_name="us-east-1",
    )
    return lambda service: session.client(service, endpoint_url=aws.stack.aws_url)
