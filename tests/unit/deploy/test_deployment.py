"""Steps of a deployment against moto in this process. tests/integration/deploy runs all of them against the local stack."""

import ast
import dataclasses
import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from deploy import build_layers, deployment, destroy, layer_versions, stack, template, training_code
from deploy.command import DeployError
from deploy.stages import read_stage
from functions.platform.s3_keys import champion_prefix

REPOSITORY = Path(__file__).resolve().parents[3]
LOCAL = read_stage("local")
ACCOUNT = LOCAL.account_id
MODELS = LOCAL.models_bucket(ACCOUNT)
PARAMETERS = template.stack_parameters(LOCAL, ACCOUNT, "0" * 64)

# moto warns of each resource type that it does not support.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")


def silent(_: str) -> None:
    """Discard a line of progress."""


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


def apply(template_: stack.Template, **more: Any) -> bool:
    cloudformation = boto3.client("cloudformation")
    return stack.apply(cloudformation, LOCAL.prefix, template_, PARAMETERS, silent, poll_s=0, **more)


def stored_template() -> stack.Template:
    boto3.client("s3").put_object(
        Bucket=MODELS, Key="code/t.json", Body=template.render(LOCAL, ACCOUNT).encode()
    )
    return stack.Template(url=f"https://{MODELS}.s3.us-east-1.amazonaws.com/code/t.json")


def first_template() -> stack.Template:
    return stack.Template(body=template.render_without_pipeline(LOCAL, ACCOUNT))


class Refusing:
    """CloudFormation that accepts the change set and fails to execute it."""

    def __init__(self) -> None:
        self.executed = False

    def describe_stacks(self, **_: Any) -> dict[str, Any]:
        return {
            "Stacks": [{"StackStatus": "UPDATE_ROLLBACK_COMPLETE" if self.executed else "UPDATE_COMPLETE"}]
        }

    def create_change_set(self, **_: Any) -> dict[str, str]:
        return {"Id": "change-set"}

    def describe_change_set(self, **_: Any) -> dict[str, str]:
        return {"Status": "CREATE_COMPLETE"}

    def execute_change_set(self, **given: Any) -> None:
        self.executed = True

    def describe_stack_events(self, **_: Any) -> dict[str, Any]:
        event = {"ResourceType": "AWS::S3::Bucket", "LogicalResourceId": "EventsBucket"}
        return {
            "StackEvents": [
                {
                    **event,
                    "ResourceStatus": "CREATE_FAILED",
                    "ResourceStatusReason": "Resource creation cancelled",
                },
                {**event, "ResourceStatus": "CREATE_FAILED", "ResourceStatusReason": "the name is taken"},
                {**event, "ResourceStatus": "UPDATE_IN_PROGRESS", "ResourceStatusReason": "User Initiated"},
                {
                    **event,
                    "ResourceStatus": "CREATE_FAILED",
                    "ResourceStatusReason": "of an earlier deployment",
                },
            ]
        }


def test_a_stack_is_created_then_given_its_pipeline_then_left_unchanged() -> None:
    assert apply(first_template())
    whole = stored_template()
    assert apply(whole)
    assert not apply(whole)


def test_a_dry_run_creates_nothing_and_prints_what_it_would_create() -> None:
    said: list[str] = []
    cloudformation = boto3.client("cloudformation")
    assert stack.apply(
        cloudformation, LOCAL.prefix, first_template(), PARAMETERS, said.append, dry_run=True, poll_s=0
    )
    assert any("AWS::S3::Bucket EventsBucket" in line for line in said)
    assert not stack.is_deployed(cloudformation, LOCAL.prefix)
    assert boto3.client("s3").list_buckets()["Buckets"] == []


def test_the_buckets_outlive_the_stack() -> None:
    apply(first_template())
    assert stack.delete(boto3.client("cloudformation"), LOCAL.prefix, poll_s=0)
    assert {bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]} == {
        MODELS,
        LOCAL.events_bucket(ACCOUNT),
    }


def test_a_failure_is_reported_with_the_resource_its_reason_and_the_next_step() -> None:
    with pytest.raises(stack.StackError) as failure:
        stack.apply(Refusing(), "tugboat-dev", first_template(), {}, silent, poll_s=0)
    assert "EventsBucket (AWS::S3::Bucket): the name is taken" in str(failure.value)
    assert "cancelled" not in str(failure.value)
    assert "earlier deployment" not in str(failure.value)
    assert "deploy again" in str(failure.value)


