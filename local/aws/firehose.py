"""Firehose with buffers: it acknowledges records when they are on disk and writes them to S3 by size or by age.

moto 5.2.5 writes every request to S3 as one uncompressed object and does not limit the size of a batch. This module patches
put_record_batch (limit, buffers) and delete_delivery_stream (flush first). The next start flushes the buffers of a crash.
As on AWS, records are concatenated unchanged, so a producer of lines ends each record with a newline.
It delivers under the role of the destination, and retries as on AWS while the role may not write.
ErrorOutputPrefix is ignored, because no record is transformed here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import re
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.firehose import models
from moto.firehose.exceptions import InvalidArgumentException, ResourceNotFoundException

from local.aws import firehose_buffer, logs, s3
from local.aws.authorization import documented, sessions
from local.aws.cloudwatch.store import record
from local.aws.firehose_buffer import Buffer
from local.aws.settings import ACCOUNT_ID, REGION, Settings

log = logging.getLogger(__name__)

MAX_BATCH_BYTES = 4 * 1024 * 1024
_PATTERN = re.compile(r"!\{(?P<kind>timestamp|firehose):(?P<value>[^}]+)\}")
_DATE_LETTERS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


@dataclass(frozen=True)
class Target:
    """The S3 destination of a stream. It is stored beside the buffers, because moto keeps streams in memory only."""

    stream: str
    version: str
    bucket: str
    prefix: str
    gzip: bool
    delimiter: str
    interval_s: float
    size_bytes: int
    role_arn: str
    log_group: str = ""
    log_stream: str = ""


class Buffers:
    """The open buffers of all streams."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: dict[str, tuple[Target, Buffer]] = {}
        self._changed = threading.Condition()

    def start(self) -> None:
        """Flush the buffers of an earlier process and start the thread that flushes by age."""
        for path in sorted(self.root.glob("*/*.buffer")):
            stored = json.loads((path.parent / "stream.json").read_text())
            target = Target(**{"role_arn": "", **stored})  # older versions stored no role
            _flush_soon(target, path)
        threading.Thread(target=self._run, daemon=True, name="firehose").start()

    def append(self, target: Target, data: bytes) -> None:
        """Append to the buffer of a stream; the data is on disk when this returns."""
        with self._changed:
            entry = self._open.get(target.stream)
            if entry is not None and entry[0] != target:
                self._close(target.stream)
                entry = None
            if entry is None:
                folder = self.root / target.stream
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "stream.json").write_text(json.dumps(asdict(target)))
                entry = self._open[target.stream] = (target, Buffer(folder))
                self._changed.notify()
            entry[1].append(data)
            if entry[1].size_bytes >= target.size_bytes:
                self._close(target.stream)

    def flush(self, stream: str) -> None:
        """Write the open buffer of a stream to S3 now."""
        with self._changed:
            if stream in self._open:
                self._close(stream)

    def _close(self, stream: str) -> None:
        target, buffer = self._open.pop(stream)
        buffer.close()
        _flush_soon(target, buffer.path)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.time()
                waits = {
                    name: buffer.began + target.interval_s - now
                    for name, (target, buffer) in self._open.items()
                }
                for name, wait_s in waits.items():
                    if wait_s <= 0:
                        self._close(name)
                self._changed.wait(min((wait_s for wait_s in waits.values() if wait_s > 0), default=None))


def put(buffers: Buffers, name: str, data: list[bytes]) -> list[str]:
    """Buffer records for S3 and return their ids. The records are on disk when this returns."""
    stream = models.firehose_backends[ACCOUNT_ID][REGION].delivery_streams.get(name)
    target = _target(stream) if stream is not None else None
    if target is None:
        raise ResourceNotFoundException(f"Firehose {name} under account {ACCOUNT_ID} not found.")
    _refuse_over_limits(data)
    end = target.delimiter.encode()
    buffers.append(target, b"".join(one + end for one in data) if end else b"".join(data))
    incoming = {"IncomingRecords": len(data), "IncomingBytes": sum(map(len, data))}
    record("AWS/Firehose", incoming, DeliveryStreamName=name)
    request_id = uuid.uuid4().hex
    return [f"{request_id}{number:032x}" for number in range(len(data))]


def install(settings: Settings) -> Buffers:
    """Patch moto's Firehose and flush the buffers of the last process. S3 must be restored before."""
    buffers = Buffers(settings.state / "firehose")
    buffers.start()
    create = models.FirehoseBackend.create_delivery_stream
    delete = models.FirehoseBackend.delete_delivery_stream
    other_destinations = models.FirehoseBackend.put_record_batch

    def create_delivery_stream(self: models.FirehoseBackend, *args: Any, **kwargs: Any) -> str:
        arn: str = create(self, *args, **kwargs)
        name = arn.rpartition("/")[2]
        target = _target(self.delivery_streams[name])
        if target is None:
            return arn
        try:
            _session(target)
        except sessions.CannotAssumeRole:
            delete(self, name)
            raise InvalidArgumentException(
                f"Firehose is unable to assume role {target.role_arn}. Please check the role provided."
            ) from None
        return arn

    def put_record_batch(
        self: models.FirehoseBackend, delivery_stream_name: str, records: list[dict[str, Any]]
    ) -> dict[str, Any]:
        stream = self.delivery_streams.get(delivery_stream_name)
        if stream is not None and _target(stream) is None:
            response: dict[str, Any] = other_destinations(self, delivery_stream_name, records)
            return response
        ids = put(buffers, delivery_stream_name, [_bytes(record["Data"]) for record in records])
        return {"FailedPutCount": 0, "Encrypted": False, "RequestResponses": [{"RecordId": i} for i in ids]}

    def delete_delivery_stream(self: models.FirehoseBackend, delivery_stream_name: str) -> None:
        delete(self, delivery_stream_name)
        buffers.flush(delivery_stream_name)

    models.FirehoseBackend.create_delivery_stream = create_delivery_stream
    models.FirehoseBackend.put_record_batch = put_record_batch
    models.FirehoseBackend.delete_delivery_stream = delete_delivery_stream
    return buffers


