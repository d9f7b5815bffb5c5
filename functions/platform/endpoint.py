"""The serving endpoints of a shop: two names per kind, each created on a configuration or moved there.

The shop's own endpoint serves the release on record. A new release is proved, and compared with the one on record, on the
candidate's endpoint, which exists only during a run.

SageMaker refuses to turn a real-time endpoint into a serverless one. A serverless endpoint can become real-time, but never
again serverless. So each kind has an endpoint of its own, and a change of the kind is a change of the name.
https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
"""

from typing import Any

from functions.platform.errors import EndpointBusy
from functions.platform.shop_names import shop_prefix

KINDS = ("serverless", "realtime")
REALTIME_SUFFIX = "-realtime"
CANDIDATE_SUFFIX = "-candidate"


def endpoint_name(prefix: str, shop_id: str, kind: str) -> str:
    """Return the name of a shop's endpoint of a kind, `serverless` or `realtime`, in the stage with this prefix."""
    return shop_prefix(prefix, shop_id) + (REALTIME_SUFFIX if kind == "realtime" else "")


def candidate_name(prefix: str, shop_id: str, kind: str) -> str:
    """Return the name of the endpoint on which a new release of a shop is proved."""
    return endpoint_name(prefix, shop_id, kind) + CANDIDATE_SUFFIX


def endpoint_names(prefix: str, shop_id: str) -> tuple[str, ...]:
    """Return the names of all endpoints that a shop may have."""
    own = tuple(endpoint_name(prefix, shop_id, kind) for kind in KINDS)
    return (*own, *(name + CANDIDATE_SUFFIX for name in own))


def unnamed_endpoints(prefix: str) -> tuple[str, ...]:
    """Return the endpoints without a shop in their names. A stage has them from before it could serve several shops."""
    own = (prefix, prefix + REALTIME_SUFFIX)
    return (*own, *(name + CANDIDATE_SUFFIX for name in own))


def is_realtime(name: str) -> bool:
    """Return True if an endpoint of this name is a real-time one."""
    return name.removesuffix(CANDIDATE_SUFFIX).endswith(REALTIME_SUFFIX)


def move_endpoint(name: str, config_name: str, sagemaker: Any, autoscaling: Any) -> str:
    """Create the endpoint on a configuration or move it there, and return SageMaker's status of the endpoint.

    A real-time endpoint that moves stops scaling, and its number of instances stays.

    Raises:
        EndpointBusy: SageMaker is still changing or deleting the endpoint.
    """
    from botocore.exceptions import ClientError

    from functions.platform.scaling import stop_scaling

    described = find(sagemaker.describe_endpoint, EndpointName=name)
    if described is None:
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config_name)
        return "Creating"
    status = str(described["EndpointStatus"])
    if config_of(described) == config_name and status in ("InService", "Creating", "Updating"):
        return status
    if status == "Failed":
        # A failed endpoint cannot be updated, only replaced. It serves nothing, so deleting it loses nothing.
        sagemaker.delete_endpoint(EndpointName=name)
        raise EndpointBusy(f"endpoint {name} had failed and is being replaced")
    if status != "InService":
        raise EndpointBusy(f"endpoint {name} is {status}")
    kept = {}
    if is_realtime(name):
        stop_scaling(name, autoscaling)
        kept = {"RetainAllVariantProperties": True}
    try:
        sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config_name, **kept)
    except ClientError as error:
        if "Cannot update in-progress endpoint" in str(error):
            raise EndpointBusy(str(error)) from error
        raise
    return "Updating"


def config_of(described: dict[str, Any]) -> str:
    """Return the configuration that an endpoint serves, or is moving to. Until a move ends, SageMaker names the old one.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_PendingDeploymentSummary.html
    """
    pending = described.get("PendingDeploymentSummary") or described
    return str(pending["EndpointConfigName"])


def delete_endpoint(name: str, sagemaker: Any) -> bool:
    """Delete an endpoint; return False if there is none. SageMaker then also ends its autoscaling.

    Raises:
        EndpointBusy: SageMaker is changing the endpoint, and deletes none in that state.
    """
    described = find(sagemaker.describe_endpoint, EndpointName=name)
    if described is None or described["EndpointStatus"] == "Deleting":
        return False
    if described["EndpointStatus"] not in ("InService", "Failed", "OutOfService", "UpdateRollbackFailed"):
        raise EndpointBusy(f"endpoint {name} is {described['EndpointStatus']}, and can be deleted afterwards")
    sagemaker.delete_endpoint(EndpointName=name)
    return True


def find(describe: Any, **name: str) -> dict[str, Any] | None:
    """Return what SageMaker's describe call answers, None if the named resource does not exist."""
    from botocore.exceptions import ClientError

    try:
        described: dict[str, Any] = describe(**name)
    except ClientError as error:
        # SageMaker answers "Could not find ..." as a ValidationException, not as a 404.
        if "could not find" in str(error).lower() or error.response["Error"]["Code"] == "ResourceNotFound":
            return None
        raise
    return described
