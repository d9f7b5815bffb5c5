"""The serving endpoint: create it on a configuration, or move it there."""

from typing import Any

from functions.platform.errors import EndpointBusy
from functions.platform.settings import PublishSettings


def move_endpoint(config_name: str, settings: PublishSettings, sagemaker: Any) -> str:
    """Create the endpoint on a configuration or move it there, and return SageMaker's status of the endpoint.

    Raises:
        EndpointBusy: another caller is changing the endpoint.
    """
    from botocore.exceptions import ClientError

    if not exists(sagemaker.describe_endpoint, EndpointName=settings.endpoint):
        sagemaker.create_endpoint(EndpointName=settings.endpoint, EndpointConfigName=config_name)
        return "Creating"
    described = sagemaker.describe_endpoint(EndpointName=settings.endpoint)
    status = str(described["EndpointStatus"])
    if described["EndpointConfigName"] == config_name and status in ("InService", "Creating", "Updating"):
        return status
    if status == "Failed":
        # A failed endpoint cannot be updated, only replaced. It serves nothing, so deleting it loses nothing.
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


def exists(describe: Any, **name: str) -> bool:
    """Return True if SageMaker's describe call finds the named resource."""
    from botocore.exceptions import ClientError

    try:
        describe(**name)
    except ClientError as error:
        # SageMaker answers "Could not find ..." as a ValidationException, not as a 404.
        if "could not find" in str(error).lower() or error.response["Error"]["Code"] == "ResourceNotFound":
            return False
        raise
    return True
