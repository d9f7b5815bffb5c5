"""Publish: a SageMaker model, its endpoint configuration, and the endpoint created or moved onto it.

Every call can be repeated with the same run id: existing resources of the run are used as they are.
"""

from typing import Any, TypedDict

from functions.platform.contract import PublishResult
from functions.platform.endpoint import find, move_endpoint
from functions.platform.log import get_logger
from functions.platform.model_archive import copy_archive
from functions.platform.run_names import release_name
from functions.platform.s3_keys import release_key
from functions.platform.scaling import VARIANT
from functions.platform.settings import PublishSettings

log = get_logger(__name__)


class PublishEvent(TypedDict):
    """The run, and the archive of its training job."""

    run_id: str
    model_data_uri: str


def publish(
    event: PublishEvent, settings: PublishSettings, sagemaker: Any, autoscaling: Any, s3: Any
) -> PublishResult:
    """Start to serve a copy of the archive. The state machine waits until the endpoint is in service.

    If the stage's kind of endpoint has changed, the endpoint of the new kind starts beside the other one. Shoppers are sent
    to it when the release is on record.

    Raises:
        EndpointBusy: another caller is changing the endpoint.
    """
    name = release_name(settings.prefix, event["run_id"])
    kept_uri = _keep_archive(name, event["model_data_uri"], settings, s3)
    _create_model(name, kept_uri, settings, sagemaker)
    _create_config(name, settings, sagemaker)
    status = move_endpoint(settings.endpoint, name, sagemaker, autoscaling)
    log.info("endpoint moves to a new configuration", endpoint=settings.endpoint, config=name, status=status)
    return {
        "endpoint_name": settings.endpoint,
        "endpoint_config_name": name,
        "model_name": name,
        "model_data_uri": kept_uri,
        "endpoint_status": status,
    }


def _keep_archive(name: str, model_data_uri: str, settings: PublishSettings, s3: Any) -> str:
    """Copy the archive to a key that does not expire: instances start from it at any time. Return its URI."""
    copy_archive(model_data_uri, settings.models_bucket, release_key(name), s3)
    return f"s3://{settings.models_bucket}/{release_key(name)}"


def _create_model(name: str, model_data_uri: str, settings: PublishSettings, sagemaker: Any) -> None:
    if find(sagemaker.describe_model, ModelName=name):
        return
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=settings.sagemaker_role_arn,
        PrimaryContainer={"Image": settings.inference_image, "ModelDataUrl": model_data_uri},
    )


def _create_config(name: str, settings: PublishSettings, sagemaker: Any) -> None:
    if find(sagemaker.describe_endpoint_config, EndpointConfigName=name):
        return
    variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": name}
    if settings.endpoint_kind == "serverless":
        variant["ServerlessConfig"] = {
            "MemorySizeInMB": settings.endpoint_memory_mb,
            "MaxConcurrency": settings.endpoint_max_concurrency,
        }
    else:
        variant |= {
            "InitialInstanceCount": settings.endpoint_min_instances,
            "InstanceType": settings.endpoint_instance_type,
            "InitialVariantWeight": 1.0,
        }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
