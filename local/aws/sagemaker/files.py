"""Transfers between S3 and the folders of a container, under the role of the job or the model."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from moto.s3.exceptions import MissingBucket, S3ClientError

from local.aws import s3
from local.aws.authorization.operations import bucket_arn, list_of_missing_key, object_arn
from local.aws.authorization.policies import Call
from local.aws.authorization.sessions import Session


class MissingObject(RuntimeError):
    """An object that a job or a model needs is not in S3."""


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def read(session: Session, uri: str) -> bytes:
    """Return the bytes of one object.

    Raises:
        MissingObject: the object does not exist.
        AccessDenied: the role may not read it.
    """
    bucket, key = split(uri)
    session.require(Call("s3:GetObject", object_arn(bucket, key)))
    try:
        found = s3.backend().get_object(bucket, key)
    except S3ClientError as error:
        raise MissingObject(f"{uri}: {error}") from error
    if found is None:
        session.require(list_of_missing_key(bucket, key))
        raise MissingObject(f"No object at {uri}")
    value: bytes = found.value
    return value


def write(session: Session, uri: str, value: bytes) -> None:
    """Write one object.

    Raises:
        AccessDenied: the role may not write it. Large objects are uploaded in parts, so it must be able to abort an upload.
    """
    bucket, key = split(uri)
    arn = object_arn(bucket, key)
    session.require(Call("s3:PutObject", arn), Call("s3:AbortMultipartUpload", arn))
    s3.backend().put_object(bucket, key, value)


def download(session: Session, uri: str, folder: Path) -> int:
    """Download all objects below a prefix, or the one object with this key; return their number.

    Raises:
        MissingObject: the bucket does not exist.
        AccessDenied: the role may not list or read them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bucket_name, prefix = split(uri)
    session.require(Call("s3:ListBucket", bucket_arn(bucket_name), {"s3:prefix": prefix}))
    try:
        bucket = s3.backend().get_bucket(bucket_name)
    except MissingBucket as error:
        raise MissingObject(f"{uri}: {error}") from error
    count = 0
    for key in sorted(name for name in list(bucket.keys) if name.startswith(prefix)):
        session.require(Call("s3:GetObject", object_arn(bucket_name, key)))
        found = s3.backend().get_object(bucket_name, key)
        if found is None or key.endswith("/"):  # deleted in the meantime, or a folder marker of the console
            continue
        target = folder / (key[len(prefix) :].lstrip("/") or key.rpartition("/")[2])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(found.value)
        count += 1
    return count


def upload(session: Session, folder: Path, uri: str) -> int:
    """Upload all files of a folder; return their number.

    Raises:
        AccessDenied: the role may not write them.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        write(session, f"{uri.rstrip('/')}/{path.relative_to(folder).as_posix()}", path.read_bytes())
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
