"""Lock: let one execution run at a time, by conditional writes of an object in S3, and end an execution that failed.

An execution has two locks: that of the stage's tables, and that of its shop. A night holds the first one for all its shops: their
executions then take only their shop's. So a night that was stopped cannot publish for a shop together with the next one.

An object names its holder: an execution, or an erasure with the end of its lease. An execution that was stopped or timed
out cannot release the lock. The next one asks Step Functions whether the holder still runs, and replaces it if not.
If-None-Match and If-Match make S3 refuse all but one of several writers:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from functions.platform.contract import LOCK_KEY, LockResult
from functions.platform.errors import StorageUnavailable
from functions.platform.log import get_logger
from functions.platform.s3_keys import lock_key
from functions.platform.settings import LockSettings

log = get_logger(__name__)

TRIES = 5
# DescribeExecution is eventually consistent: it may not find an execution that has just started. Step Functions keeps an
# execution for 90 days, so one that is not found later than this has ended.
UNKNOWN_MEANS_ENDED_AFTER = timedelta(minutes=10)


class Failure(TypedDict):
    """The state that failed, and its error."""

    state: str
    error: str
    cause: str


class LockEvent(TypedDict):
    """The execution, and whether it begins, releases its locks, or ends with a failure. Log lines carry `run_id`.

    A holder without `shop_id` changes tables only: a night, or an erasure. `night` is the execution that started this one.
    """

    run_id: str
    action: Literal["acquire", "release", "end"]
    execution_arn: str
    shop_id: NotRequired[str]
    night: NotRequired[str]
    # Both belong to `end`. `redriven` is true if the execution was redriven after this failure.
    failure: NotRequired[Failure]
    redriven: NotRequired[bool]
    # A holder that is no execution has the lock for this time, and acquires it again before the end.
    lease_s: NotRequired[int]


class Lock(NamedTuple):
    """The lock as it was read. `etag` makes a later write fail if another execution wrote in between."""

    holder: str
    etag: str
    written_at: datetime
    until: datetime | None


def lock(event: LockEvent, settings: LockSettings, s3: Any, states: Any) -> LockResult:
    """Acquire or release the locks, or end the execution. Each can be repeated.

    Raises:
        StorageUnavailable: S3 did not answer, or other executions kept changing a lock.
        Exception: `end` raises the failure of the run, under the name of its error.
    """
    execution, bucket = event["execution_arn"], settings.models_bucket
    keys = [LOCK_KEY, *([lock_key(event["shop_id"])] if event.get("shop_id") else [])]
    if event["action"] == "end":
        return _end(event)
    if event["action"] == "release":
        return _released(execution, bucket, keys, s3)
    for key in keys:
        result = _acquire(event, bucket, key, s3, states)
        if not result["acquired"]:
            _released(execution, bucket, keys, s3)
            return result
    return {"acquired": True, "holder": execution}


def _acquire(event: LockEvent, bucket: str, key: str, s3: Any, states: Any) -> LockResult:
    """Acquire one lock. That of the tables is also acquired if the night that started the execution holds it."""
    execution, night = event["execution_arn"], event.get("night")
    for _ in range(TRIES):
        found = _read(bucket, key, s3)
        if found is not None and found.holder != execution and _is_running(found, states):
            if night and found.holder == night:
                log.info("the night holds the lock", holder=night)
                return {"acquired": True, "holder": night}
            log.info("another execution runs", key=key, holder=found.holder)
            return {"acquired": False, "holder": found.holder}
        if _write(execution, event.get("lease_s"), found, bucket, key, s3):
            log.info("lock acquired", key=key, replaced=found.holder if found else None)
            return {"acquired": True, "holder": execution}
    raise StorageUnavailable(
        f"s3://{bucket}/{key} changed {TRIES} times while it was read: other executions are starting. Start again"
    )


def _end(event: LockEvent) -> LockResult:
    """Raise the failure of the run, unless the execution was redriven after it.

    Step Functions redrives an execution from the state that failed without a Catch. A Fail state would only fail again.
    """
    failure = event["failure"]
    if event["redriven"]:
        log.info("run continues after a redrive", failed_state=failure["state"], error=failure["error"])
        return {"acquired": False, "holder": None}
    # Lambda reports the name of the class, which Step Functions makes the error of the execution.
    error = type(failure["error"], (Exception,), {})
    raise error(f"{failure['state']}: {failure['cause']}")


def _released(execution: str, bucket: str, keys: list[str], s3: Any) -> LockResult:
    """Delete the locks that the execution holds. Return the holder of the tables' lock."""
    # The tables' lock last: whoever has it finds the shop's lock free.
    for key in reversed(keys):
        found = _read(bucket, key, s3)
        if found is not None and found.holder == execution:
            _conditional(s3.delete_object, bucket, key, IfMatch=found.etag)
            found = None
    return {"acquired": False, "holder": found.holder if found else None}


def _read(bucket: str, key: str, s3: Any) -> Lock | None:
    from botocore.exceptions import ClientError

    try:
        stored = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise StorageUnavailable(f"s3://{bucket}/{key}: {error}") from error
    content = json.loads(stored["Body"].read())
    until = datetime.fromisoformat(content["until"]) if "until" in content else None
    return Lock(content["execution_arn"], stored["ETag"], stored["LastModified"], until)


def _write(
    execution: str, lease_s: int | None, replaced: Lock | None, bucket: str, key: str, s3: Any
) -> bool:
    """Write the lock unless it changed since `replaced` was read; return True if it was written."""
    condition = {"IfMatch": replaced.etag} if replaced else {"IfNoneMatch": "*"}
    content = {"execution_arn": execution}
    if lease_s is not None:
        content["until"] = (datetime.now(UTC) + timedelta(seconds=lease_s)).isoformat()
    return _conditional(s3.put_object, bucket, key, Body=json.dumps(content).encode(), **condition)


def _conditional(call: Any, bucket: str, key: str, **arguments: Any) -> bool:
    """Return True if S3 accepted the conditional request, False if the condition was not met."""
    from botocore.exceptions import ClientError

    try:
        call(Bucket=bucket, Key=key, **arguments)
    except ClientError as error:
        # 412: the object differs. 409: another request was faster. 404: the object was deleted in between.
        if error.response["Error"]["Code"] in (
            "PreconditionFailed",
            "ConditionalRequestConflict",
            "NoSuchKey",
        ):
            return False
        raise StorageUnavailable(f"s3://{bucket}/{key}: {error}") from error
    return True


def _is_running(found: Lock, states: Any) -> bool:
    from botocore.exceptions import ClientError

    if found.until is not None:
        return datetime.now(UTC) < found.until
    try:
        return bool(states.describe_execution(executionArn=found.holder)["status"] == "RUNNING")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
    return datetime.now(UTC) - found.written_at < UNKNOWN_MEANS_ENDED_AFTER
