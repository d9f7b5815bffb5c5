"""Stored lines and rejects as files on S3, by day, under keys that follow from the content of the import."""

import gzip
import hashlib
import json
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError

from functions.platform.contract import (
    COLLECT_REFUSED_PAYLOAD_MAX_CHARACTERS,
    RAW_PREFIX,
    REJECTED_PREFIX,
)
from functions.platform.errors import StorageUnavailable
from functions.platform.events.masking import masked_body, masked_text
from imports.history import Batch
from imports.rejects import Reject

# About 70 MB of text and 7 MB of gzip. Compaction and replay hold one file in memory.
LINES_PER_FILE = 200_000
COMPRESSION = 3
UPLOADS_AT_ONCE = 2
# S3 metadata with the digest of a file's text: gzip of another version may have other bytes.
DIGEST = "text-sha256"


@dataclass
class Uploaded:
    """The files of one import."""

    files: int = 0
    kept: int = 0
    lines: int = 0
    bytes: int = 0
    first_day: str = ""
    last_day: str = ""


class _Put(NamedTuple):
    """The result of one file: it was there already, or its bytes were written."""

    kept: bool = False
    bytes: int = 0


class Upload:
    """The upload of one import. With `s3=None` it counts and stores nothing."""

    def __init__(self, s3: Any, bucket: str, import_id: str) -> None:
        self.result = Uploaded()
        self._s3, self._bucket, self._import_id = s3, bucket, import_id

    def store(self, batches: Iterator[Batch]) -> Iterator[int]:
        """Store the lines, and yield their number after each batch.

        Raises:
            StorageUnavailable: S3 refused a file. Run the same import again: it continues.
        """
        under_way: deque[Future[_Put]] = deque()
        with ThreadPoolExecutor(UPLOADS_AT_ONCE, thread_name_prefix="import") as pool:
            for day, number, parts in self._files(batches):
                under_way.append(pool.submit(self._put, _raw_key(day, self._import_id, number), parts))
                # Finished texts wait in memory, so few of them may.
                while len(under_way) > UPLOADS_AT_ONCE:
                    self._count(under_way.popleft().result())
                yield self.result.lines
            for one in under_way:
                self._count(one.result())

    def _files(self, batches: Iterator[Batch]) -> Iterator[tuple[str, int, list[bytes]]]:
        """Yield day, number within the day, and the text of each file."""
        day, number, count, parts = "", 1, 0, list[bytes]()
        for batch in batches:
            for next_day, lines in _by_day(batch):
                if next_day != day:
                    if parts:
                        yield day, number, parts
                    day, number, count, parts = next_day, 1, 0, []
                    self.result.first_day = self.result.first_day or day
                    self.result.last_day = day
                start = 0
                while start < len(lines):
                    taken = lines[start : start + LINES_PER_FILE - count]
                    parts.append(_text(taken))
                    start, count = start + len(taken), count + len(taken)
                    self.result.lines += len(taken)
                    if count == LINES_PER_FILE:
                        yield day, number, parts
                        number, count, parts = number + 1, 0, []
        if parts:
            yield day, number, parts

    def _count(self, put: "_Put") -> None:
        self.result.files += 1
        self.result.kept += put.kept
        self.result.bytes += put.bytes

    def _put(self, key: str, parts: list[bytes]) -> "_Put":
        sha256 = hashlib.sha256()
        for part in parts:
            sha256.update(part)
        digest = sha256.hexdigest()
        if self._s3 is None:
            return _Put()
        if self._digest_of(key) == digest:
            return _Put(kept=True)
        # The time would make the bytes of a repeated import differ.
        body = gzip.compress(b"".join(parts), COMPRESSION, mtime=0)
        try:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, Metadata={DIGEST: digest})
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailable(f"s3://{self._bucket}/{key} could not be written: {error}") from error
        return _Put(bytes=len(body))

    def _digest_of(self, key: str) -> str:
        """Return the digest of a stored file; without one, an empty text."""
        try:
            return str(self._s3.head_object(Bucket=self._bucket, Key=key)["Metadata"].get(DIGEST, ""))
        except ClientError as error:
            # Without s3:ListBucket, S3 answers 403 for a missing key.
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "403"):
                return ""
            raise StorageUnavailable(f"s3://{self._bucket}/{key} could not be read: {error}") from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"s3://{self._bucket}/{key} could not be read: {error}") from error

    def store_rejected(self, spool: "Spool") -> int:
        """Store the rejects below the first day of the import, and return the number of files.

        An older day keeps them out of the nightly check of what was refused since yesterday.

        Raises:
            StorageUnavailable: S3 refused a file. Run the same import again: it continues.
        """
        before = self.result.files
        day = self.result.first_day or "1970-01-01"
        for number, part in enumerate(spool.parts(), start=1):
            self._count(self._put(_key(REJECTED_PREFIX, day, self._import_id, number), [part]))
        return self.result.files - before


class Spool:
    """Rejects on their way to S3, in the form in which the collector stores refused events."""

    def __init__(self, shop: str, import_id: str, now_ms: int) -> None:
        self._shop, self._import_id, self._now_ms = shop, import_id, now_ms
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  the context of the spool closes it

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, reject: Reject) -> None:
        """Keep one reject."""
        record = {
            "index": reject.line,
            "event_id": None,
            "reason": reject.code,
            "message": f"{reject.file} line {reject.line}: {masked_text(reject.reason)}",
            "payload": json.dumps(masked_body(reject.text))[:COLLECT_REFUSED_PAYLOAD_MAX_CHARACTERS],
            "sender": self._shop,
            "trusted": True,
            "source": "import",
            "request_id": self._import_id,
            "received_at_ms": self._now_ms,
            "sent_at_ms": None,
            "ip_prefix": None,
            "device": "other",
            "is_bot": False,
        }
        self._file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def parts(self) -> Iterator[bytes]:
        """Yield the lines, as many as a file has."""
        self._file.seek(0)
        lines: list[bytes] = []
        for line in self._file:
            lines.append(line)
            if len(lines) == LINES_PER_FILE:
                yield b"".join(lines)
                lines = []
        if lines:
            yield b"".join(lines)


def _raw_key(day: str, import_id: str, number: int) -> str:
    return _key(RAW_PREFIX, day, import_id, number)


def _key(prefix: str, day: str, import_id: str, number: int) -> str:
    """Return a key in the layout of Firehose. The first hour of a day has all of the day's imported events."""
    return f"{prefix}{day.replace('-', '/')}/00/{import_id}-{number:04d}.gz"


def _by_day(batch: Batch) -> Iterator[tuple[str, Any]]:
    """Yield each day of a batch with its lines; the days are sorted."""
    days = batch.days.dictionary_encode()
    codes = days.indices.to_numpy()
    bounds = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    for start, end in pairwise(bounds):
        yield str(batch.days[start]), batch.lines[start:end]


def _text(lines: Any) -> bytes:
    """Return lines as one text, without a step per line."""
    lines = lines.cast(pa.large_string())
    _, offsets, data = lines.buffers()
    bounds = np.frombuffer(offsets, np.int64, len(lines) + 1, lines.offset * 8)
    return bytes(memoryview(data)[int(bounds[0]) : int(bounds[-1])])
