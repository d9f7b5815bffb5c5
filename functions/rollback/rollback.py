"""Rollback: move the endpoint back onto an earlier release, after one that failed or was a mistake."""

from typing import Any, Literal, TypedDict

from functions.platform.contract import RollbackResult
from functions.platform.endpoint import move_endpoint
from functions.platform.errors import NothingToRollBackTo
from functions.platform.log import get_logger
from functions.platform.model_archive import read_model_archive
from functions.platform.releases import Release, ReleaseRecord, read_record, write_record
from functions.platform.settings import PublishSettings

log = get_logger(__name__)


class RollbackEvent(TypedDict):
    """`current` undoes a release that was not proved. `previous` undoes the current release."""

    to: Literal["current", "previous"]


def rollback(event: RollbackEvent, settings: PublishSettings, sagemaker: Any, s3: Any) -> RollbackResult:
    """Move the endpoint back. SageMaker takes minutes for it, and the endpoint serves meanwhile.

    Raises:
        NothingToRollBackTo: the event asks for `previous`, and no earlier release is kept.
        EndpointBusy: another caller is changing the endpoint.
    """
    record = read_record(s3, settings.models_bucket)
    if event["to"] == "current":
        if record.current is None:
            # The very first release failed. Without an endpoint, /recommend answers NO_MODEL_YET.
            sagemaker.delete_endpoint(EndpointName=settings.endpoint)
            return _result(settings, None, "Deleting")
        target = record.current
    else:
        if record.previous is None:
            raise NothingToRollBackTo("no earlier release is kept: only the second release has one before it")
        target = record.previous
    status = move_endpoint(target.endpoint_config, settings, sagemaker)
    if event["to"] == "previous":
        archive = read_model_archive(target.model_data_uri, s3)
        write_record(ReleaseRecord(target, record.current), archive, s3, settings.models_bucket)
    log.info("endpoint rolled back", endpoint=settings.endpoint, config=target.endpoint_config, status=status)
    return _result(settings, target, status)


def _result(settings: PublishSettings, target: Release | None, status: str) -> RollbackResult:
    return {
        "endpoint_name": settings.endpoint,
        "endpoint_config_name": target.endpoint_config if target else None,
        "model_version": target.model_version if target else None,
        "endpoint_status": status,
    }
