"""Compact: pack the raw files of finished days into parquet files, and let S3 delete the originals later.

Every step can be repeated: a call that ends half-way leaves nothing but parquet files that no manifest lists.
"""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from functions.compact.days import parse_days
from functions.platform.contract import RAW_PREFIX, CompactResult
from functions.platform.errors import StorageUnavailable
from functions.platform.log import get_logger
from functions.platform.packed_days import (
    Manifest,
    PackedDayDamaged,
    PackedFile,
    digest,
    new_part_key,
    read_manifest,
    rows,
    write_manifest,
    write_rows,
)
from functions.platform.settings import CompactSettings

log = get_logger(__name__)

# A parquet file takes whole raw files until it has this many lines: about 300 MB of memory, and 10 MB on S3.
LINES_PER_PART = 200_000
# Enough for a parquet file of LINES_PER_PART lines and one more raw file of 128 MB, the most that Firehose buffers.
STOP_BEFORE_END_MS = 240_000
REPORTED_FILES = 50
# The lifecycle rule in statemachine/resources.yaml deletes raw files with this tag only.
PACKED_TAG = {"TagSet": [{"Key": "packed", "Value": "true"}]}


class UnpackableFile(Exception):
    """A raw file is not gzip or not UTF-8. It stays in raw/. The message says why."""


class _Server(Struct):
    received_at_ms: int | None = None


class _Line(Struct):
    shop_id: str | None = None
    server: _Server | None = None


_decode = msgspec.json.Decoder(_Line).decode


@dataclass
class _Part:
    """The rows of one parquet file before it is written, as columns."""

    keys: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    shops: list[str | None] = field(default_factory=list)
    received: list[int | None] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    files: list[tuple[str, int, str, float]] = field(default_factory=list)

    def add(self, key: str, lines: list[bytes], stored_at: float) -> None:
        """Add the lines of a raw file.

        Raises:
            UnpackableFile: a line is not UTF-8.
        """
        try:
            texts = [line.decode() for line in lines]
        except UnicodeDecodeError as error:
            raise UnpackableFile(f"not UTF-8: {error}") from None
        for number, line in enumerate(lines, start=1):
            shop, received = _origin(line)
            self.shops.append(shop)
            self.received.append(received)
            self.numbers.append(number)
        self.keys += [key] * len(lines)
        self.lines += texts
        self.files.append((key, len(lines), digest(lines), stored_at))


def compact(
    event: Any, settings: CompactSettings, s3: Any, remaining_ms: Callable[[], int] = lambda: sys.maxsize
) -> CompactResult:
    """Pack the raw files of finished days that are not packed yet.

    Args:
        event: `{}` for the last finished days, or `{"from_day": "2026-01-01", "to_day": "2026-01-31"}`, days in UTC.
        settings: bucket, and the age at which packed files are deleted.
        s3: the client.
        remaining_ms: the time that is left to this Lambda.

    Returns:
        What was packed, and the files that could not be. `finished` is False if the time was too short: the next
        call with the same event continues.

    Raises:
        ValueError: the event is invalid.
        StorageUnavailable: S3 did not answer, or another call packs the same day.
        PackedDayDamaged: a parquet file that was just written has other lines than the raw files.
    """
    result: CompactResult = {
        "days": [],
        "files": 0,
        "lines": 0,
        "parts": 0,
        "unpackable": [],
        "finished": True,
    }
    for day in parse_days(event, datetime.now(UTC)):
        _compact_day(day, settings, s3, remaining_ms, result)
        result["days"].append(day.isoformat())
        if not result["finished"]:
            break
    log.info("compacted", **result)
    return result


def _compact_day(
    day: date, settings: CompactSettings, s3: Any, remaining_ms: Callable[[], int], result: CompactResult
) -> None:
    bucket = settings.events_bucket
    manifest, etag = read_manifest(s3, bucket, day.isoformat())
    stored = list(_keys(s3, bucket, f"{RAW_PREFIX}{day:%Y/%m/%d}/"))
    packed = manifest.by_key()
    for part in _parts(s3, bucket, [key for key in stored if key not in packed], remaining_ms, result):
        manifest.files += _store(part, manifest, bucket)
        etag = write_manifest(s3, bucket, manifest, etag)
        result["parts"] += 1
        result["files"] += len(part.files)
        result["lines"] += len(part.lines)
    if settings.raw_expire_days:
        _let_expire(s3, bucket, manifest, etag, set(stored))