def object_key(target: Target, arrived: datetime) -> str:
    """Return Firehose's key for an object whose first record arrived at this time."""
    compressed = ".gz" if target.gzip else ""
    return (
        f"{object_prefix(target.prefix, arrived)}{target.stream}-{target.version}-"
        f"{arrived:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}{compressed}"
    )


def object_prefix(prefix: str, arrived: datetime) -> str:
    """Return the prefix with its expressions evaluated; without an expression, followed by date and hour."""

    def value(match: re.Match[str]) -> str:
        if match["kind"] == "firehose":
            return uuid.uuid4().hex[:11]
        pattern = match["value"].replace("'", "")
        for letters, directive in _DATE_LETTERS.items():
            pattern = pattern.replace(letters, directive)
        return arrived.strftime(pattern)

    if _PATTERN.search(prefix):
        return _PATTERN.sub(value, prefix)
    return f"{prefix}{arrived:%Y/%m/%d/%H}/"


def _flush_soon(target: Target, path: Path) -> None:
    threading.Thread(target=_flush, args=(target, path), daemon=True, name="firehose-flush").start()


def _flush(target: Target, path: Path) -> None:
    """Write a closed buffer to S3; retry until S3 accepts it, as Firehose does for 24 hours."""
    arrived = datetime.fromtimestamp(firehose_buffer.began(path), UTC)
    data = firehose_buffer.content(path, target.gzip)
    delay_s = 0.5
    while any(firehose_buffer.frames(path)):
        name = object_key(target, arrived)
        age_s = round(time.time() - arrived.timestamp())
        record("AWS/Firehose", {"DeliveryToS3.DataFreshness": age_s}, DeliveryStreamName=target.stream)
        try:
            _session(target).require(*documented.firehose_delivery(target.bucket, name))
            key = s3.backend().put_object(target.bucket, name, data)
        except Exception as error:  # any error of S3 is retried, also a bucket that does not exist yet
            log.exception(
                "%s could not write to %s; it retries in %s s", target.stream, target.bucket, delay_s
            )
            _log_error(target, error)
            time.sleep(delay_s)
            delay_s = min(delay_s * 2, 60)
        else:
            key.set_metadata({"Content-Type": "application/octet-stream"})
            break
    path.unlink()


def _log_error(target: Target, error: Exception) -> None:
    """Write a failed delivery to the log stream of the destination, if it has one."""
    if not target.log_group:
        return
    with contextlib.suppress(sessions.CannotAssumeRole):
        logs.append_events(
            _session(target), target.log_group, target.log_stream, [str(error)], int(time.time() * 1000)
        )


def _session(target: Target) -> sessions.Session:
    # Firehose sends the account as external id: https://docs.aws.amazon.com/firehose/latest/dev/controlling-access.html
    return sessions.assume(
        target.role_arn, "firehose.amazonaws.com", "Firehose", {"sts:ExternalId": ACCOUNT_ID}
    )


def _target(stream: models.DeliveryStream) -> Target | None:
    destination = stream.destinations[0]
    config = destination.get("ExtendedS3") or destination.get("S3")
    if config is None:
        return None
    hints = config.get("BufferingHints") or {}
    logging_options = config.get("CloudWatchLoggingOptions") or {}
    return Target(
        stream=stream.delivery_stream_name,
        version=stream.version_id,
        bucket=config["BucketARN"].rpartition(":")[2],
        prefix=config.get("Prefix") or "",
        gzip=config.get("CompressionFormat") == "GZIP",
        delimiter=_delimiter(config.get("ProcessingConfiguration") or {}),
        interval_s=float(hints.get("IntervalInSeconds", 300)),
        size_bytes=int(hints.get("SizeInMBs", 5)) * 1024 * 1024,
        role_arn=config["RoleARN"],
        log_group=logging_options.get("LogGroupName", ""),
        log_stream=logging_options.get("LogStreamName", ""),
    )


def _delimiter(processing: dict[str, Any]) -> str:
    for processor in processing.get("Processors") or []:
        if processor["Type"] == "AppendDelimiterToRecord":
            named = {
                item["ParameterName"]: item["ParameterValue"] for item in processor.get("Parameters", [])
            }
            return str(named.get("Delimiter", "\\n")).replace("\\n", "\n")
    return ""


def _bytes(data: bytes | str) -> bytes:
    return data if isinstance(data, bytes) else base64.b64decode(data)


def _refuse_over_limits(data: list[bytes]) -> None:
    if sum(map(len, data)) > MAX_BATCH_BYTES:
        raise InvalidArgumentException("Records size exceeds 4 MB limit")
