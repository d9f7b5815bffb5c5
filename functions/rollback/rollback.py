"""Rollback: move the endpoint back onto an earlier release, after one that failed or was a mistake."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, NotRequired, TypedDict

from functions.platform.contract import RollbackResult
from functions.platform.endpoint import config_of, delete_endpoint, find, move_endpoint
from functions.platform.errors import EndpointBusy, NothingToRollBackTo, StorageUnavailable
from functions.platform.log import get_logger
from functions.platform.model_archive import read_model_archive
from functions.platform.releases import Release, ReleaseRecord, read_record, write_canary, write_record
from functions.platform.run_names import release_name, run_id_of
from functions.platform.settings import PublishSettings

log = get_logger(__name__)

BUSY_POLL_S = 10.0
# The last try ends this long before the Lambda does: its calls of AWS take seconds.
LAST_TRY_S = 60.0


class EndedExecution(TypedDict):
    """An execution that did not succeed, from EventBridge's event. `step_timeout_s` is the longest time of one step."""

    arn: str
    status: Literal["ABORTED", "FAILED", "TIMED_OUT"]
    started_at_ms: int
    stopped_at_ms: int
    step_timeout_s: float


class RollbackEvent(TypedDict):
    """`current` undoes a release of the shop that is not on record. `previous` undoes the release that `from_config` serves.

    While a canary runs, `previous` undoes the canary, unless `from_config` is the current release's.
    A call that is repeated after it succeeded finds another configuration on record, and changes nothing.
    With `ended`, `current` undoes the release of that execution only, unless it was redriven. Another run's release stays. The
    execution's input then names the shop.
    """

    to: Literal["current", "previous"]
    shop_id: NotRequired[str]
    from_config: NotRequired[str]
    ended: NotRequired[EndedExecution]


def rollback(
    event: RollbackEvent,
    settings: PublishSettings,
    sagemaker: Any,
    autoscaling: Any,
    s3: Any,
    states: Any,
    remaining_ms: Callable[[], int],
    sleep: Callable[[float], None] = time.sleep,
) -> RollbackResult:
    """Move the endpoint back. SageMaker takes minutes for it, and the endpoint serves meanwhile.

    Raises:
        NothingToRollBackTo: the event asks for `previous`, and no earlier release is kept.
        EndpointBusy: SageMaker is still changing an endpoint. The same call succeeds later.
        StorageUnavailable: S3 did not answer.
    """
    if "ended" in event:
        _wait_for_steps(event["ended"], sleep)
        while True:
            try:
                described = _described(event["ended"], states)
                shop_id = _shop_of(described, settings)
                if described["status"] == "RUNNING":
                    # It was redriven. Its release may be the one that it is proving, and its end is an event again.
                    log.info("the execution was redriven", of_run=_run_id(event["ended"]))
                    record = read_record(s3, settings.models_bucket, shop_id)
                    return _result(shop_id, settings, record.current, "Unchanged")
                return _undo_ended(event["ended"], shop_id, settings, sagemaker, autoscaling, s3)
            except (EndpointBusy, StorageUnavailable) as busy:
                if remaining_ms() < (BUSY_POLL_S + LAST_TRY_S) * 1000:
                    raise
                log.info("try again", cause=str(busy))
                sleep(BUSY_POLL_S)
    shop_id = event["shop_id"]
    record = read_record(s3, settings.models_bucket, shop_id)
    if event["to"] == "current":
        return _undo_unproved(shop_id, record, settings, sagemaker, autoscaling, s3)
    if record.canary and event.get("from_config") in (None, record.canary.release.endpoint_config):
        _withdraw(record, settings, s3)
        return _result(shop_id, settings, record.current, "InService")
    if record.current is not None and event.get("from_config") not in (None, record.current.endpoint_config):
        return _result(shop_id, settings, record.current, "Updating")
    if record.previous is None:
        raise NothingToRollBackTo(
            f"no earlier release of shop {shop_id} is kept: only the second release has one before it"
        )
    target = record.previous
    status = _move(target, sagemaker, autoscaling)
    if record.current is not None and target.endpoint != record.current.endpoint and status != "InService":
        # The record sends /recommend to the other endpoint at once, so it waits until that endpoint serves.
        raise EndpointBusy(f"endpoint {target.endpoint} is {status}")
    archive = read_model_archive(target.model_data_uri, s3)
    write_record(ReleaseRecord(target, record.current), archive, s3, settings.models_bucket)
    return _result(shop_id, settings, target, status)


def _wait_for_steps(ended: EndedExecution, sleep: Callable[[float], None]) -> None:
    """Wait until no step of the execution can still run.

    Step Functions does not stop a Lambda of an execution that it aborts. Publish could move the endpoint after the rollback.
    An execution that fails waits for its steps itself.
    """
    if ended["status"] != "FAILED":
        over_s = ended["stopped_at_ms"] / 1000 + ended["step_timeout_s"]
        sleep(max(0.0, over_s - time.time()))


