"""Each Lambda's policy against its code, and the configuration that Chalice gets for each Lambda."""

import ast
import dataclasses
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy import build_layers, chalice_config, lambdas, layer_versions
from deploy.api_routes import COLLECT_ROUTES
from deploy.stages import read_stage

REPOSITORY = Path(__file__).resolve().parents[3]
# The code that needs an action: mostly boto3's method, which has the action's name.
NOT_BY_METHOD = {
    "s3:ListBucket": r"list_objects|read_record|LOCK_KEY",  # also: a missing key is then NoSuchKey, not AccessDenied
    "s3:DeleteObject": r"delete_objects?",
    "s3:PutObject": r"put_object|copy_archive",
    "s3:GetObject": r"get_object|copy_archive|s3\.download",
    "s3:ListBucketVersions": r"list_object_versions",
    "s3:GetObjectVersion": r"get_object\(.*VersionId=",
    "s3:DeleteObjectVersion": r"delete_object\(.*VersionId=",
    "s3:PutObjectTagging": r"put_object_tagging|Tagging\"",
    "iam:PassRole": r"ExecutionRoleArn",
    "sagemaker:DescribeModel": r"describe_model",
    "sagemaker:ListEndpointConfigs": r"list_endpoint_configs",
    # Application Auto Scaling acts for whoever registers a target:
    # https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html
    "iam:CreateServiceLinkedRole": r"register_scalable_target",
    "sagemaker:UpdateEndpointWeightsAndCapacities": r"register_scalable_target",
    "sagemaker:DescribeEndpointConfig": r"register_scalable_target|describe_endpoint_config",
    "cloudwatch:DescribeAlarms": r"put_scaling_policy|describe_alarms",
    "cloudwatch:PutMetricAlarm": r"put_scaling_policy",
    "cloudwatch:DeleteAlarms": r"put_scaling_policy",
    "logs:CreateLogStream": r"",  # Lambda itself
    "logs:PutLogEvents": r"",
    "xray:PutTelemetryRecords": r"",
    "xray:PutTraceSegments": r"",
}
# Resources whose names AWS chooses, of which a condition narrows most to SageMaker's.
NAMED_BY_AWS = {
    # CloudWatch describes alarms by the prefix of their names only for whoever may describe all alarms.
    "arn:aws:cloudwatch:us-east-1:123456789012:alarm:*",
    "arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/*",
    "arn:aws:iam::123456789012:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
}
WITHOUT_RESOURCES = {
    "cloudwatch:GetMetricData",
    "cloudwatch:ListMetrics",
    "sagemaker:ListEndpointConfigs",
    "sagemaker:ListModels",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}


def statements(function: str) -> list[dict[str, Any]]:
    policy = json.loads((REPOSITORY / ".chalice" / f"policy-{function}.json").read_text())
    return list(policy["Statement"])


def actions(function: str) -> list[str]:
    return [action for statement in statements(function) for action in statement["Action"]]


@lru_cache
def handlers() -> dict[str, ast.stmt]:
    """app.py's functions and registrations by the name of their Lambda."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse((REPOSITORY / "app.py").read_text()).body:
        named = re.search(r"(?:lambda_function|step)\(name='(\w+)'\)", ast.unparse(node))
        if named:
            found[named[1]] = node
        elif isinstance(node, ast.FunctionDef) and node.decorator_list:
            found.setdefault("api_handler:" + node.name, node)
    return found


def modules_of(node: ast.AST) -> set[str]:
    """Return the modules of functions/ that the code imports, directly or not."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        for inner in ast.walk(waiting.pop()):
            names: list[str] = []
            if isinstance(inner, ast.ImportFrom) and inner.module:
                names = [inner.module, *(f"{inner.module}.{alias.name}" for alias in inner.names)]
            for name in names:
                path = path_of(name)
                if name.startswith("functions.") and name not in found and path.exists():
                    found.add(name)
                    waiting.append(ast.parse(path.read_text()))
    return found


def wiring_of(handler: ast.stmt) -> list[ast.FunctionDef]:
    """The functions of functions/wiring.py that a handler runs."""
    module = ast.parse((REPOSITORY / "functions" / "wiring.py").read_text())
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    waiting = re.findall(r"wiring\.(\w+)", ast.unparse(handler))
    found: dict[str, ast.FunctionDef] = {}
    while waiting:
        name = waiting.pop()
        found[name] = functions[name]
        used = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
        waiting += [other for other in used & functions.keys() - found.keys() if other.startswith("_")]
    return list(found.values())


def path_of(module: str) -> Path:
    path = REPOSITORY / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def source_of(function: str) -> str:
    nodes = [node for name, node in handlers().items() if name.split(":")[0] == function]
    if function == "collect":  # it passes its routes' requests to the app
        nodes = [
            node
            for node in handlers().values()
            if re.search(rf"route\('({'|'.join(COLLECT_ROUTES)})'", ast.unparse(node))
        ]
    assert nodes, f"app.py has no Lambda {function}"
    nodes = [wired for node in nodes for wired in wiring_of(node)]
    modules = set().union(*(modules_of(node) for node in nodes))
    texts = [path_of(name).read_text() for name in sorted(modules)]
    return "\n".join([*(ast.unparse(node) for node in nodes), *texts])


