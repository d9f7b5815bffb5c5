"""Rewrite stored files without the person's lines: same key, and every other line byte for byte as it was."""

import gzip
import io
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

from botocore.exceptions import BotoCoreError, ClientError

from functions.erase.journal import Journal, Store, StoredKey, delete_version, get_if_present
from functions.platform.errors import StorageUnavailable
from functions.platform.log import get_logger

log = get_logger(__name__)

# What Firehose sets. A rewritten file keeps them.
KEPT_HEADERS = ("ContentType", "ContentEncoding")


class Unreadable(Exception):
    """A file is broken gzip, so its lines cannot be examined. The message says why."""


class Kept(NamedTuple):
    """The content of a file without the person's lines, and how many were theirs."""

    content: bytes
    lines: int


def without(content: bytes, is_theirs: Callable[[bytes], bool]) -> Kept:
    """Return the content of a file without the person's lines. A file that is not compressed stays so.

    Raises:
        Unreadable: the file starts as gzip and cannot be decompressed to its end.
    """
    compressed = content.startswith(b"\x1f\x8b")
    try:
        text = gzip.decompress(content) if compressed else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Unreadable(f"broken gzip: {error}") from None
    lines = list(io.BytesIO(text))
    kept = [line for line in lines if not is_theirs(line.rstrip(b"\n"))]
    if len(kept) == len(lines):
        return Kept(content, 0)
    rest = b"".join(kept)
    return Kept(gzip.compress(rest) if compressed else rest, len(lines) - len(kept))


def rewrite(
    store: Store,
    journal: Journal,
    place: str,
    found: StoredKey,
    is_theirs: Callable[[bytes], bool],
) -> bool:
    """Rewrite a file without the person's lines, and delete its versions that contain them.

    The journal counts the lines before anything changes. A repeated call for the same key counts nothing.

    Returns:
        True if a version of the file contained the person.

    Raises:
        StorageUnavailable: S3 did not answer, or somebody else replaced the file meanwhile.
    """
    s3, bucket, key, current = store.s3, store.bucket, found.key, found.current
    stored: Any = None
    kept = Kept(b"", 0)
    if current is not None:
        stored = get_if_present(s3, bucket, key)
        if stored is not None:
            kept = _kept(journal, key, stored["Body"].read(), is_theirs)
    old = [version for version in found.versions if version != current]
    theirs = [version for version in old if _contains(s3, bucket, key, version, is_theirs)]
    if not kept.lines and not theirs:
        return False
    if journal.counted_key != key:
        journal.counted_key = key
        journal.count(f"{place} lines", kept.lines)
        journal.count(f"{place} files rewritten", int(kept.lines > 0))
        journal.count(f"{place} old versions deleted", len(theirs) + int(kept.lines > 0))
        if kept.lines:
            journal.rewritten.append(key)
        store.write(journal)
    if kept.lines:
        headers = {name: stored[name] for name in KEPT_HEADERS if stored.get(name)}
        # The bucket's lifecycle deletes packed files by their tag.
        headers |= _tagging(s3, bucket, key)
        new = _put(s3, bucket, key, kept.content, stored["ETag"], headers)
        # Without versioning, the old content is replaced, and both have the version `null`.
        if new is not None and current is not None and new != current:
            theirs.append(current)
    for version in theirs:
        delete_version(s3, bucket, key, version)
    return True


def _kept(journal: Journal, key: str, content: bytes, is_theirs: Callable[[bytes], bool]) -> Kept:
    try:
        return without(content, is_theirs)
    except Unreadable as unreadable:
        if key not in journal.unreadable:
            journal.unreadable.append(key)
            log.warning("file not examined", key=key, reason=str(unreadable))
        return Kept(content, 0)


def _contains(s3: Any, bucket: str, key: str, version: str, is_theirs: Callable[[bytes], bool]) -> bool:
    """Return True if an old version contains the person, or cannot be examined."""
    try:
        content = s3.get_object(Bucket=bucket, Key=key, VersionId=version)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("MethodNotAllowed", "405", "NoSuchVersion", "NoSuchKey"):
            return False  # a delete marker, or a version that an earlier call deleted
        raise StorageUnavailable(f"a version of s3://{bucket}/{key} could not be read: {error}") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"a version of s3://{bucket}/{key} could not be read: {error}") from error
    try:
        return without(content, is_theirs).lines > 0
    except Unreadable:
        return True


def read(s3: Any, bucket: str, key: str) -> list[bytes]:
    """Return the lines of a file; of a missing or broken one, none."""
    stored = get_if_present(s3, bucket, key)
    if stored is None:
        return []
    content = stored["Body"].read()
    try:
        text = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return []
    return list(text.split(b"\n"))


def _tagging(s3: Any, bucket: str, key: str) -> dict[str, str]:
    try:
        tags = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"the tags of s3://{bucket}/{key} could not be read: {error}") from error
    return {"Tagging": urlencode({tag["Key"]: tag["Value"] for tag in tags})} if tags else {}


def _put(s3: Any, bucket: str, key: str, body: bytes, etag: str, headers: dict[str, str]) -> str | None:
    """Replace an object that still has the ETag; return the new version, or None without versioning."""
    try:
        stored = s3.put_object(Bucket=bucket, Key=key, Body=body, IfMatch=etag, **headers)
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{key} could not be replaced: {error}") from error
    version = stored.get("VersionId")
    return None if version in (None, "null") else str(version)