@pytest.mark.parametrize(("action", "removes"), [("Add", True), ("Import", False)])
def test_a_failed_deployment_removes_new_buckets_and_keeps_imported_ones(action: str, removes: bool) -> None:
    class Changing(Refusing):
        def describe_change_set(self, **_: Any) -> dict[str, Any]:
            changes = [{"ResourceChange": {"Action": "Add"}}, {"ResourceChange": {"Action": action}}]
            return {"Status": "CREATE_COMPLETE", "Changes": changes}

        def execute_change_set(self, **given: Any) -> None:
            assert given["RetainExceptOnCreate"] is removes
            super().execute_change_set()

    cloudformation = Changing()
    with pytest.raises(stack.StackError):
        stack.apply(cloudformation, "tugboat-dev", first_template(), {}, silent, poll_s=0)
    assert cloudformation.executed


def test_the_documented_steps_are_those_that_a_deployment_runs_in_the_same_order() -> None:
    tree = ast.parse((REPOSITORY / "deploy" / "deployment.py").read_text())
    steps = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "deploy")
    called = [
        node.func.id
        for node in ast.walk(steps)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    documented = (REPOSITORY / "docs" / "deploy.md").read_text().partition("in this order:")[2]
    assert [name for name in re.findall(r"`(\w+)`", documented) if name in called] == [
        *called,
        "write_chalice_config",
    ]


def test_a_missing_secret_is_refused_with_the_command_that_creates_it() -> None:
    secrets = boto3.client("secretsmanager")
    with pytest.raises(DeployError, match="aws secretsmanager create-secret"):
        deployment.require_secret(LOCAL, secrets)
    secrets.create_secret(Name=LOCAL.secret_name, SecretString="{}")
    deployment.require_secret(LOCAL, secrets)


def test_another_account_s_credentials_are_refused() -> None:
    other = dataclasses.replace(LOCAL, account_id="210987654321")
    with pytest.raises(DeployError, match="belongs to account 210987654321"):
        deployment.account_of(other, boto3.client("sts"))


def test_the_training_code_is_uploaded_once_as_archive_and_as_files() -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=MODELS)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("training_jobs/train.py")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"code"))
    code = training_code.TrainingCode(packed.getvalue(), "abc")
    assert training_code.upload(code, MODELS, s3)
    assert not training_code.upload(code, MODELS, s3)
    keys = {found["Key"] for found in s3.list_objects_v2(Bucket=MODELS)["Contents"]}
    assert keys == {"code/abc.tar.gz", "code/abc/training_jobs/train.py"}
    assert PARAMETERS["CodeUri"] == f"s3://{MODELS}/code/{'0' * 64}.tar.gz"
    assert PARAMETERS["CodePrefix"] == f"s3://{MODELS}/code/{'0' * 64}/"


def test_the_first_evaluation_finds_an_input_under_the_champion_s_prefix() -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=MODELS)
    training_code.reserve_champion_prefixes(LOCAL.shops, MODELS, s3)
    for shop in LOCAL.shops:
        assert s3.list_objects_v2(Bucket=MODELS, Prefix=champion_prefix(shop))["KeyCount"] == 1


def test_the_rules_may_invoke_their_lambdas_after_every_deployment() -> None:
    session = boto3.Session()
    made = deployment.Deployment(LOCAL, ACCOUNT, training_code.TrainingCode(b"", ""), "", session, silent)
    wanted = [
        {
            "FunctionName": f"tugboat-local-{step}",
            "StatementId": rule,
            "Action": "lambda:InvokeFunction",
            "Principal": "events.amazonaws.com",
            "SourceArn": f"arn:aws:events:us-east-1:{ACCOUNT}:rule/tugboat-local-{rule}",
        }
        for rule, step in (
            ("load-on-arrival", "load"),
            ("catalogue", "catalogue"),
            ("compact", "compact"),
            ("run-ended", "rollback"),
            ("operations", "operations"),
            ("operations-run", "operations"),
        )
    ]
    with Stubber(made.lambda_) as stubbed:
        for request in wanted:
            stubbed.add_response("add_permission", {}, request)
        deployment.allow_rules(made)
        for _ in wanted:
            stubbed.add_client_error("add_permission", "ResourceConflictException")
        deployment.allow_rules(made)
        stubbed.add_client_error("add_permission", "AccessDeniedException")
        with pytest.raises(ClientError, match="AccessDenied"):
            deployment.allow_rules(made)


