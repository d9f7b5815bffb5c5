"""Render resources.yaml as the JSON text for CloudFormation, with the state machines and the resources of lambdas.py."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from deploy import error_handling, serving_image, shop_resources, step_jobs
from deploy.command import DeployError
from deploy.lambdas import LAMBDAS
from deploy.stages import SETTINGS, Stage, setting_text, training_image
from functions.platform.contract import CODE_PREFIX

FOLDER = Path(__file__).resolve().parent.parent / "statemachine"
RESOURCES_FILE = FOLDER / "resources.yaml"
DEFINITIONS = error_handling.DEFINITIONS
PIPELINE_FILE, NIGHT_FILE, BATCH_FILE = DEFINITIONS.values()
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
BODY_MAX_BYTES = 51_200  # in a request
STORED_MAX_BYTES = 1_000_000  # read by CloudFormation from S3
# The property that names a resource, of each type that resources.yaml retains.
NAME_PROPERTIES = {"AWS::S3::Bucket": "BucketName"}

# Nothing refers to them, and a stack without Lambdas needs none. Without them, the first template fits into a request.
LATER_TYPES = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard")

Json = dict[str, Any]


class TemplateError(DeployError):
    """The template and the definition of the pipeline do not fit together."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML comes without types
    """YAML with CloudFormation's short tags: `!Sub x` is `{"Fn::Sub": "x"}`."""


def _short_tag(loader: _Loader, suffix: str, node: yaml.Node) -> Json:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_tag)


def load_resources(path: Path = RESOURCES_FILE) -> Json:
    """Return resources.yaml in CloudFormation's long form, with the log group and the address of each Lambda.

    The log groups exist before the Lambdas, because a log group that Lambda creates itself never expires.
    """
    template: Json = yaml.load(path.read_text(), _Loader)
    for one in LAMBDAS:
        template["Resources"][f"{one.title}Logs"] = {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {
                "LogGroupName": {"Fn::Sub": f"/aws/lambda/tugboat-${{Stage}}{one.suffix}"},
                "RetentionInDays": {"Ref": "LogRetentionDays"},
            },
        }
    for machine_name, definition in DEFINITIONS.items():
        wanted = substitution_keys(definition.read_text())
        functions = {
            f"{one.title}Function": {
                "Fn::Sub": "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
                f"tugboat-${{Stage}}{one.suffix}"
            }
            for one in LAMBDAS
            if f"{one.title}Function" in wanted
        }
        machine = template["Resources"][machine_name]["Properties"]
        machine["DefinitionSubstitutions"] = functions | machine["DefinitionSubstitutions"]
    return template


def substitution_keys(definition: str) -> set[str]:
    """Return the names in the `${Name}` placeholders of a definition."""
    return set(re.findall(r"\$\{(\w+)\}", definition))


def render_without_pipeline(stage: Stage, account_id: str, resources: Path = RESOURCES_FILE) -> str:
    """Return the template without alarms and with a placeholder for the pipeline.

    It is small enough to send before there is a bucket for it.

    Raises:
        TemplateError: the body is larger than a request may be.
    """
    template = _with_literal_names(load_resources(resources), stage, account_id)
    for machine in DEFINITIONS:
        template["Resources"][machine]["Properties"].pop("DefinitionSubstitutions")
    template["Resources"] = {
        name: one for name, one in template["Resources"].items() if one["Type"] not in LATER_TYPES
    }
    return _within(BODY_MAX_BYTES, _compact(template))


def render(
    stage: Stage, account_id: str, resources: Path = RESOURCES_FILE, pipeline: Path = PIPELINE_FILE
) -> str:
    """Return the whole template. CloudFormation fills the placeholders of the definitions in.

    Raises:
        TemplateError: a placeholder has no value, or the template is too large.
    """
    template = _with_literal_names(load_resources(resources), stage, account_id)
    step_jobs.add_resources(template["Resources"], stage, account_id)
    shop_resources.add(template["Resources"], stage, account_id)
    for name, path in (DEFINITIONS | {"Pipeline": pipeline}).items():
        definition = json.loads(path.read_text())
        if name in OF_STAGE:
            definition = OF_STAGE[name](definition, stage)
        _define(template, name, step_jobs.with_jobs(definition, stage, account_id), path, resources)
    return _within(STORED_MAX_BYTES, _compact(template))


def _define(template: Json, machine: str, definition: Json, file: Path, resources: Path) -> None:
    """Put the definition of a state machine into the template.

    Raises:
        TemplateError: a placeholder has no value.
    """
    text = _compact(_without_comments(definition))
    properties = template["Resources"][machine]["Properties"]
    missing = substitution_keys(text) - properties["DefinitionSubstitutions"].keys()
    if missing:
        raise TemplateError(
            f"{file.name} wants {', '.join(sorted(missing))}, which has no value: declare the Lambda in "
            f"deploy/lambdas.py, or add the value to DefinitionSubstitutions in {resources.name}"
        )
    properties["DefinitionString"] = text


