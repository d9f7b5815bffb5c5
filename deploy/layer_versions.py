"""A stage's layers in Lambda: published when there is none of their content, removed when nothing uses them."""

from collections.abc import Callable
from typing import Any

from deploy import build_layers, chalice_config
from deploy.stages import Stage


def publish(name: str, stage: Stage, bucket: str, lambda_: Any, s3: Any, say: Callable[[str], None]) -> str:
    """The address of the layer's published version, which is built and published when there is none."""
    layer_name = chalice_config.layer_name(stage, name)
    versions = lambda_.list_layer_versions(LayerName=layer_name).get("LayerVersions", [])
    if versions:
        return str(versions[0]["LayerVersionArn"])
    layer = build_layers.built(name)
    if layer is None:
        say(f"building layer {name}, about a minute")
        layer = build_layers.build(name)
    key = f"layers/{layer_name}.zip"
    if layer.zipped_bytes > build_layers.DIRECT_UPLOAD_MAX_BYTES:
        s3.upload_file(str(layer.zip_file), bucket, key)
        content: dict[str, str | bytes] = {"S3Bucket": bucket, "S3Key": key}
    else:
        content = {"ZipFile": layer.zip_file.read_bytes()}
    published = lambda_.publish_layer_version(
        LayerName=layer_name,
        Description=f"Tugboat: layers/{name}.txt",
        Content=content,
        CompatibleRuntimes=["python3.11"],
        CompatibleArchitectures=["x86_64"],
    )
    say(f"published layer {build_layers.describe(layer)}")
    return str(published["LayerVersionArn"])


def remove(stage: Stage, lambda_: Any, keep: set[str]) -> list[str]:
    """Deletes this stage's layers but those to keep; their names. Functions that have one go on having it."""
    removed = []
    for page in lambda_.get_paginator("list_layers").paginate():
        for layer in page["Layers"]:
            name = layer["LayerName"]
            if (
                name.startswith(tuple(f"{stage.prefix}-{own}-" for own in build_layers.NAMES))
                and name not in keep
            ):
                for version in lambda_.list_layer_versions(LayerName=name)["LayerVersions"]:
                    lambda_.delete_layer_version(LayerName=name, VersionNumber=version["Version"])
                removed.append(name)
    return removed
