"""The commands that deploy and destroy a stage, against a local AWS and Snowflake that only this test uses."""

import gzip
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from deploy.lambdas import LAMBDAS
from deploy.secret_key import issue, read
from deploy.stages import read_stage
from functions.platform.catalogue_store import read_state
from functions.platform.secret_keys import digest
from local.testing import running_stack, wait_for
from testing.deployment import copy_repository, run

LOCAL = read_stage("local")
BUCKETS = {LOCAL.events_bucket(LOCAL.account_id), LOCAL.models_bucket(LOCAL.account_id)}

pytestmark = pytest.mark.local_stack


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with running_stack(tmp_path_factory.mktemp("state")) as environment:
        yield environment


def client(service: str, environment: dict[str, str]) -> Any:
    return boto3.client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


def status_of(request: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def changes_reach_the_state_once(environment: dict[str, str], s3: Any, secret_key: str) -> None:
    """PUT /catalogue by way of the gateway, the bucket's event, the rule and the Lambda, each with its own rights."""
    body = gzip.compress(b'{"item_id": "boot", "availability": "out_of_stock"}\n')
    sent = urllib.request.Request(
        f"{environment['TUGBOAT_LOCAL_GATEWAY_URL']}/{LOCAL.api_stage}/catalogue", data=body, method="PUT"
    )
    sent.add_header("Content-Encoding", "gzip")
    sent.add_header("Idempotency-Key", "once")
    assert status_of(sent) == 401
    sent.add_header("Authorization", f"Bearer {secret_key}")
    assert [status_of(sent), status_of(sent)] == [200, 200]
    buckets = LOCAL.events_bucket(LOCAL.account_id), LOCAL.models_bucket(LOCAL.account_id)
    assert s3.list_objects_v2(Bucket=buckets[0], Prefix="catalogue/demo/")["KeyCount"] == 1

    def is_sold_out() -> bool:
        state = read_state(s3, buckets[1], "demo").state
        return state is not None and not state.is_available("boot")

    wait_for(is_sold_out, 60)


def test_a_stage_is_deployed_twice_destroyed_with_its_data_kept_adopted_again_and_destroyed_with_it(
    copy: Path, environment: dict[str, str]
) -> None:
    s3 = client("s3", environment)
    config = (copy / ".chalice" / "config.json").read_text()

    dry = run("deploy", copy, environment, "--dry-run")
    assert "nothing was changed" in dry
    assert s3.list_buckets()["Buckets"] == []

    first = run("deploy", copy, environment)
    assert "training code" in first
    assert "execute-api" in first
    functions = client("lambda", environment).list_functions()["Functions"]
    assert len(functions) == len(LAMBDAS)
    assert {function["Runtime"] for function in functions} == {"python3.11"}
    machine = f"arn:aws:states:us-east-1:{LOCAL.account_id}:stateMachine:{LOCAL.prefix}-pipeline"
    definition = client("stepfunctions", environment).describe_state_machine(stateMachineArn=machine)[
        "definition"
    ]
    assert f"function:{LOCAL.prefix}-load" in definition
    assert "${" not in definition
    secrets = client("secretsmanager", environment)
    key = secrets.get_secret_value(SecretId=LOCAL.receipts_secret)["SecretString"]
    assert len(key) == 64
    role = client("iam", environment).get_role(RoleName=f"{LOCAL.prefix}-snowflake")["Role"]
    trusted = role["AssumeRolePolicyDocument"]["Statement"][0]
    assert trusted["Principal"] == {"AWS": "arn:aws:iam::999999999999:user/local-snowflake"}
    assert trusted["Condition"]["StringEquals"]["sts:ExternalId"].startswith("LOCAL_SFCRole=2_")
    streams = client("firehose", environment).list_delivery_streams()["DeliveryStreamNames"]
    assert set(streams) == {f"{LOCAL.prefix}-events", f"{LOCAL.prefix}-rejected"}
    publish = next(one for one in functions if one["FunctionName"] == f"{LOCAL.prefix}-publish")
    image = publish["Environment"]["Variables"]["TUGBOAT_INFERENCE_IMAGE"]
    repository, _, tag = image.partition("/")[2].partition(":")
    ecr = client("ecr", environment)
    (found,) = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])["imageDetails"]
    assert found["imageTags"] == [tag]
    assert f"serving image {tag}: built" in first
    assert (copy / ".chalice" / "config.json").read_text() == config, "the clone must stay clean"

    sent = urllib.request.Request(
        f"{environment['TUGBOAT_LOCAL_GATEWAY_URL']}/{LOCAL.api_stage}/events", data=b"{}", method="POST"
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):  # without a key
        urllib.request.urlopen(sent, timeout=60)
    secret_key = issue(LOCAL, "demo", secrets)
    for authorization, status in ((f"Bearer {secret_key}", 200), ("Bearer wrong", 401)):
        sent.add_header("Authorization", authorization)
        assert status_of(sent) == status
    changes_reach_the_state_once(environment, s3, secret_key)
    streams_of = client("logs", environment).describe_log_streams
    assert streams_of(logGroupName=f"/aws/lambda/{LOCAL.prefix}-collect")["logStreams"]
    assert not streams_of(logGroupName=f"/aws/lambda/{LOCAL.prefix}")["logStreams"]
    concurrency = client("lambda", environment).get_function_concurrency(
        FunctionName=f"{LOCAL.prefix}-collect"
    )
    assert concurrency["ReservedConcurrentExecutions"] == LOCAL.collect_max_concurrency

    # Another clone has no record of Chalice's: it must find the API, not make a second one.
    (copy / ".chalice" / "deployed" / "local.json").unlink()
    second = run("deploy", copy, environment)
    assert len(client("apigateway", environment).get_rest_apis()["items"]) == 1
    assert "unchanged" in second
    assert "there already" in second
    assert "published" not in second
    assert f"serving image {tag}: there already" in second
    kept = secrets.get_secret_value(SecretId=LOCAL.receipts_secret, VersionStage="AWSCURRENT")
    assert kept["SecretString"] == key
    assert [one["sha256"] for one in read(LOCAL, secrets)["demo"]] == [digest(secret_key)]

    s3.put_object(Bucket=LOCAL.events_bucket(LOCAL.account_id), Key="raw/2026/01/01/00/a.gz", Body=b"kept")
    destroyed = run("deploy.destroy", copy, environment)
    assert "nothing else is left" in destroyed
    assert {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} == BUCKETS
    assert ecr.describe_repositories()["repositories"] == []
    assert client("codebuild", environment).list_projects()["projects"] == []
    names = {secret["Name"] for secret in secrets.list_secrets()["SecretList"]}
    assert names == {LOCAL.secret_name, LOCAL.admin_secret_name}, (
        "CloudFormation deletes the secret that it made, and no other"
    )
    assert list((copy / ".chalice" / "deployed").glob("local.json")) == []

    run("deploy", copy, environment)
    found = s3.get_object(Bucket=LOCAL.events_bucket(LOCAL.account_id), Key="raw/2026/01/01/00/a.gz")
    assert found["Body"].read() == b"kept", "a later deployment adopts the kept buckets"
    confirmed = ("--delete-data", "--confirm", LOCAL.events_bucket(LOCAL.account_id))
    run("deploy.destroy", copy, environment, *confirmed)
    assert s3.list_buckets()["Buckets"] == []