def with_shop_settings(definition: Json, stage: Stage) -> Json:
    """Return the pipeline with the hyperparameters and the gate's bounds of each shop that has some of its own."""
    shops = sorted({*stage.hyperparameters, *stage.gate})
    definition["States"]["Prepare"]["Assign"]["shop_settings"] = {
        shop: {
            # SageMaker takes hyperparameters as texts.
            "hyperparameters": {
                name: setting_text(value) for name, value in stage.hyperparameters.get(shop, {}).items()
            },
            "bounds": [
                argument
                for name, bound in stage.gate.get(shop, {}).items()
                for argument in ("--bound", f"{name}={bound}")
            ],
        }
        for shop in shops
    }
    return definition


def with_trained_shops(definition: Json, stage: Stage) -> Json:
    """Return the night with the shops for which it starts the pipeline, and how many of them run at the same time."""
    definition["States"]["Prepare"]["Assign"]["trained_shops"] = list(stage.served_shops)
    definition["States"]["Shops"]["MaxConcurrency"] = stage.shops_at_once
    return definition


# What the settings of a stage change in a definition.
OF_STAGE = {"Pipeline": with_shop_settings, "Night": with_trained_shops}


def stack_parameters(stage: Stage, account_id: str, code_digest: str) -> dict[str, str]:
    """Return the values of the template's parameters.

    A parameter with the name of a setting in stages.toml, such as `NoEventsHours`, has that setting's value.
    """
    parameters = yaml.load(RESOURCES_FILE.read_text(), _Loader)["Parameters"]
    settings = {"".join(word.title() for word in name.split("_")): name for name in SETTINGS}
    code = f"s3://{stage.models_bucket(account_id)}/{CODE_PREFIX}{code_digest}"
    return {name: setting_text(getattr(stage, settings[name])) for name in parameters if name in settings} | {
        "Stage": stage.name,
        "ApiStage": stage.api_stage,
        "EndpointName": stage.endpoint_name(stage.served_shops[0]),
        "FirstShop": stage.served_shops[0],
        "NightlyMachine": "night" if len(stage.served_shops) > 1 else "pipeline",
        "ScheduleExpression": stage.schedule,
        "ScheduleState": "ENABLED" if stage.schedule_enabled else "DISABLED",
        "LoadOnArrivalState": "ENABLED" if stage.load_on_arrival else "DISABLED",
        # A schedule that is off still needs a valid expression.
        "OperationsSchedule": _every(stage.operations_minutes or 60),
        "OperationsState": "ENABLED" if stage.operations_minutes else "DISABLED",
        "TrainingImage": training_image(stage),
        "CodeUri": f"{code}.tar.gz",
        "CodePrefix": f"{code}/",
        "ServingImage": serving_image.address(stage, account_id),
        # The pipe's queue is known after the first pass, which creates the role that its integration needs.
        "SnowpipeQueueArn": "",
        "ServingImageSource": f"{stage.models_bucket(account_id)}/{serving_image.source_key()}",
    }


def _every(minutes: int) -> str:
    return f"rate({minutes} minute{'' if minutes == 1 else 's'})"


def _with_literal_names(template: Json, stage: Stage, account_id: str) -> Json:
    """Return the template with literal names for the resources that outlive their stack.

    A later stack imports such a resource, and CloudFormation imports only resources whose name is a literal.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-automatically.html
    """
    values = {"Stage": stage.name, "AWS::AccountId": account_id, "AWS::Region": stage.region}
    for logical_id, resource in template["Resources"].items():
        if resource.get("DeletionPolicy") != "Retain":
            continue
        key = NAME_PROPERTIES.get(resource["Type"])
        name = resource["Properties"].get(key)
        if key is None or not isinstance(name, dict) or name.keys() != {"Fn::Sub"}:
            raise TemplateError(
                f"{logical_id} is retained, so a later stack must find it by name: give it a name with !Sub, "
                f"and add {resource['Type']} to NAME_PROPERTIES in deploy/template.py"
            )
        literal = name["Fn::Sub"]
        for placeholder, value in values.items():
            literal = literal.replace(f"${{{placeholder}}}", value)
        if "${" in literal:
            raise TemplateError(
                f"the name of {logical_id} is unknown before CloudFormation runs: {literal}. "
                f"Use only {', '.join(values)} in it"
            )
        resource["Properties"][key] = literal
    return template


def _compact(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _within(limit_bytes: int, body: str) -> str:
    size_bytes = len(body.encode())
    if size_bytes > limit_bytes:
        raise TemplateError(
            f"the template has {size_bytes:,} bytes, CloudFormation takes {limit_bytes:,}: shorten resources.yaml"
        )
    return body


def _without_comments(value: Any) -> Any:
    """Return the value without its comments, which are for readers of the file and count against the size limit."""
    if isinstance(value, dict):
        return {key: _without_comments(inner) for key, inner in value.items() if key != "Comment"}
    if isinstance(value, list):
        return [_without_comments(inner) for inner in value]
    return value