def method(action: str) -> str:
    """`PutRecordBatch` is `put_record_batch` in boto3."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", action.partition(":")[2]).lower()


def test_every_lambda_of_the_app_has_its_entry_and_policy() -> None:
    assert {name.split(":")[0] for name in handlers()} == set(lambdas.NAMES)
    written = {path.stem.removeprefix("policy-") for path in (REPOSITORY / ".chalice").glob("policy-*.json")}
    assert set(lambdas.NAMES) <= written


@pytest.mark.parametrize("function", lambdas.NAMES)
def test_a_lambda_may_do_nothing_that_its_code_does_not(function: str) -> None:
    source = source_of(function)
    unused = [
        action
        for action in actions(function)
        if not re.search(NOT_BY_METHOD.get(action, rf"\b{method(action)}\b"), source)
    ]
    assert unused == []


@pytest.mark.parametrize("function", lambdas.NAMES)
def test_a_policy_names_its_actions_and_resources(function: str) -> None:
    for statement in statements(function):
        assert statement["Effect"] == "Allow"
        assert not [action for action in statement["Action"] if "*" in action]
        if "*" in statement["Resource"]:
            assert set(statement["Action"]) <= WITHOUT_RESOURCES
        for resource in statement["Resource"]:
            assert resource == "*" or "tugboat" in resource or resource in NAMED_BY_AWS


@pytest.mark.parametrize("function", lambdas.NAMES)
def test_a_lambda_writes_to_its_own_log_group_only(function: str) -> None:
    (own,) = (statement for statement in statements(function) if "logs:PutLogEvents" in statement["Action"])
    assert own["Resource"] == [
        f"arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/{lambdas.named(function).deployed_name(read_stage('local'))}:*"
    ]


def test_another_stage_has_the_same_rights_on_its_own_resources() -> None:
    stage = read_stage("prod")
    for function in lambdas.NAMES:
        text = (REPOSITORY / ".chalice" / f"policy-{function}.json").read_text()
        rendered = lambdas.named(function).rendered_policy(stage, "210987654321")
        assert "local" not in rendered
        assert "123456789012" not in rendered
        assert [s["Action"] for s in json.loads(rendered)["Statement"]] == [
            s["Action"] for s in json.loads(text)["Statement"]
        ]


def test_the_committed_configuration_of_local_is_what_deploy_renders() -> None:
    stage = read_stage("local")
    committed = (REPOSITORY / ".chalice" / "config.json").read_text()
    arns = layer_versions.arns(stage, stage.account_id)
    rendered = chalice_config.render_config(stage, stage.account_id, arns, json.loads(committed))
    assert rendered == committed, "make deploy would change it: commit what it writes"


def test_another_stage_is_added_beside_the_existing_ones(tmp_path: Path) -> None:
    for function in lambdas.NAMES:
        source = REPOSITORY / ".chalice" / f"policy-{function}.json"
        (tmp_path / source.name).write_text(source.read_text())
    (tmp_path / "config.json").write_text((REPOSITORY / ".chalice" / "config.json").read_text())
    before = json.loads((tmp_path / "config.json").read_text())["stages"]["local"]
    stage = read_stage("prod")
    arns = layer_versions.arns(stage, "210987654321")
    written = chalice_config.write(stage, "210987654321", arns, tmp_path)
    stages = json.loads((tmp_path / "config.json").read_text())["stages"]
    assert stages["local"] == before
    assert stages["prod"]["environment_variables"] == {"TUGBOAT_STAGE": "prod"}
    assert len(written) == 1 + len(lambdas.NAMES)
    assert chalice_config.write(stage, "210987654321", arns, tmp_path) == []


def test_layers_go_to_the_lambdas_that_need_them_and_to_no_other() -> None:
    functions = json.loads((REPOSITORY / ".chalice" / "config.json").read_text())["stages"]["local"][
        "lambda_functions"
    ]
    layered = {name: entry["layers"] for name, entry in functions.items() if "layers" in entry}
    declared = {one.name: one.layer for one in lambdas.LAMBDAS if one.layer}
    assert layered.keys() == declared.keys()
    assert all(build_layers.digest(declared[name])[:8] in arns[0] for name, arns in layered.items())


def test_every_lambda_is_given_exactly_the_variables_that_its_settings_read() -> None:
    read = {
        group: {field.encode_name for field in msgspec.structs.fields(kind)}
        for group, kind in lambdas.SETTINGS_CLASSES.items()
    }
    stage = read_stage("local")
    for one in lambdas.LAMBDAS:
        given = {"TUGBOAT_STAGE", *one.environment(stage, stage.account_id)}
        assert given == {"TUGBOAT_STAGE"}.union(*(read[group] for group in one.settings)), one.name


@pytest.mark.parametrize("function", lambdas.NAMES)
def test_a_lambda_is_declared_with_the_settings_that_its_handler_reads(function: str) -> None:
    groups = "|".join(lambdas.SETTINGS_CLASSES)
    read = set(re.findall(rf"(?<!def )\b({groups})_settings\(\)", source_of(function)))
    declared = set(lambdas.named(function).settings)
    assert read == declared, (
        f"the handler of {function} reads the settings {sorted(read)}, deploy/lambdas.py gives it {sorted(declared)}: "
        "change `settings` there"
    )


def test_tracing_is_a_setting_of_the_stage() -> None:
    arns = {"warehouse": "arn:w", "pandas": "arn:p"}
    for tracing in (True, False):
        stage = dataclasses.replace(read_stage("local"), tracing=tracing)
        rendered = json.loads(chalice_config.render_config(stage, "123456789012", arns, {}))
        assert rendered["stages"]["local"]["xray"] is tracing
