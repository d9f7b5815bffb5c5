"""Replay: reads a period of `raw/` or `rejected/` and sends what today's contract accepts to the events stream.

Events keep their ids and times, so the warehouse, which keeps the first of an event_id, counts nothing twice.
"""

import gzip
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypedDict

from functions.collect.collector import RAW_PREFIX
from functions.collect.contract import Timing, accept, line
from functions.collect.delivery import deliver
from functions.errors import RequestRefused
from functions.log import get_logger
from functions.settings import CollectSettings

log = get_logger(__name__)

HOUR_FORMAT = "%Y-%m-%dT%H"
LINES_PER_DELIVERY = 2_000


class ReplayEvent(TypedDict):
    """Archive and period: hours of receipt in UTC such as `2026-01-31T07`, the last one included."""

    archive: Literal["raw", "rejected"]
    from_hour: str
    to_hour: str


class Replayed(NamedTuple):
    """How many archived lines were read, sent again, and refused again by reason."""

    files: int
    read: int
    sent: int
    refused: dict[str, int]


def replay(event: ReplayEvent, settings: CollectSettings, firehose: Any, s3: Any) -> Replayed:
    """Sends a period's events again.

    Raises:
        ValueError: the archive or an hour cannot be read.
        StorageUnavailable: stopped half-way; run it again, what was sent twice is counted once.
    """
    if event["archive"] not in ("raw", "rejected"):
        raise ValueError(f"archive is raw or rejected, not {event['archive']!r}")
    files = read = sent = 0
    refused: dict[str, int] = {}
    lines: list[bytes] = []
    for body in _files(event, settings.events_bucket):
        files += 1
        for text in gzip.decompress(body).splitlines():
            read += 1
            try:
                lines.append(_again(json.loads(text), event["archive"], settings))
                sent += 1
            except RequestRefused as refusal:
                refused[refusal.reason.value] = refused.get(refusal.reason.value, 0) + 1
        if len(lines) >= LINES_PER_DELIVERY:
            deliver(lines, settings.events_stream, RAW_PREFIX, settings.events_bucket, firehose, s3)
            lines = []
    if lines:
        deliver(lines, settings.events_stream, RAW_PREFIX, settings.events_bucket, firehose, s3)
    log.info("archive replayed", archive=event["archive"], files=files, read=read, sent=sent, refused=refused)
    return Replayed(files, read, sent, refused)


def _files(event: ReplayEvent, bucket: str) -> Iterator[bytes]:
    """Contents of the archive's files of the period, hour by hour."""
    import awswrangler

    hour = datetime.strptime(event["from_hour"], HOUR_FORMAT).replace(tzinfo=UTC)
    last = datetime.strptime(event["to_hour"], HOUR_FORMAT).replace(tzinfo=UTC)
    while hour <= last:
        for path in awswrangler.s3.list_objects(f"s3://{bucket}/{event['archive']}/{hour:%Y/%m/%d/%H}/"):
            content = io.BytesIO()
            awswrangler.s3.download(path=path, local_file=content)
            yield content.getvalue()
        hour += timedelta(hours=1)


def _again(archived: Any, archive: str, settings: CollectSettings) -> bytes:
    """The line to send for an archived one."""
    if archive == "raw":
        server = archived.pop("server")
        kept = accept(archived, settings.shops, Timing(server["received_at_ms"]))
        kept.pop("event_time_ms")
        return line({**kept, "server": server})
    try:
        payload = json.loads(archived["payload"])
    except ValueError:
        payload = None
    kept = accept(payload, settings.shops, Timing(archived["received_at_ms"]))
    event_time_ms = kept.pop("event_time_ms")
    server = {
        "received_at_ms": archived["received_at_ms"],
        "event_time_ms": event_time_ms,
        "source": archived["source"],
        "ip_prefix": None,
        "device": "other",
        "is_bot": False,
        "request_id": archived["request_id"],
    }
    return line({**kept, "server": server})
