"""The journal of an erasure: what is found, done and counted, so that a later call continues where one was killed.

It contains the person's ids, because only with them can the work continue. The last phase deletes it with all versions.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from functions.erase.person import Person
from functions.platform.contract import ERASURE_JOURNALS_PREFIX
from functions.platform.errors import StorageUnavailable


class Journal(Struct):
    """The state of one erasure. `after` is the last key that the current phase has finished."""

    kind: str
    id: str
    shop: str | None
    started_at: str
    phase: str = "find"
    after: str = ""
    # The key whose lines are counted, and whose rewriting can be interrupted.
    counted_key: str = ""
    rows_counted: bool = False
    # Shop and id of each client, and how many of them the phase `find` has searched the warehouse for.
    clients: list[tuple[str, str]] = []
    clients_searched: int = 0
    # The first and the last event of the person per shop, in milliseconds.
    times: dict[str, tuple[int, int]] = {}
    counts: dict[str, int] = {}
    rewritten: list[str] = []
    unreadable: list[str] = []
    snapshots: list[str] = []
    models: list[dict[str, Any]] = []

    def count(self, place: str, number: int) -> None:
        """Add to the count of a place."""
        self.counts[place] = self.counts.get(place, 0) + number


class Store:
    """The objects of one erasure in S3. `etag` makes a write fail if another call wrote in between."""

    def __init__(self, s3: Any, bucket: str, digest: str) -> None:
        self.s3, self.bucket, self.digest = s3, bucket, digest
        self._prefix = f"{ERASURE_JOURNALS_PREFIX}{digest}/"
        self._etag = ""

    def read(self) -> Journal | None:
        """Return the journal, or None if no erasure of the person is under way.

        Raises:
            StorageUnavailable: S3 did not answer.
        """
        stored = get_if_present(self.s3, self.bucket, self._prefix + "journal.json")
        if stored is None:
            self._etag = ""
            return None
        self._etag = str(stored["ETag"])
        return msgspec.json.decode(stored["Body"].read(), type=Journal)

    def begin(self, person: Person, started_at: str) -> Journal:
        """Write and return a new journal."""
        journal = Journal(person.kind, person.id, person.shop, started_at)
        self.write(journal)
        return journal

    def write(self, journal: Journal) -> None:
        """Replace the journal that was read.

        Raises:
            StorageUnavailable: S3 did not answer, or another call wrote the journal meanwhile.
        """
        condition = {"IfMatch": self._etag} if self._etag else {"IfNoneMatch": "*"}
        self._etag = self._put("journal.json", msgspec.json.encode(journal), **condition)

    def write_files(self, keys: list[str]) -> None:
        """Write the keys in raw/ that the erasure has to read, sorted."""
        self._put("files.json", msgspec.json.encode(keys))

    def files(self) -> list[str]:
        """Return the keys in raw/ that the erasure has to read, sorted."""
        stored = get_if_present(self.s3, self.bucket, self._prefix + "files.json")
        return [] if stored is None else msgspec.json.decode(stored["Body"].read(), type=list[str])

    def delete(self) -> None:
        """Delete every object of the erasure with all versions, the journal last."""
        found = list(versions_below(self.s3, self.bucket, self._prefix))
        for stored in sorted(found, key=lambda one: one.key.endswith("/journal.json")):
            # The oldest first: while the newest is there, a killed call is repeated.
            for version in reversed(stored.versions):
                delete_version(self.s3, self.bucket, stored.key, version)

    def _put(self, name: str, body: bytes, **condition: str) -> str:
        key = self._prefix + name
        try:
            stored = self.s3.put_object(
                Bucket=self.bucket, Key=key, Body=body, ContentType="application/json", **condition
            )
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailable(f"s3://{self.bucket}/{key} could not be written: {error}") from error
        return str(stored["ETag"])


class StoredKey(NamedTuple):
    """A key with its current version, or None if it is deleted, and with all versions and delete markers, newest first."""

    key: str
    current: str | None
    versions: list[str]
    stored_at: datetime


class _Version(NamedTuple):
    key: str
    version: str
    stored_at: datetime
    is_object: bool
    is_latest: bool


def get_if_present(s3: Any, bucket: str, key: str) -> Any:
    """Return S3's answer to a GET, or None if there is no such object.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    try:
        return s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise StorageUnavailable(f"s3://{bucket}/{key} could not be read: {error}") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"s3://{bucket}/{key} could not be read: {error}") from error


def versions_below(s3: Any, bucket: str, prefix: str) -> Iterator[StoredKey]:
    """Yield the keys below a prefix in order.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    for key, group in groupby(_versions(s3, bucket, prefix), key=attrgetter("key")):
        found = list(group)
        current = next((one.version for one in found if one.is_object and one.is_latest), None)
        yield StoredKey(key, current, [one.version for one in found], max(one.stored_at for one in found))


def _versions(s3: Any, bucket: str, prefix: str) -> Iterator[_Version]:
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            listed = [
                _Version(one["Key"], one["VersionId"], one["LastModified"], is_object, one["IsLatest"])
                for name, is_object in (("Versions", True), ("DeleteMarkers", False))
                for one in page.get(name, [])
            ]
            yield from sorted(listed, key=attrgetter("key"))
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(
            f"the versions of s3://{bucket}/{prefix} could not be listed: {error}"
        ) from error


def delete_version(s3: Any, bucket: str, key: str, version: str) -> None:
    """Delete one version of an object permanently.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    try:
        s3.delete_object(Bucket=bucket, Key=key, VersionId=version)
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"a version of s3://{bucket}/{key} could not be deleted: {error}") from error
