"""resources.yaml with pipeline.asl.json in it, as the JSON text that CloudFormation takes."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent.parent / "statemachine"
RESOURCES_FILE = FOLDER / "resources.yaml"
PIPELINE_FILE = FOLDER / "pipeline.asl.json"
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
BODY_MAX_BYTES = 51_200  # in a request
STORED_MAX_BYTES = 1_000_000  # read by CloudFormation from S3

Json = dict[str, Any]


class TemplateError(Exception):
    """The template and the pipeline's definition do not fit together."""


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short tags: `!Sub x` is `{"Fn::Sub": "x"}`."""


def _short_tag(loader: _Loader, suffix: str, node: yaml.Node) -> Json:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_tag)


def load_resources(path: Path = RESOURCES_FILE) -> Json:
    """resources.yaml in CloudFormation's long form."""
    template: Json = yaml.load(path.read_text(), _Loader)
    return template


def substitution_keys(definition: str) -> set[str]:
    """The `${Key}` that a definition wants filled in."""
    return set(re.findall(r"\$\{(\w+)\}", definition))


def render_without_pipeline(resources: Path = RESOURCES_FILE) -> str:
    """The template with a state machine that only fails: small enough to be sent before there is a bucket to put it in.

    Raises:
        TemplateError: the body is larger than a request may be.
    """
    template = load_resources(resources)
    template["Resources"]["Pipeline"]["Properties"].pop("DefinitionSubstitutions")
    return _within(BODY_MAX_BYTES, json.dumps(template, separators=(",", ":"), ensure_ascii=False))


def render(resources: Path = RESOURCES_FILE, pipeline: Path = PIPELINE_FILE) -> str:
    """The whole template.

    The definition's `${Key}` are joined with the values of DefinitionSubstitutions here, by Fn::Join, rather than left
    to CloudFormation's own substitution, which not every implementation of CloudFormation has.

    Raises:
        TemplateError: a `${Key}` has no value, or the template is too large.
    """
    template = load_resources(resources)
    definition = json.dumps(
        _without_comments(json.loads(pipeline.read_text())), separators=(",", ":"), ensure_ascii=False
    )
    machine = template["Resources"]["Pipeline"]["Properties"]
    values: Json = machine.pop("DefinitionSubstitutions")
    missing = substitution_keys(definition) - values.keys()
    if missing:
        raise TemplateError(
            f"{pipeline.name} wants {', '.join(sorted(missing))}: add them to DefinitionSubstitutions in {resources.name}"
        )
    pieces = re.split(r"\$\{(\w+)\}", definition)
    parts = [values[piece] if place % 2 else piece for place, piece in enumerate(pieces)]
    machine["DefinitionString"] = {"Fn::Join": ["", [part for part in parts if part != ""]]}
    return _within(STORED_MAX_BYTES, json.dumps(template, separators=(",", ":"), ensure_ascii=False))


def _within(limit: int, body: str) -> str:
    size = len(body.encode())
    if size > limit:
        raise TemplateError(
            f"the template is {size:,} bytes, CloudFormation takes {limit:,}: shorten resources.yaml"
        )
    return body


def _without_comments(value: Any) -> Any:
    """Comments are for the reader of the file; a request has no room for them."""
    if isinstance(value, dict):
        return {key: _without_comments(inner) for key, inner in value.items() if key != "Comment"}
    if isinstance(value, list):
        return [_without_comments(inner) for inner in value]
    return value
