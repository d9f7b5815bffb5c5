"""State after kill -9 of the AWS process: objects, acknowledged records, endpoints, aborted executions."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local import processes
from local.environment import Stack
from local.ports import free_port_base
from local.testing import kill_aws, running_stack, start_aws, wait_for
from local.tests.integration.aws.clients import EVERYTHING, ROLE, Aws
from local.tests.integration.aws.sagemaker import invoke, make_model, make_repository, settled_endpoint

pytestmark = pytest.mark.local_stack

WAITING = json.dumps({"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 99, "End": True}}})
PASSING = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Aws, dict[str, Any]]]:
    """Fill an AWS process with resources, kill it, start it again; yield it and what it contained before."""
    stack = Stack(free_port_base(), tmp_path_factory.mktemp("killed-aws"))
    with running_stack(stack.state, stack.port_base, warehouse=False) as environment:
        aws = Aws(environment, stack)
        held = _create_resources(aws)
        kill_aws(stack)
        start_aws(stack)
        yield aws, held


def _create_resources(aws: Aws) -> dict[str, Any]:
    aws.make_role(ROLE.rpartition("/")[2], EVERYTHING)
    s3, states = aws.client("s3"), aws.client("stepfunctions")
    s3.create_bucket(Bucket="kept")
    s3.put_object(Bucket="kept", Key="a/b", Body=b"old")
    s3.put_object(Bucket="kept", Key="a/b", Body=b"new", ContentEncoding="gzip", Metadata={"k": "v"})
    s3.put_object(Bucket="kept", Key="deleted", Body=b"x")
    s3.delete_object(Bucket="kept", Key="deleted")
    s3.create_bucket(Bucket="gone")
    s3.delete_bucket(Bucket="gone")
    aws.client("firehose").create_delivery_stream(
        DeliveryStreamName="events",
        ExtendedS3DestinationConfiguration={
            "RoleARN": ROLE,
            "BucketARN": "arn:aws:s3:::kept",
            "Prefix": "raw/",
            "BufferingHints": {"IntervalInSeconds": 300, "SizeInMBs": 5},
            "CompressionFormat": "GZIP",
        },
    )
    for n in range(3):
        aws.client("firehose").put_record(DeliveryStreamName="events", Record={"Data": b"%d\n" % n})
    make_model(aws, "kept", "model")
    aws.client("sagemaker").create_endpoint(EndpointName="shop", EndpointConfigName="model")
    settled_endpoint(aws, "shop")
    worker = aws.make_function("import os\ndef handler(event, context): return os.getpid()")
    aws.invoke(worker)
    held: dict[str, Any] = {"head": s3.head_object(Bucket="kept", Key="a/b")}
    for name, definition in (("waiting", WAITING), ("passing", PASSING)):
        arn = states.create_state_machine(name=name, definition=definition, roleArn=ROLE)["stateMachineArn"]
        held[name] = states.start_execution(stateMachineArn=arn, name="run-1")["executionArn"]
    wait_for(lambda: states.describe_execution(executionArn=held["passing"])["status"] == "SUCCEEDED")
    children = sorted((aws.stack.pids / "children").glob("*.json"))
    held["orphans"] = [processes.read_record(path) for path in children]
    return held


def test_objects_survive_with_their_metadata_and_deleted_ones_stay_deleted(
    before: tuple[Aws, dict[str, Any]],
) -> None:
    aws, held = before
    s3 = aws.client("s3")
    got = s3.get_object(Bucket="kept", Key="a/b")
    assert got["Body"].read() == b"new"
    for name in ("ETag", "ContentEncoding", "Metadata", "ContentLength", "LastModified"):
        assert got[name] == held["head"][name]
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="kept", Key="deleted")
    with pytest.raises(ClientError, match="404"):
        s3.head_bucket(Bucket="gone")


def test_a_deployment_after_the_restart_adopts_its_bucket(before: tuple[Aws, dict[str, Any]]) -> None:
    aws, _ = before
    bucket = {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain", "Properties": {"BucketName": "kept"}}
    cloudformation = aws.client("cloudformation")
    cloudformation.create_change_set(
        StackName="again",
        ChangeSetName="first",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps({"Resources": {"Kept": bucket}}),
        ImportExistingResources=True,
    )
    cloudformation.execute_change_set(StackName="again", ChangeSetName="first")
    stack = aws.client("cloudformation").describe_stacks(StackName="again")["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert aws.client("s3").get_object(Bucket="kept", Key="a/b")["Body"].read() == b"new"


def test_acknowledged_records_are_delivered(before: tuple[Aws, dict[str, Any]]) -> None:
    aws, _ = before
    s3 = aws.client("s3")
    (found,) = wait_for(lambda: s3.list_objects_v2(Bucket="kept", Prefix="raw/").get("Contents"))
    body = s3.get_object(Bucket="kept", Key=found["Key"])["Body"].read()
    assert gzip.decompress(body) == b"0\n1\n2\n"
    assert not list((aws.stack.state / "firehose" / "events").glob("*.buffer"))


def test_the_endpoint_serves_again(before: tuple[Aws, dict[str, Any]]) -> None:
    aws, _ = before
    endpoint = settled_endpoint(aws, "shop")
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "model")
    assert invoke(aws, "shop", {"k": 1})["version"] == "model"


def test_a_repository_that_is_created_again_has_its_images(before: tuple[Aws, dict[str, Any]]) -> None:
    aws, _ = before
    make_repository(aws)
    (image,) = aws.client("ecr").describe_images(repositoryName="test-serving")["imageDetails"]
    assert image["imageTags"] == ["1"]


def test_workers_and_model_servers_of_the_killed_process_are_gone(before: tuple[Aws, dict[str, Any]]) -> None:
    _, held = before
    assert {orphan["kind"] for orphan in held["orphans"]} == {"endpoint", "lambda"}
    for orphan in held["orphans"]:
        assert processes.started_at(orphan["pid"]) != orphan["started_at"]


def test_executions_are_listed_and_those_that_were_running_are_aborted(
    before: tuple[Aws, dict[str, Any]],
) -> None:
    aws, held = before
    states = aws.client("stepfunctions")
    for name, definition, status in (("waiting", WAITING, "ABORTED"), ("passing", PASSING, "SUCCEEDED")):
        arn = states.create_state_machine(name=name, definition=definition, roleArn=ROLE)["stateMachineArn"]
        listed = states.list_executions(stateMachineArn=arn)["executions"]
        assert [(item["name"], item["status"]) for item in listed] == [("run-1", status)]
        assert states.describe_execution(executionArn=held[name])["status"] == status


def test_no_process_survives_the_stop_of_the_stack(tmp_path: Path) -> None:
    stack = Stack(free_port_base(), tmp_path)
    with running_stack(stack.state, stack.port_base, warehouse=False) as environment:
        aws = Aws(environment, stack)
        aws.make_role(ROLE.rpartition("/")[2], EVERYTHING)
        name = aws.make_function("import os\ndef handler(event, context): return os.getpid()")
        worker, _ = aws.invoke(name)
        bucket = aws.make_bucket()
        make_model(aws, bucket, "model")
        aws.client("sagemaker").create_endpoint(EndpointName="shop", EndpointConfigName="model")
        settled_endpoint(aws, "shop")
        children = [processes.read_record(path) for path in (stack.pids / "children").glob("*.json")]
    pids = [child["pid"] for child in children if child]
    assert worker in pids
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