def _described(ended: EndedExecution, states: Any) -> dict[str, Any]:
    """Return what Step Functions says of the execution; its event alone, if Step Functions has forgotten it."""
    from botocore.exceptions import ClientError

    try:
        described: dict[str, Any] = states.describe_execution(executionArn=ended["arn"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        return {"status": ended["status"]}
    return described


def _shop_of(described: dict[str, Any], settings: PublishSettings) -> str:
    """Return the shop of an execution. Without one in its input, the state Prepare takes the stage's first."""
    return str(json.loads(described.get("input") or "{}").get("shop_id") or settings.shop)


def _run_id(ended: EndedExecution) -> str:
    return run_id_of(ended["arn"], datetime.fromtimestamp(ended["started_at_ms"] / 1000, UTC))


def _undo_ended(
    ended: EndedExecution, shop_id: str, settings: PublishSettings, sagemaker: Any, autoscaling: Any, s3: Any
) -> RollbackResult:
    """Undo the release of an execution, unless it is on record or no endpoint has its configuration."""
    run_id = _run_id(ended)
    config = release_name(settings.prefix, shop_id, run_id)
    record = read_record(s3, settings.models_bucket, shop_id)
    proved = {release.endpoint_config for release in (record.current, record.previous) if release is not None}
    canaried = record.canary is not None and record.canary.release.endpoint_config == config
    names = (settings.endpoint(shop_id), settings.candidate(shop_id))
    served = any(_serves(name, config, sagemaker) for name in names)
    if config in proved or not (canaried or served):
        log.info("no unproved release of this run is served", of_run=run_id, execution_status=ended["status"])
        return _result(shop_id, settings, record.current, "Unchanged")
    log.warning("undo the unproved release of a run", of_run=run_id, execution_status=ended["status"])
    return _undo_unproved(shop_id, record, settings, sagemaker, autoscaling, s3)


def _serves(name: str, config: str, sagemaker: Any) -> bool:
    """Return True if an endpoint has the configuration or moves to it."""
    described = find(sagemaker.describe_endpoint, EndpointName=name)
    return (
        described is not None and described["EndpointStatus"] != "Deleting" and config_of(described) == config
    )


def _undo_unproved(
    shop_id: str, record: ReleaseRecord, settings: PublishSettings, sagemaker: Any, autoscaling: Any, s3: Any
) -> RollbackResult:
    """Send all shoppers to the release on record, move the shop's endpoint back to it, and delete the candidate's."""
    if record.canary:
        _withdraw(record, settings, s3)
    result = _undo_on_stage(shop_id, record.current, settings, sagemaker, autoscaling)
    candidate = settings.candidate(shop_id)
    deleted = delete_endpoint(candidate, sagemaker)
    log.info("endpoint deleted", endpoint=candidate, existed=deleted)
    return result


def _withdraw(record: ReleaseRecord, settings: PublishSettings, s3: Any) -> None:
    """End the canary. /recommend reads the record within seconds, and then asks the current release only."""
    write_canary(record, None, s3, settings.models_bucket)
    log.warning(
        "canary withdrawn", model_version=record.canary.release.model_version if record.canary else ""
    )


def _undo_on_stage(
    shop_id: str, current: Release | None, settings: PublishSettings, sagemaker: Any, autoscaling: Any
) -> RollbackResult:
    """Return to the release of record, or to no endpoint if there is none."""
    endpoint = settings.endpoint(shop_id)
    if current is None or current.endpoint != endpoint:
        # The first release, or the first of its kind, failed. /recommend never asked this endpoint, and it would cost.
        deleted = delete_endpoint(endpoint, sagemaker)
        log.info("endpoint deleted", endpoint=endpoint, existed=deleted)
        if current is None:
            return _result(shop_id, settings, None, "Deleting")
    return _result(shop_id, settings, current, _move(current, sagemaker, autoscaling))


def _move(target: Release, sagemaker: Any, autoscaling: Any) -> str:
    status = move_endpoint(target.endpoint, target.endpoint_config, sagemaker, autoscaling)
    log.info("endpoint rolled back", endpoint=target.endpoint, config=target.endpoint_config, status=status)
    return status


def _result(shop_id: str, settings: PublishSettings, target: Release | None, status: str) -> RollbackResult:
    return {
        "endpoint_name": target.endpoint if target else settings.endpoint(shop_id),
        "endpoint_config_name": target.endpoint_config if target else None,
        "model_version": target.model_version if target else None,
        "endpoint_status": status,
    }
