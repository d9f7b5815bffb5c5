"""Packed days: the files of a day of raw/ as a few parquet files, one row per line, and the manifest that lists them.

The manifest is the only truth: it lists files whose rows were read back and found equal. Other parquet files are ignored.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from functions.platform.contract import PACKED_MANIFESTS_PREFIX, PACKED_PREFIX
from functions.platform.errors import StorageUnavailable

# Rows per step of a read: about 15 MB of text.
ROWS_PER_READ = 20_000


class PackedDayDamaged(Exception):
    """A parquet file does not hold what its manifest lists. The message names the file and the next step."""


class PackedFile(Struct):
    """One raw file in a parquet file. `sha256` is over its lines, joined by line breaks."""

    key: str
    lines: int
    sha256: str
    stored_at: float
    part: str
    # Tagged on S3, so that the bucket's lifecycle may delete it.
    expires: bool = False


class Manifest(Struct):
    """The packed files of a day such as 2026-11-29."""

    day: str
    files: list[PackedFile] = []
    # Each erasure adds one. The changed ETag makes a compaction fail that read the raw files before.
    erasures: int = 0

    def by_key(self) -> dict[str, PackedFile]:
        """Return the packed files by their keys in raw/."""
        return {file.key: file for file in self.files}


def new_part_key(day: str) -> str:
    """Return a key for a parquet file of a day. It is new, so that no call can overwrite a file that a manifest lists."""
    return f"{PACKED_PREFIX}day={day}/{uuid.uuid4().hex}.parquet"


def digest(lines: Iterable[bytes]) -> str:
    """Return the SHA-256 of lines joined by line breaks."""
    sha256, between = hashlib.sha256(), b""
    for line in lines:
        sha256.update(between + line)
        between = b"\n"
    return sha256.hexdigest()


def read_manifest(s3: Any, bucket: str, day: str) -> tuple[Manifest, str]:
    """Return the manifest of a day and its ETag; without one, an empty manifest and an empty text.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    key = _manifest_key(day)
    try:
        stored = s3.get_object(Bucket=bucket, Key=key)
        return msgspec.json.decode(stored["Body"].read(), type=Manifest), str(stored["ETag"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return Manifest(day), ""
        raise StorageUnavailable(f"s3://{bucket}/{key} could not be read: {error}") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"s3://{bucket}/{key} could not be read: {error}") from error


def write_manifest(s3: Any, bucket: str, manifest: Manifest, etag: str) -> str:
    """Replace the manifest that had this ETag, and return the new ETag.

    Raises:
        StorageUnavailable: S3 did not answer, or another call wrote the manifest meanwhile. Run the call again.
    """
    key = _manifest_key(manifest.day)
    condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    body = msgspec.json.encode(manifest)
    try:
        stored = s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json", **condition)
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{key} could not be replaced: {error}") from error
    return str(stored["ETag"])


def _manifest_key(day: str) -> str:
    return f"{PACKED_MANIFESTS_PREFIX}{day}.json"


def rows(bucket: str, part: str) -> Iterator[tuple[str, bytes]]:
    """Yield key and line of each row of a parquet file, in order.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    import awswrangler

    path = f"s3://{bucket}/{part}"
    try:
        # One thread: parallel reads fetch the whole file ahead of its reader.
        for frame in awswrangler.s3.read_parquet(
            path=[path], columns=["key", "line"], chunked=ROWS_PER_READ, use_threads=False
        ):
            yield from ((key, line.encode()) for key, line in zip(frame["key"], frame["line"], strict=True))
    except (BotoCoreError, ClientError, awswrangler.exceptions.NoFilesFound) as error:
        raise StorageUnavailable(f"{path} could not be read: {error}") from error


def write_rows(bucket: str, part: str, frame: Any) -> None:
    """Write a parquet file from a frame with the columns key, line_number, shop_id, received_at_ms and line.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    import awswrangler

    path = f"s3://{bucket}/{part}"
    try:
        awswrangler.s3.to_parquet(
            frame,
            path=path,
            compression="zstd",
            dtype={"key": "string", "shop_id": "string", "line": "string"},
            # A dictionary of whole lines only costs memory.
            pyarrow_additional_kwargs={"use_dictionary": ["key", "shop_id"], "version": "2.6"},
            use_threads=False,
        )
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"{path} could not be written: {error}") from error


class PackedDay:
    """The packed files of one day, read in the order of their keys: each parquet file once, and a step at a time."""

    def __init__(self, bucket: str, manifest: Manifest) -> None:
        self._bucket, self.day = bucket, manifest.day
        self.files = manifest.by_key()
        self._open: dict[str, Iterator[tuple[str, Iterator[tuple[str, bytes]]]]] = {}

    def lines(self, key: str) -> Iterator[bytes]:
        """Yield the lines of a packed file. Keys must be asked for in order; files in between are skipped.

        Raises:
            StorageUnavailable: S3 did not answer.
            PackedDayDamaged: the parquet file lacks lines that the manifest lists.
        """
        file = self.files[key]
        found = 0
        if file.lines:
            if file.part not in self._open:
                self._open[file.part] = groupby(rows(self._bucket, file.part), key=itemgetter(0))
            for _, line in next((group for name, group in self._open[file.part] if name == key), iter(())):
                found += 1
                yield line
        if found != file.lines:
            raise PackedDayDamaged(
                f"s3://{self._bucket}/{file.part} has {found} of the {file.lines} lines of {key}: restore an older "
                "version of it (the bucket keeps versions), then run the same call again"
            )
