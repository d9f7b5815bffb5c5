"""CloudFormation's refusals: imports that AWS does not do, and properties that a service does not accept."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from local.tests.integration.aws.clients import ROLE, Aws

pytestmark = pytest.mark.local_stack


def bucket(name: Any, **more: Any) -> dict[str, Any]:
    return {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}, **more}


def execute(
    aws: Aws, name: str, resources: dict[str, Any], kind: str = "CREATE", imports: bool = True
) -> tuple[str, dict[str, str], list[str]]:
    """Execute a change set; return the stack's status, its actions by resource, and its reasons of failure."""
    cloudformation = aws.client("cloudformation")
    change_set = cloudformation.create_change_set(
        StackName=name,
        ChangeSetName=f"c{uuid.uuid4().hex}",
        ChangeSetType=kind,
        TemplateBody=json.dumps({"Resources": resources}),
        ImportExistingResources=imports,
    )["Id"]
    changes = cloudformation.describe_change_set(ChangeSetName=change_set, StackName=name)["Changes"]
    actions = {one["ResourceChange"]["LogicalResourceId"]: one["ResourceChange"]["Action"] for one in changes}
    cloudformation.execute_change_set(ChangeSetName=change_set, StackName=name, RetainExceptOnCreate=True)
    status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    return status, actions, [e["ResourceStatusReason"] for e in events if "FAILED" in e["ResourceStatus"]]


def unique() -> str:
    return f"stack-{uuid.uuid4().hex[:10]}"


def test_an_existing_bucket_with_a_literal_name_and_a_policy_is_imported(aws: Aws) -> None:
    name = aws.make_bucket()
    status, actions, _ = execute(aws, unique(), {"Kept": bucket(name, DeletionPolicy="Retain")})
    assert (status, actions) == ("CREATE_COMPLETE", {"Kept": "Import"})


@pytest.mark.parametrize("why", ["computed name", "no policy", "not asked"])
def test_other_existing_buckets_are_not_imported_and_the_creation_is_rolled_back(aws: Aws, why: str) -> None:
    name = aws.make_bucket()
    wanted: Any = {"Fn::Sub": name} if why == "computed name" else name
    policy = {} if why == "no policy" else {"DeletionPolicy": "Retain"}
    resources = {"New": bucket(f"{name}-new", DeletionPolicy="Retain"), "Kept": bucket(wanted, **policy)}
    status, actions, reasons = execute(aws, unique(), resources, imports=why != "not asked")
    assert status == "ROLLBACK_COMPLETE"
    assert actions["Kept"] == "Add"
    assert reasons == [f"{name} already exists"]
    buckets = {one["Name"] for one in aws.client("s3").list_buckets()["Buckets"]}
    assert name in buckets
    assert f"{name}-new" not in buckets


def test_a_property_that_the_service_refuses_fails_its_resource(aws: Aws) -> None:
    group = {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "a b"}}
    status, _, reasons = execute(aws, unique(), {"Group": group})
    assert status == "ROLLBACK_COMPLETE"
    (reason,) = reasons
    assert "Value 'a b' at 'logGroupName' failed to satisfy constraint" in reason


def test_an_update_that_a_service_refuses_is_rolled_back(aws: Aws) -> None:
    name, alarm = unique(), {"ComparisonOperator": "LessThanThreshold", "EvaluationPeriods": 1}
    resources = {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm}}
    assert execute(aws, name, resources)[0] == "CREATE_COMPLETE"
    resources["Alarm"]["Properties"] = {**alarm, "EvaluationPeriods": 0}
    resources["Second"] = {"Type": "AWS::CloudWatch::Alarm", "Properties": {**alarm, "EvaluationPeriods": 0}}
    status, _, reasons = execute(aws, name, resources, "UPDATE")
    assert status == "UPDATE_ROLLBACK_COMPLETE"
    assert "'evaluationPeriods' failed to satisfy constraint" in reasons[0]


def test_the_version_in_firehoses_keys_grows_with_each_change_of_the_stream(aws: Aws) -> None:
    name, target = unique(), aws.make_bucket()
    destination = {"BucketARN": f"arn:aws:s3:::{target}", "RoleARN": ROLE, "Prefix": "a/"}
    stream = {
        "Type": "AWS::KinesisFirehose::DeliveryStream",
        "Properties": {"DeliveryStreamName": name, "ExtendedS3DestinationConfiguration": destination},
    }
    assert execute(aws, name, {"Stream": stream})[0] == "CREATE_COMPLETE"
    destination["Prefix"] = "b/"
    assert execute(aws, name, {"Stream": stream}, "UPDATE")[0] == "UPDATE_COMPLETE"
    described = aws.client("firehose").describe_delivery_stream(DeliveryStreamName=name)
    assert described["DeliveryStreamDescription"]["VersionId"] == "2"


def test_a_secret_without_a_generated_value_is_created_empty_and_no_update_touches_its_value(
    aws: Aws,
) -> None:
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-secretsmanager-secret.html
    name, secrets = unique(), aws.client("secretsmanager")
    secret: dict[str, Any] = {"Type": "AWS::SecretsManager::Secret", "Properties": {"Name": name}}
    status, _, _ = execute(aws, name, {"Empty": secret})
    assert status == "CREATE_COMPLETE"
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")
    secrets.put_secret_value(SecretId=name, SecretString="issued")
    described = {**secret, "Properties": {**secret["Properties"], "Description": "now with a description"}}
    status, _, _ = execute(aws, name, {"Empty": described}, kind="UPDATE")
    assert status == "UPDATE_COMPLETE"
    assert secrets.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["SecretString"] == "issued"
