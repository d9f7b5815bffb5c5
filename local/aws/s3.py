"""S3 with objects on disk, which survive kill -9.

moto 5.2.5 keeps objects in memory only. With these patches FakeKey reads its bytes from the store, writes and deletes reach the
store before they are acknowledged, and the start restores everything. Older versions of a key and unfinished multipart uploads
do not survive. Another correction: other requests may write between moto's check of If-Match or If-None-Match and its write.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from moto.s3 import models
from moto.s3.responses import S3Response

from local.aws.s3_store import ObjectStore
from local.aws.settings import ACCOUNT_ID, Settings

_lock = threading.RLock()
_conditions = threading.Lock()
_memory_value = models.FakeKey.value


def backend() -> models.S3Backend:
    """Return moto's S3, for services that read and write objects."""
    return models.s3_backends[ACCOUNT_ID]["aws"]


def install(settings: Settings) -> None:
    """Patch moto and restore the objects of the last process."""
    store = ObjectStore(settings.state / "s3")
    _read_values_from_disk()
    _keep_metadata(store)
    _keep_writes(store)
    _keep_deletes(store)
    _keep_buckets(store)
    _restore(store)
    for name in ("put_object", "delete_object"):
        setattr(S3Response, name, _one_condition_at_a_time(getattr(S3Response, name)))


def _read_values_from_disk() -> None:
    def value(key: models.FakeKey) -> bytes:
        path: Path | None = getattr(key, "data_path", None)
        return path.read_bytes() if path else _memory_value.fget(key)

    models.FakeKey.value = property(value, _memory_value.fset)


def _keep_metadata(store: ObjectStore) -> None:
    # moto's S3Response sets metadata, such as the content type and the content encoding, after put_object returned.
    original = models.FakeKey.set_metadata

    def set_metadata(key: models.FakeKey, metadata: Any, replace: bool = False) -> None:
        original(key, metadata, replace)
        if getattr(key, "data_path", None):
            with _lock:
                if _is_current(key):
                    store.describe(key.bucket_name, _description(key))

    models.FakeKey.set_metadata = set_metadata


def _keep_writes(store: ObjectStore) -> None:
    original = models.S3Backend.put_object

    def put_object(
        self: models.S3Backend, bucket_name: str, key_name: str, value: bytes, *args: Any, **kwargs: Any
    ) -> models.FakeKey:
        value = value.encode() if isinstance(value, str) else value
        bucket = self.get_bucket(bucket_name)
        data = store.write_data(bucket_name, value)
        before = bucket.keys.get(key_name)
        key = original(self, bucket_name, key_name, value, *args, **kwargs)
        if key._etag is None:
            key._etag = hashlib.md5(value).hexdigest()
        with _lock:
            if _is_current(key):
                store.describe(bucket_name, _description(key, data))
            _move_to_disk(key, data)
            if before is not None and not bucket.is_versioned and getattr(before, "data_path", None):
                store.discard(before.data_path)
        return key

    models.S3Backend.put_object = put_object


def _keep_deletes(store: ObjectStore) -> None:
    original = models.S3Backend.delete_object

    def delete_object(
        self: models.S3Backend, bucket_name: str, key_name: str, *args: Any, **kwargs: Any
    ) -> Any:
        bucket = self.get_bucket(bucket_name)
        before, versions = bucket.keys.get(key_name), _data_paths(bucket, key_name)
        result = original(self, bucket_name, key_name, *args, **kwargs)
        with _lock:
            now = bucket.keys.get(key_name)
            # A deleted version, or the only one.
            for path in versions - _data_paths(bucket, key_name):
                if kwargs.get("version_id"):  # nobody reads an old version while it is deleted
                    path.unlink(missing_ok=True)
                else:
                    store.discard(path)
            if not isinstance(now, models.FakeKey):
                store.remove(bucket_name, key_name)
            elif now is not before:  # a delete marker was removed
                store.describe(bucket_name, _description(now))
        return result

    models.S3Backend.delete_object = delete_object


def _data_paths(bucket: models.FakeBucket, key_name: str) -> set[Path]:
    """Return the data files of all versions of a key."""
    paths = (getattr(version, "data_path", None) for version in bucket.keys.getlist(key_name, []))
    return {path for path in paths if path}


def _keep_buckets(store: ObjectStore) -> None:
    create, delete = models.S3Backend.create_bucket, models.S3Backend.delete_bucket

    def create_bucket(
        self: models.S3Backend, bucket_name: str, region_name: str, *args: Any, **kwargs: Any
    ) -> models.FakeBucket:
        bucket = create(self, bucket_name, region_name, *args, **kwargs)
        store.add_bucket(bucket_name, {"region": region_name})
        return bucket

    def delete_bucket(self: models.S3Backend, bucket_name: str) -> Any:
        bucket = delete(self, bucket_name)
        if bucket is not None:
            store.remove_bucket(bucket_name)
        return bucket

    models.S3Backend.create_bucket = create_bucket
    models.S3Backend.delete_bucket = delete_bucket


def _one_condition_at_a_time(respond: Callable[[S3Response], Any]) -> Callable[[S3Response], Any]:
    """Serialize conditional requests, so that only one of several writers meets the condition."""

    def one_at_a_time(self: S3Response) -> Any:
        if "If-Match" in self.headers or "If-None-Match" in self.headers:
            with _conditions:
                return respond(self)
        return respond(self)

    return one_at_a_time


def _restore(store: ObjectStore) -> None:
    s3 = backend()
    for name, bucket_description in store.buckets():
        bucket = s3.create_bucket(name, bucket_description["region"])
        for description in store.objects(name):
            bucket.keys.setlist(description["key"], [_key(store, name, description)])


def _is_current(key: models.FakeKey) -> bool:
    bucket = backend().buckets.get(key.bucket_name)
    return bucket is not None and bucket.keys.get(key.name) is key


def _move_to_disk(key: models.FakeKey, data: Path) -> None:
    key.data_path = data
    key._value_buffer.close()
    key._value_buffer = io.BytesIO()
    if key.multipart is not None:
        key.multipart.dispose()  # the parts are a second copy of the bytes


def _description(key: models.FakeKey, data: Path | None = None) -> dict[str, Any]:
    return {
        "key": key.name,
        "data": (data or key.data_path).name,
        "etag": key._etag,
        "size": key.contentsize,
        "storage_class": key._storage_class,
        "last_modified": key.last_modified.isoformat(),
        "metadata": {name: value for name, value in key._metadata.items() if isinstance(value, str)},
    }


def _key(store: ObjectStore, bucket: str, description: dict[str, Any]) -> models.FakeKey:
    s3 = backend()
    key = models.FakeKey(
        name=description["key"],
        value=b"",
        account_id=s3.account_id,
        region_name=s3.region_name,
        storage=description["storage_class"],
        etag=description["etag"],
        version_id="null",
        bucket_name=bucket,
    )
    key.contentsize = description["size"]
    key.last_modified = datetime.fromisoformat(description["last_modified"])
    models.FakeKey.set_metadata(key, description["metadata"])
    key.data_path = store.data_path(bucket, description)
    return key
