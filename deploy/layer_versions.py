"""Publish a stage's layers to Lambda, and remove the layers that no function uses any more."""

from typing import Any

from deploy import build_layers, training_code
from deploy.command import Say
from deploy.stages import Stage


def layer_name(stage: Stage, layer: str) -> str:
    """Return the name of a layer in the account.

    It contains the hash of the layer's content, so each content is published once, as version 1.
    """
    return f"{stage.prefix}-{layer}-{build_layers.digest(layer)}"


def arns(stage: Stage, account_id: str) -> dict[str, str]:
    """Return the address of each layer. It is known before the layer is published."""
    return {
        layer: f"arn:aws:lambda:{stage.region}:{account_id}:layer:{layer_name(stage, layer)}:1"
        for layer in build_layers.NAMES
    }


def stored_key(layer: str, stage: Stage) -> str:
    """Return the key of a layer's zip in the models bucket."""
    return f"layers/{layer_name(stage, layer)}.zip"


def store(layer: str, stage: Stage, bucket: str, s3: Any) -> bool:
    """Upload the zip of a layer, unless the bucket has it. Build it first if necessary.

    Returns:
        True if it was uploaded.
    """
    key = stored_key(layer, stage)
    if training_code.exists(s3, bucket, key):
        return False
    s3.upload_file(str(build_layers.build(layer).zip_file), bucket, key)
    return True


def publish(layer: str, stage: Stage, bucket: str, lambda_: Any, s3: Any, say: Say) -> str:
    """Publish a layer, unless a version of its content exists. Build it first if necessary.

    Returns:
        The address of the published version.
    """
    name = layer_name(stage, layer)
    versions = lambda_.list_layer_versions(LayerName=name).get("LayerVersions", [])
    if versions:
        return str(versions[0]["LayerVersionArn"])
    built = build_layers.built(layer)
    if built is None:
        say(f"building layer {layer}, about a minute")
        built = build_layers.build(layer)
    key = stored_key(layer, stage)
    if built.zipped_bytes > build_layers.DIRECT_UPLOAD_MAX_BYTES:
        s3.upload_file(str(built.zip_file), bucket, key)
        content: dict[str, str | bytes] = {"S3Bucket": bucket, "S3Key": key}
    else:
        content = {"ZipFile": built.zip_file.read_bytes()}
    published = lambda_.publish_layer_version(
        LayerName=name,
        Description=f"Tugboat: layers/{layer}.txt",
        Content=content,
        CompatibleRuntimes=["python3.11"],
        CompatibleArchitectures=["x86_64"],
    )
    say(f"published layer {build_layers.describe(built)}")
    return str(published["LayerVersionArn"])


def remove(stage: Stage, lambda_: Any, keep: set[str]) -> list[str]:
    """Delete the stage's layers except those to keep.

    A function that uses a deleted layer keeps running with it.

    Returns:
        The names of the deleted layers.
    """
    removed = []
    own_prefixes = tuple(f"{stage.prefix}-{layer}-" for layer in build_layers.NAMES)
    for page in lambda_.get_paginator("list_layers").paginate():
        for found in page["Layers"]:
            name = found["LayerName"]
            if name.startswith(own_prefixes) and name not in keep:
                for version in lambda_.list_layer_versions(LayerName=name)["LayerVersions"]:
                    lambda_.delete_layer_version(LayerName=name, VersionNumber=version["Version"])
                removed.append(name)
    return removed