def _keys(s3: Any, bucket: str, prefix: str) -> Iterator[str]:
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from (found["Key"] for found in page.get("Contents", []))
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{prefix} could not be listed: {error}") from error


def _parts(
    s3: Any, bucket: str, keys: list[str], remaining_ms: Callable[[], int], result: CompactResult
) -> Iterator[_Part]:
    """Yield the rows of the files, one parquet file at a time, as long as time remains."""
    part = _Part()
    for key in keys:
        if len(part.lines) >= LINES_PER_PART:
            yield part
            part = _Part()
        if remaining_ms() < STOP_BEFORE_END_MS:
            result["finished"] = False
            break
        try:
            part.add(key, *_read(s3, bucket, key))
        except UnpackableFile as unpackable:
            log.warning("raw file not packed", key=key, reason=str(unpackable))
            if len(result["unpackable"]) < REPORTED_FILES:
                result["unpackable"].append(f"{key}: {unpackable}")
    if part.files:
        yield part


def _read(s3: Any, bucket: str, key: str) -> tuple[list[bytes], float]:
    """Return the lines of a raw file without their line breaks, and the time at which it was stored."""
    try:
        stored = s3.get_object(Bucket=bucket, Key=key)
        content = gzip.decompress(stored["Body"].read())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UnpackableFile(f"not gzip: {error}") from None
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{key} could not be read: {error}") from error
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines, stored["LastModified"].timestamp()


def _origin(line: bytes) -> tuple[str | None, int | None]:
    """Return shop and time of receipt, for queries. A line that the collector did not write has none."""
    try:
        event = _decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None, None
    return event.shop_id, event.server.received_at_ms if event.server else None


def _store(part: _Part, manifest: Manifest, bucket: str) -> list[PackedFile]:
    """Write a parquet file, read it back, and return its entries for the manifest."""
    import pandas

    key = new_part_key(manifest.day)
    frame = pandas.DataFrame(
        {
            "key": part.keys,
            "line_number": pandas.Series(part.numbers, dtype="int32"),
            "shop_id": pandas.Series(part.shops, dtype="str"),
            "received_at_ms": pandas.Series(part.received, dtype="Int64"),
            "line": part.lines,
        }
    )
    write_rows(bucket, key, frame)
    written = [(name, lines, sha256) for name, lines, sha256, _ in part.files if lines]
    if (found := list(_contents(bucket, key))) != written:
        wrong = next((pair for pair in zip(found, written, strict=False) if pair[0] != pair[1]), None)
        raise PackedDayDamaged(
            f"s3://{bucket}/{key} has {len(found)} of {len(written)} files, the first difference is {wrong}: nothing "
            "was recorded and the raw files are kept. Run the same call again"
        )
    return [PackedFile(name, lines, sha256, stored_at, key) for name, lines, sha256, stored_at in part.files]


def _contents(bucket: str, part: str) -> Iterator[tuple[str, int, str]]:
    """Yield key, number of lines and digest of each raw file in a parquet file."""
    name, lines = "", list[bytes]()
    for key, line in rows(bucket, part):
        if key != name and lines:
            yield name, len(lines), digest(lines)
            lines = []
        name = key
        lines.append(line)
    if lines:
        yield name, len(lines), digest(lines)


def _let_expire(s3: Any, bucket: str, manifest: Manifest, etag: str, stored: set[str]) -> None:
    """Tag the packed raw files, so that the bucket's lifecycle deletes them at their age."""
    waiting = [file for file in manifest.files if file.key in stored and not file.expires]
    if not waiting:
        return
    try:
        for file in waiting:
            s3.put_object_tagging(Bucket=bucket, Key=file.key, Tagging=PACKED_TAG)
            file.expires = True
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{file.key} could not be tagged: {error}") from error
    write_manifest(s3, bucket, manifest, etag)
