"""Read the files and lines of raw/ and rejected/ for a replay."""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from functions.platform.contract import COLLECT_PAGE_AGE_MAX_MS
from functions.platform.errors import StorageUnavailable
from functions.platform.events.batch import parse_batch
from functions.platform.events.clock import set_back_ms
from functions.platform.events.contract import Timing
from functions.replay.period import Period


class Unreadable(Exception):
    """A line, or the rest of a file, was not written by the collector. The message contains the reason."""


class ArchivedEvent(NamedTuple):
    """An event as it was sent, its timing, and its field `server` without the event's time.

    `sender` is the shop whose key came with a refused event. An accepted event was sent by its own shop.
    `age_max_ms` is the limit of a page's refused event. An accepted event has passed the limits of its time.
    """

    event: Any
    timing: Timing
    server: dict[str, Any]
    sender: str
    age_max_ms: int | None = None


def stored_keys(period: Period, bucket: str, prefix: str) -> Iterator[str]:
    """Yield the keys below a prefix of the period in order; only one page of a listing is in memory.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    import awswrangler
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        for page in awswrangler.s3.list_objects(
            f"s3://{bucket}/{prefix}", last_modified_end=period.stored_before, chunked=True
        ):
            yield from (str(path).removeprefix(f"s3://{bucket}/") for path in page)
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{prefix} could not be listed: {error}") from error


def lines(bucket: str, key: str) -> Iterator[bytes]:
    """Yield the lines of a file without their line breaks.

    Raises:
        Unreadable: the file or its end is not gzip; the lines before were yielded.
        StorageUnavailable: S3 did not answer.
    """
    import awswrangler
    from botocore.exceptions import BotoCoreError, ClientError

    content = io.BytesIO()
    try:
        awswrangler.s3.download(path=f"s3://{bucket}/{key}", local_file=content)
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{key} could not be read: {error}") from error
    content.seek(0)
    try:
        with gzip.open(content) as unpacked:
            yield from (line.removesuffix(b"\n") for line in unpacked)
    except (EOFError, OSError, zlib.error) as error:
        raise Unreadable(f"no gzip from here on: {error}") from None


def archived_events(text: bytes, archive: str) -> list[ArchivedEvent]:
    """Return the events of an archived line: one, or all of a refused body.

    Raises:
        Unreadable: the collector did not write the line.
        RequestRefused: the line is a body that the current contract refuses as a whole.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {error}") from None
    try:
        return [_of_raw(record)] if archive == "raw" else _of_rejected(record)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"not a line of {archive}/, {type(error).__name__}: {str(error)[:100]}") from None


def _of_raw(record: dict[str, Any]) -> ArchivedEvent:
    server = record.pop("server")
    received_at_ms, event_time_ms = int(server["received_at_ms"]), int(server.pop("event_time_ms"))
    # This set_back_ms reproduces the archived event_time_ms.
    timing = Timing(received_at_ms, set_back_ms=int(record["client_time_ms"]) - event_time_ms)
    return ArchivedEvent(record, timing, server, record["shop_id"])


def _of_rejected(record: dict[str, Any]) -> list[ArchivedEvent]:
    try:
        payload = json.loads(record["payload"])
    except (ValueError, RecursionError):
        raise Unreadable("its payload was too long to be kept whole") from None
    # Lines from before 2026-11-29 have neither a measured error of the clock nor its being set back.
    sent_at_ms, clock_error_ms = record.get("sent_at_ms"), record.get("clock_error_ms")
    events, set_back = [payload], [record.get("set_back_ms", 0)]
    if record["index"] is None:
        batch = parse_batch(payload.encode("utf-8", "surrogatepass"))
        events, sent_at_ms, clock_error_ms = batch
        set_back = set_back_ms(events, sent_at_ms)
    server = {
        "received_at_ms": record["received_at_ms"],
        "source": record["source"],
        # Lines from before 2026-11-24 have no origin.
        "ip_prefix": record.get("ip_prefix"),
        "device": record.get("device", "other"),
        "is_bot": record.get("is_bot", False),
        "request_id": record["request_id"],
    }
    # The record's own field. A field of the payload has no effect: the contract drops it.
    is_trusted = record.get("trusted") is True
    if is_trusted:
        server["trusted"] = True
    age_max_ms = None if is_trusted else COLLECT_PAGE_AGE_MAX_MS
    timing = Timing(record["received_at_ms"], sent_at_ms, clock_error_ms)
    return [
        ArchivedEvent(event, timing._replace(set_back_ms=back_ms), server, record["sender"], age_max_ms)
        for event, back_ms in zip(events, set_back, strict=True)
    ]
