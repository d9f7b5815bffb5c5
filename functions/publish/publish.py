"""Publish: a SageMaker model, its endpoint configuration, and the endpoint created or moved onto it.

Every call can be repeated with the same run id: what exists already under the run's name is taken as it is.
"""

from typing import Any, NamedTuple, TypedDict

from functions.errors import EndpointBusy
from functions.log import get_logger
from functions.names import release_key, split_s3_uri
from functions.settings import PublishSettings

log = get_logger(__name__)

VARIANT = "all-traffic"
NAME_MAX_CHARACTERS = 63


class PublishEvent(TypedDict):
    """What the state machine passes: the run, and the archive that its training job left."""

    run_id: str
    model_data_uri: str


class Published(NamedTuple):
    """Names of what serves the model, and its archive; `endpoint_status` as SageMaker gives it."""

    endpoint_name: str
    endpoint_config_name: str
    model_name: str
    model_data_uri: str
    endpoint_status: str


def resource_name(settings: PublishSettings, run_id: str) -> str:
    """Name of a run's model and endpoint configuration, within SageMaker's 63 letters, digits and hyphens."""
    cleaned = "".join(letter if letter.isalnum() else "-" for letter in run_id)
    return f"{settings.endpoint}-{cleaned}"[:NAME_MAX_CHARACTERS].rstrip("-")


def publish(event: PublishEvent, settings: PublishSettings, sagemaker: Any, s3: Any) -> Published:
    """Starts serving a copy of the archive; the state machine waits until the endpoint is in service.

    Raises:
        EndpointBusy: somebody else is changing the endpoint.
    """
    name = resource_name(settings, event["run_id"])
    kept_uri = _keep_archive(name, event["model_data_uri"], settings, s3)
    _create_model(name, kept_uri, settings, sagemaker)
    _create_config(name, settings, sagemaker)
    status = move_endpoint(name, settings, sagemaker)
    log.info("endpoint moves to a new configuration", endpoint=settings.endpoint, config=name, status=status)
    return Published(settings.endpoint, name, name, kept_uri, status)


def _keep_archive(name: str, model_data_uri: str, settings: PublishSettings, s3: Any) -> str:
    """Copies the archive to where it stays while its release is kept: instances start from it at any time."""
    bucket, key = split_s3_uri(model_data_uri)
    s3.copy_object(
        Bucket=settings.models_bucket, Key=release_key(name), CopySource={"Bucket": bucket, "Key": key}
    )
    return f"s3://{settings.models_bucket}/{release_key(name)}"


def _create_model(name: str, model_data_uri: str, settings: PublishSettings, sagemaker: Any) -> None:
    if _exists(sagemaker.describe_model, ModelName=name):
        return
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=settings.sagemaker_role_arn,
        PrimaryContainer={"Image": settings.inference_image, "ModelDataUrl": model_data_uri},
    )


def _create_config(name: str, settings: PublishSettings, sagemaker: Any) -> None:
    if _exists(sagemaker.describe_endpoint_config, EndpointConfigName=name):
        return
    variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": name}
    if settings.endpoint_kind == "serverless":
        variant["ServerlessConfig"] = {
            "MemorySizeInMB": settings.endpoint_memory_mb,
            "MaxConcurrency": settings.endpoint_max_concurrency,
        }
    else:
        variant |= {
            "InitialInstanceCount": 1,
            "InstanceType": settings.endpoint_instance_type,
            "InitialVariantWeight": 1.0,
        }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


def move_endpoint(config_name: str, settings: PublishSettings, sagemaker: Any) -> str:
    """Creates the endpoint on a configuration, or moves it there; its status afterwards.

    Raises:
        EndpointBusy: the endpoint is being changed.
    """
    from botocore.exceptions import ClientError

    if not _exists(sagemaker.describe_endpoint, EndpointName=settings.endpoint):
        sagemaker.create_endpoint(EndpointName=settings.endpoint, EndpointConfigName=config_name)
        return "Creating"
    described = sagemaker.describe_endpoint(EndpointName=settings.endpoint)
    status = str(described["EndpointStatus"])
    if described["EndpointConfigName"] == config_name and status in ("InService", "Creating", "Updating"):
        return status
    if status == "Failed":
        # A failed endpoint cannot be updated, only replaced; it serves nothing, so nothing is lost.
        sagemaker.delete_endpoint(EndpointName=settings.endpoint)
        raise EndpointBusy(f"endpoint {settings.endpoint} had failed and is being replaced")
    if status != "InService":
        raise EndpointBusy(f"endpoint {settings.endpoint} is {status}")
    try:
        sagemaker.update_endpoint(EndpointName=settings.endpoint, EndpointConfigName=config_name)
    except ClientError as error:
        if "Cannot update in-progress endpoint" in str(error):
            raise EndpointBusy(str(error)) from error
        raise
    return "Updating"


def _exists(describe: Any, **name: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        describe(**name)
    except ClientError as error:
        # SageMaker answers "Could not find ..." as a ValidationException, not as a 404.
        if "could not find" in str(error).lower() or error.response["Error"]["Code"] == "ResourceNotFound":
            return False
        raise
    return True
