"""Rollback: the endpoint back onto a configuration that was proved, after a release that was not or should not have been."""

from typing import Any, Literal, NamedTuple, TypedDict

from functions.errors import NothingToRollBackTo
from functions.log import get_logger
from functions.publish.archive import read_archive
from functions.publish.current import Current, make_current, read_current
from functions.publish.publish import move_endpoint
from functions.settings import PublishSettings

log = get_logger(__name__)


class RollbackEvent(TypedDict):
    """`current`: undo a release that failed its proof. `previous`: undo the release that is recorded as current."""

    to: Literal["current", "previous"]


class RolledBack(NamedTuple):
    """Where the endpoint goes; SageMaker moves it within minutes, serving all the while."""

    endpoint_name: str
    endpoint_config_name: str | None
    model_version: str | None
    endpoint_status: str


def rollback(event: RollbackEvent, settings: PublishSettings, sagemaker: Any, s3: Any) -> RolledBack:
    """Moves the endpoint back.

    Raises:
        NothingToRollBackTo: `previous` was asked for and no earlier release is kept.
        EndpointBusy: somebody else is changing the endpoint.
    """
    current = read_current(s3, settings.models_bucket)
    if event["to"] == "current":
        if current.release is None:
            # The very first release failed: without an endpoint, /recommend says that no model is published.
            sagemaker.delete_endpoint(EndpointName=settings.endpoint)
            return RolledBack(settings.endpoint, None, None, "Deleting")
        target = current.release
    else:
        if current.previous is None:
            raise NothingToRollBackTo("no earlier release is kept: only the second release has one before it")
        target = current.previous
    status = move_endpoint(target.endpoint_config, settings, sagemaker)
    if event["to"] == "previous":
        archive = read_archive(target.model_data_uri, s3)
        make_current(Current(target, current.release), archive, s3, settings.models_bucket)
    log.info("endpoint rolled back", endpoint=settings.endpoint, config=target.endpoint_config, status=status)
    return RolledBack(settings.endpoint, target.endpoint_config, target.model_version, status)
