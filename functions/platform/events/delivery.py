"""Delivery of lines to Firehose, before the client gets its 200. Records that Firehose refuses are parked in S3."""

import gzip
import time
import uuid
from collections.abc import Iterable
from typing import Any

from functions.platform.errors import UNREADABLE, StorageUnavailable
from functions.platform.log import get_logger
from functions.platform.time_box import Deadline, DeadlinePassed, call_until

log = get_logger(__name__)

# Firehose bills each record rounded up to 5 KB. It takes 1,000 KiB per record, and 500 records and 4 MiB per call. So
# many lines share one record: https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html
RECORD_MAX_BYTES = 500_000
RECORDS_MAX = 8
ATTEMPTS = 3
FIRST_PAUSE_S = 0.05
# An answer takes 0.1 s. After this time, or half of what the Lambda has left, the records go to S3.
FIREHOSE_S = 4.0


def pack(lines: Iterable[bytes]) -> list[bytes]:
    """Join lines to records of at most `RECORD_MAX_BYTES`, in order."""
    records: list[bytes] = []
    current: list[bytes] = []
    size_bytes = 0
    for line in lines:
        if current and size_bytes + len(line) > RECORD_MAX_BYTES:
            records.append(b"".join(current))
            current, size_bytes = [], 0
        current.append(line)
        size_bytes += len(line)
    if current:
        records.append(b"".join(current))
    return records


def deliver(
    lines: list[bytes], stream: str, prefix: str, bucket: str, firehose: Any, s3: Any, deadline: Deadline
) -> None:
    """Store the lines in Firehose, or in S3 below the same prefix if Firehose refuses them or does not answer.

    A line may be stored twice: Firehose can keep what it did not acknowledge in time. The warehouse drops copies.

    Raises:
        StorageUnavailable: neither took them before the deadline, and the caller must send them again.
    """
    records = pack(lines)
    firehose_until = deadline.at_most(min(FIREHOSE_S, deadline.remaining_s() / 2))
    for start in range(0, len(records), RECORDS_MAX):
        unacknowledged = _put(records[start : start + RECORDS_MAX], stream, firehose, firehose_until)
        if unacknowledged:
            _park(unacknowledged, stream, prefix, bucket, s3, deadline)


def _put(records: list[bytes], stream: str, firehose: Any, deadline: Deadline) -> list[bytes]:
    """Return the records that Firehose did not acknowledge after `ATTEMPTS`, or before the deadline."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError

    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
        entries = [{"Data": record} for record in records]
        try:
            response = call_until(
                deadline,
                lambda: firehose.put_record_batch(DeliveryStreamName=stream, Records=entries),  # noqa: B023
            )
            records = _refused(records, response)
        except (DeadlinePassed, ConnectTimeoutError, ReadTimeoutError) as error:
            # Who waits again for a service that hangs has no time left for S3.
            log.warning("firehose hangs", stream=stream, attempt=attempt + 1, error=type(error).__name__)
            return records
        except (BotoCoreError, ClientError) as error:
            log.warning("firehose refused a batch", stream=stream, attempt=attempt + 1, error=str(error))
            continue
        except UNREADABLE as error:
            log.warning("firehose's answer is unreadable", stream=stream, error=type(error).__name__)
            return records
        if not records:
            return []
        log.warning("firehose refused records", stream=stream, attempt=attempt + 1, records=len(records))
    return records


def _refused(records: list[bytes], response: Any) -> list[bytes]:
    """Return the records that Firehose refused.

    Raises:
        KeyError, TypeError, ValueError: the response is not Firehose's.
    """
    if response["FailedPutCount"] == 0:
        return []
    results = response["RequestResponses"]
    return [record for record, result in zip(records, results, strict=True) if result.get("ErrorCode")]


def _park(records: list[bytes], stream: str, prefix: str, bucket: str, s3: Any, deadline: Deadline) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    key = f"{prefix}{time.strftime('%Y/%m/%d/%H', time.gmtime())}/{stream}-parked-{uuid.uuid4()}.gz"
    body = gzip.compress(b"".join(records))
    try:
        stored = call_until(deadline, lambda: s3.put_object(Bucket=bucket, Key=key, Body=body))
    except (BotoCoreError, ClientError, DeadlinePassed) as error:
        raise StorageUnavailable(f"neither Firehose {stream} nor S3 took {len(records)} records") from error
    if not stored.get("ETag"):
        raise StorageUnavailable(f"S3 acknowledged {key} without an ETag, so something else answered")
    log.warning("records parked in S3", bucket=bucket, key=key, records=len(records))
