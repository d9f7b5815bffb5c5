"""Renders .chalice/config.json and the policies of a stage: what Chalice gives each Lambda.

The policies are written by hand, once, for the stage `local` (.chalice/policy-<function>.json). Those of another stage
are the same text with its stage, account and region, so that no stage can have rights that another lacks.
"""

import json
from pathlib import Path
from typing import Any

from statemachine import layers, serving_image
from statemachine.stages import Stage

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / ".chalice"
FUNCTIONS = (
    "api_handler",
    "load",
    "transform",
    "validate",
    "export",
    "publish",
    "prove",
    "rollback",
    "replay",
)

# What the hand-written policies name.
POLICY_STAGE, POLICY_ACCOUNT, POLICY_REGION = "local", "123456789012", "us-east-1"

# Memory buys CPU: 1,769 MB is one core. dbt parses the project for seconds on less.
SIZES: dict[str, tuple[int, int]] = {
    "api_handler": (1024, 29),
    "load": (1024, 900),
    "transform": (2048, 900),
    "validate": (2048, 900),
    "export": (1024, 900),
    "publish": (512, 120),
    "prove": (1024, 300),
    "rollback": (1024, 300),
    "replay": (1769, 900),
}
LAYERS = {
    "load": "warehouse",
    "transform": "warehouse",
    "validate": "warehouse",
    "export": "warehouse",
    "replay": "pandas",
}

Json = dict[str, Any]


def layer_name(stage: Stage, name: str) -> str:
    """Holds the hash of the layer's content, so that it is published once, as version 1."""
    return f"{stage.prefix}-{name}-{layers.digest(name)}"


def layer_arns(stage: Stage, account_id: str) -> dict[str, str]:
    """The addresses of the stage's layers before anything is published."""
    arns = {
        name: f"arn:aws:lambda:{stage.region}:{account_id}:layer:{layer_name(stage, name)}:1"
        for name in layers.NAMES
    }
    return arns | ({"pandas": stage.pandas_layer_arn} if stage.pandas_layer_arn else {})


def lambda_name(stage: Stage, function: str) -> str:
    """The deployed name; Chalice gives the API's Lambda none of its own."""
    return stage.prefix if function == "api_handler" else f"{stage.prefix}-{function}"


def environment(stage: Stage, account_id: str, function: str) -> dict[str, str]:
    """The variables that functions/platform/settings.py reads for this function."""
    events = {"TUGBOAT_EVENTS_BUCKET": stage.events_bucket(account_id)}
    keys = {"TUGBOAT_SHOP_KEYS": ",".join(f"{shop}={key}" for shop, of in stage.shops.items() for key in of)}
    models = {"TUGBOAT_MODELS_BUCKET": stage.models_bucket(account_id)}
    streams = {
        "TUGBOAT_EVENTS_STREAM": f"{stage.prefix}-events",
        "TUGBOAT_REJECTED_STREAM": f"{stage.prefix}-rejected",
    }
    receipts = {"TUGBOAT_RECEIPTS_SECRET": stage.receipts_secret}
    match function:
        case "api_handler":
            recommend = {
                "TUGBOAT_ENDPOINT": stage.prefix,
                "TUGBOAT_ENDPOINT_TIMEOUT_MS": str(stage.endpoint_timeout_ms),
            }
            return {**events, **keys, **models, **recommend, **streams, **receipts}
        case "replay":
            return {**events, **keys, **streams, **receipts}
        case "publish" | "prove" | "rollback":
            return {
                **models,
                "TUGBOAT_ENDPOINT": stage.prefix,
                "TUGBOAT_ENDPOINT_INSTANCE_TYPE": stage.endpoint_instance_type,
                "TUGBOAT_ENDPOINT_KIND": stage.endpoint_kind,
                "TUGBOAT_ENDPOINT_MAX_CONCURRENCY": str(stage.endpoint_max_concurrency),
                "TUGBOAT_ENDPOINT_MEMORY_MB": str(stage.endpoint_memory_mb),
                "TUGBOAT_INFERENCE_IMAGE": serving_image.address(stage, account_id),
                "TUGBOAT_SAGEMAKER_ROLE_ARN": f"arn:aws:iam::{account_id}:role/{stage.prefix}-sagemaker",
            }
        case _:
            shop = next(iter(stage.shops))
            return {**events, **models, "TUGBOAT_SHOP": shop, "TUGBOAT_SNOWFLAKE_SECRET": stage.secret_name}


def policy_file(stage: Stage, function: str) -> str:
    suffix = "" if stage.name == POLICY_STAGE else f"-{stage.name}"
    return f"policy-{function}{suffix}.json"


def stage_config(stage: Stage, account_id: str, arns: dict[str, str]) -> Json:
    """A stage's entry in config.json, with its layers at these addresses."""
    functions = {}
    for function in FUNCTIONS:
        memory_mb, timeout_s = SIZES[function]
        functions[function] = {
            "lambda_memory_size": memory_mb,
            "lambda_timeout": timeout_s,
            "iam_policy_file": policy_file(stage, function),
            "environment_variables": dict(sorted(environment(stage, account_id, function).items())),
        }
        if function in LAYERS:
            functions[function]["layers"] = [arns[LAYERS[function]]]
    return {
        "api_gateway_stage": stage.api_stage,
        "environment_variables": {"TUGBOAT_STAGE": stage.name},
        "lambda_functions": functions,
    }


def render_config(stage: Stage, account_id: str, arns: dict[str, str], current: Json) -> str:
    """config.json with this stage's entry made anew and the other stages' kept."""
    config: Json = {
        "version": "2.0",
        "app_name": "tugboat",
        "api_gateway_endpoint_type": "REGIONAL",
        "autogen_policy": False,
        "automatic_layer": False,
        "xray": True,
        # API Gateway then gzips the SDK's scripts and long answers; it decompresses requests by itself.
        "minimum_compression_size": 1024,
        "stages": {**current.get("stages", {}), stage.name: stage_config(stage, account_id, arns)},
    }
    return json.dumps(config, indent=2) + "\n"


def render_policy(stage: Stage, account_id: str, text: str) -> str:
    """A hand-written policy for another stage, account and region."""
    for old, new in (
        (f"tugboat-{POLICY_STAGE}", stage.prefix),
        (f"tugboat/{POLICY_STAGE}/", f"tugboat/{stage.name}/"),
        (POLICY_ACCOUNT, account_id),
        (POLICY_REGION, stage.region),
    ):
        text = text.replace(old, new)
    return text


def write(stage: Stage, account_id: str, arns: dict[str, str], folder: Path = FOLDER) -> list[Path]:
    """Writes what differs from what is there; the files written."""
    config_file = folder / "config.json"
    current = json.loads(config_file.read_text()) if config_file.exists() else {}
    wanted = {config_file: render_config(stage, account_id, arns, current)}
    if stage.name != POLICY_STAGE:
        for function in FUNCTIONS:
            source = (folder / f"policy-{function}.json").read_text()
            wanted[folder / policy_file(stage, function)] = render_policy(stage, account_id, source)
    written = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in written:
        path.write_text(wanted[path])
    return written