def test_every_rule_with_a_lambda_as_target_is_allowed_to_invoke_it() -> None:
    resources = template.load_resources()["Resources"]
    targets = {
        resource["Properties"]["Name"]["Fn::Sub"].removeprefix("tugboat-${Stage}-")
        for resource in resources.values()
        if resource["Type"] == "AWS::Events::Rule"
        and ":lambda:" in json.dumps(resource["Properties"]["Targets"])
    }
    assert targets == {rule for rule, _ in deployment.LAMBDA_RULES}


@pytest.fixture
def built_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> build_layers.Layer:
    zip_file = tmp_path / "warehouse.zip"
    zip_file.write_bytes(b"PK\x05\x06" + b"\0" * 18)
    layer = build_layers.Layer(
        "warehouse", build_layers.digest("warehouse"), zip_file, zip_file.stat().st_size, 0
    )
    monkeypatch.setattr(build_layers, "built", lambda name: layer)
    return layer


@pytest.mark.parametrize("direct_max_bytes", [50_000_000, 1])
def test_a_layer_is_published_once_directly_or_through_s3(
    built_layer: build_layers.Layer, monkeypatch: pytest.MonkeyPatch, direct_max_bytes: int
) -> None:
    monkeypatch.setattr(build_layers, "DIRECT_UPLOAD_MAX_BYTES", direct_max_bytes)
    s3, lambda_ = boto3.client("s3"), boto3.client("lambda")
    s3.create_bucket(Bucket=MODELS)
    first = layer_versions.publish("warehouse", LOCAL, MODELS, lambda_, s3, silent)
    second = layer_versions.publish("warehouse", LOCAL, MODELS, lambda_, s3, silent)
    assert first == second == layer_versions.arns(LOCAL, ACCOUNT)["warehouse"]


def test_layers_of_other_content_are_deleted_and_those_of_other_stages_kept(
    built_layer: build_layers.Layer,
) -> None:
    s3, lambda_ = boto3.client("s3"), boto3.client("lambda")
    s3.create_bucket(Bucket=MODELS)
    for name in ("tugboat-local-warehouse-0ld", "tugboat-prod-warehouse-0ld", "somebody-elses"):
        content = {"ZipFile": built_layer.zip_file.read_bytes()}
        lambda_.publish_layer_version(LayerName=name, Content=content)
    layer_versions.publish("warehouse", LOCAL, MODELS, lambda_, s3, silent)
    kept = layer_versions.layer_name(LOCAL, "warehouse")
    assert layer_versions.remove(LOCAL, lambda_, keep={kept}) == ["tugboat-local-warehouse-0ld"]
    left = {layer["LayerName"] for layer in lambda_.list_layers()["Layers"]}
    assert left == {kept, "tugboat-prod-warehouse-0ld", "somebody-elses"}


def test_destroying_removes_the_endpoint_s_resources_of_this_stage_only() -> None:
    sagemaker = boto3.client("sagemaker")
    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    for name in ("tugboat-local-run1", "tugboat-prod-run1"):
        sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"Image": "i"})
        variant = {
            "VariantName": "v",
            "ModelName": name,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=name.removesuffix("-run1"), EndpointConfigName=name)
    for name in ("tugboat-local-candidate", "tugboat-local-realtime-candidate"):
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="tugboat-local-run1")
    assert len(destroy.remove_endpoint(LOCAL, sagemaker)) == 5
    assert [model["ModelName"] for model in sagemaker.list_models()["Models"]] == ["tugboat-prod-run1"]
    assert [found["EndpointName"] for found in sagemaker.list_endpoints()["Endpoints"]] == ["tugboat-prod"]


def test_a_bucket_is_deleted_with_all_its_versions() -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=MODELS)
    s3.put_bucket_versioning(Bucket=MODELS, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        s3.put_object(Bucket=MODELS, Key="k", Body=body)
    s3.delete_object(Bucket=MODELS, Key="k")
    assert destroy.empty_and_delete_bucket(MODELS, s3) == 3
    assert destroy.empty_and_delete_bucket(MODELS, s3) is None
