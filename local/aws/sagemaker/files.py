"""Transfers between S3 and the folders of a container."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from moto.s3.exceptions import MissingBucket, S3ClientError

from local.aws import s3


class MissingObject(RuntimeError):
    """An object that a job or a model needs is not in S3."""


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def read(uri: str) -> bytes:
    """Return the bytes of one object.

    Raises:
        MissingObject: the object does not exist.
    """
    bucket, key = split(uri)
    try:
        found = s3.backend().get_object(bucket, key)
    except S3ClientError as error:
        raise MissingObject(f"{uri}: {error}") from error
    if found is None:
        raise MissingObject(f"No object at {uri}")
    value: bytes = found.value
    return value


def write(uri: str, value: bytes) -> None:
    """Write one object."""
    bucket, key = split(uri)
    s3.backend().put_object(bucket, key, value)


def download(uri: str, folder: Path) -> int:
    """Download all objects below a prefix, or the one object with this key; return their number.

    Raises:
        MissingObject: the bucket does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bucket_name, prefix = split(uri)
    try:
        bucket = s3.backend().get_bucket(bucket_name)
    except MissingBucket as error:
        raise MissingObject(f"{uri}: {error}") from error
    count = 0
    for key in sorted(name for name in list(bucket.keys) if name.startswith(prefix)):
        found = s3.backend().get_object(bucket_name, key)
        if found is None or key.endswith("/"):  # deleted in the meantime, or a folder marker of the console
            continue
        target = folder / (key[len(prefix) :].lstrip("/") or key.rpartition("/")[2])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(found.value)
        count += 1
    return count


def upload(folder: Path, uri: str) -> int:
    """Upload all files of a folder; return their number."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        write(f"{uri.rstrip('/')}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return len(files)


def pack(folder: Path) -> bytes:
    """Return the contents of a folder as .tar.gz with relative names, as SageMaker packs /opt/ml/model."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=6) as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, arcname=path.name)
    return out.getvalue()


def unpack(archive: bytes, folder: Path) -> None:
    """Extract a .tar.gz."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as file:
        file.extractall(folder, filter="data")
