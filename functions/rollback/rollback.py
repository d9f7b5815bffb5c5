"""Rollback: move the endpoint back onto an earlier release, after one that failed or was a mistake."""

from typing import Any, Literal, NamedTuple, TypedDict

from functions.platform.endpoint import move_endpoint
from functions.platform.errors import NothingToRollBackTo
from functions.platform.log import get_logger
from functions.platform.model_archive import read_model_archive
from functions.platform.releases import ReleaseRecord, read_record, write_record
from functions.platform.settings import PublishSettings

log = get_logger(__name__)


class RollbackEvent(TypedDict):
    """`current` undoes a release that was not proved. `previous` undoes the current release."""

    to: Literal["current", "previous"]


class RolledBack(NamedTuple):
    """The target of the endpoint. SageMaker moves it within minutes, and the endpoint serves meanwhile."""

    endpoint_name: str
    endpoint_config_name: str | None
    model_version: str | None
    endpoint_status: str


def rollback(event: RollbackEvent, settings: PublishSettings, sagemaker: Any, s3: Any) -> RolledBack:
    """Move the endpoint back.

    Raises:
        NothingToRollBackTo: the event asks for `previous`, and no earlier release is kept.
        EndpointBusy: another caller is changing the endpoint.
    """
    record = read_record(s3, settings.models_bucket)
    if event["to"] == "current":
        if record.current is None:
            # The very first release failed. Without an endpoint, /recommend answers NO_MODEL_YET.
            sagemaker.delete_endpoint(EndpointName=settings.endpoint)
            return RolledBack(settings.endpoint, None, None, "Deleting")
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
    return RolledBack(settings.endpoint, target.endpoint_config, target.model_version, status)
