"""Rollback: move the endpoint back onto an earlier release, after one that failed or was a mistake."""

from typing import Any, Literal, NotRequired, TypedDict

from functions.platform.contract import RollbackResult
from functions.platform.endpoint import delete_endpoint, move_endpoint
from functions.platform.errors import EndpointBusy, NothingToRollBackTo
from functions.platform.log import get_logger
from functions.platform.model_archive import read_model_archive
from functions.platform.releases import Release, ReleaseRecord, read_record, write_record
from functions.platform.settings import PublishSettings

log = get_logger(__name__)


class RollbackEvent(TypedDict):
    """`current` undoes a release that was not proved. `previous` undoes the release that `from_config` serves.

    A call that is repeated after it succeeded finds another configuration on record, and changes nothing.
    """

    to: Literal["current", "previous"]
    from_config: NotRequired[str]


def rollback(
    event: RollbackEvent, settings: PublishSettings, sagemaker: Any, autoscaling: Any, s3: Any
) -> RollbackResult:
    """Move the endpoint back. SageMaker takes minutes for it, and the endpoint serves meanwhile.

    Raises:
        NothingToRollBackTo: the event asks for `previous`, and no earlier release is kept.
        EndpointBusy: SageMaker is still changing an endpoint. The same call succeeds later.
    """
    record = read_record(s3, settings.models_bucket)
    if event["to"] == "current":
        return _undo_unproved(record.current, settings, sagemaker, autoscaling)
    if record.current is not None and event.get("from_config") not in (None, record.current.endpoint_config):
        return _result(settings, record.current, "Updating")
    if record.previous is None:
        raise NothingToRollBackTo("no earlier release is kept: only the second release has one before it")
    target = record.previous
    status = _move(target, sagemaker, autoscaling)
    if record.current is not None and target.endpoint != record.current.endpoint and status != "InService":
        # The record sends /recommend to the other endpoint at once, so it waits until that endpoint serves.
        raise EndpointBusy(f"endpoint {target.endpoint} is {status}")
    archive = read_model_archive(target.model_data_uri, s3)
    write_record(ReleaseRecord(target, record.current), archive, s3, settings.models_bucket)
    return _result(settings, target, status)


def _undo_unproved(
    current: Release | None, settings: PublishSettings, sagemaker: Any, autoscaling: Any
) -> RollbackResult:
    """Return to the release of record, or to no endpoint if there is none."""
    if current is None or current.endpoint != settings.endpoint:
        # The first release, or the first of its kind, failed. /recommend never asked this endpoint, and it would cost.
        deleted = delete_endpoint(settings.endpoint, sagemaker)
        log.info("endpoint deleted", endpoint=settings.endpoint, existed=deleted)
        if current is None:
            return _result(settings, None, "Deleting")
    return _result(settings, current, _move(current, sagemaker, autoscaling))


def _move(target: Release, sagemaker: Any, autoscaling: Any) -> str:
    status = move_endpoint(target.endpoint, target.endpoint_config, sagemaker, autoscaling)
    log.info("endpoint rolled back", endpoint=target.endpoint, config=target.endpoint_config, status=status)
    return status


def _result(settings: PublishSettings, target: Release | None, status: str) -> RollbackResult:
    return {
        "endpoint_name": target.endpoint if target else settings.endpoint,
        "endpoint_config_name": target.endpoint_config if target else None,
        "model_version": target.model_version if target else None,
        "endpoint_status": status,
    }
