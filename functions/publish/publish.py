"""Publish: a SageMaker model, its endpoint configuration, and an endpoint created or moved onto it.

Every call can be repeated with the same run id: existing resources of the run are used as they are.
"""

from typing import Any, Literal, NotRequired, TypedDict

from functions.platform.contract import PublishResult
from functions.platform.endpoint import find, move_endpoint
from functions.platform.log import get_logger
from functions.platform.model_archive import copy_archive
from functions.platform.releases import read_record, write_canary
from functions.platform.run_names import release_name
from functions.platform.s3_keys import release_key
from functions.platform.scaling import VARIANT
from functions.platform.settings import PublishSettings

log = get_logger(__name__)


class PublishEvent(TypedDict):
    """The run, its shop, the archive of its training job, and the endpoint that starts to serve it.

    `candidate` is an endpoint that no shopper asks. `stage` is the shop's own, for a release that was proved as a candidate.
    """

    run_id: str
    shop_id: str
    model_data_uri: str
    target: NotRequired[Literal["candidate", "stage"]]


def publish(
    event: PublishEvent, settings: PublishSettings, sagemaker: Any, autoscaling: Any, s3: Any
) -> PublishResult:
    """Start to serve a copy of the archive. The state machine waits until the endpoint is in service.

    If the stage's kind of endpoint has changed, the shop's endpoint of the new kind starts beside the other one. Shoppers
    are sent to it when the release is on record.

    Raises:
        EndpointBusy: another caller is changing the endpoint.
        StorageUnavailable: S3 did not answer, or another caller changed the record.
    """
    shop_id = event["shop_id"]
    name = release_name(settings.prefix, shop_id, event["run_id"])
    kept_uri = _keep_archive(name, event["model_data_uri"], settings, s3)
    _create_model(name, kept_uri, settings, sagemaker)
    _create_config(name, settings, sagemaker)
    target = event.get("target", "stage")
    endpoint = settings.endpoint(shop_id)
    if target == "candidate":
        endpoint = settings.candidate(shop_id)
        _end_other_canary(shop_id, name, settings, s3)
    status = move_endpoint(endpoint, name, sagemaker, autoscaling)
    log.info("endpoint moves to a new configuration", endpoint=endpoint, config=name, status=status)
    return {
        "target": target,
        "endpoint_name": endpoint,
        "endpoint_config_name": name,
        "model_name": name,
        "model_data_uri": kept_uri,
        "endpoint_status": status,
    }


def _end_other_canary(shop_id: str, name: str, settings: PublishSettings, s3: Any) -> None:
    """Withdraw the canary that an earlier run left behind. Its shoppers must not ask the candidate's endpoint meanwhile."""
    record = read_record(s3, settings.models_bucket, shop_id)
    if record.canary and record.canary.release.endpoint_config != name:
        log.warning("an earlier run left its canary", of_run=record.canary.release.run_id)
        write_canary(record, None, s3, settings.models_bucket)


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
