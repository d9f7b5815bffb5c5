"""S3 for DuckDB through boto3: its own reader (httpfs) is an extension that has to be downloaded.

`glob` has a stage's meaning: 's3://bucket/prefix*' is every key below the prefix, at any depth.
"""

import io
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import boto3
from botocore.exceptions import ClientError
from fsspec.spec import AbstractFileSystem


class S3Files(AbstractFileSystem):
    """What DuckDB calls of an fsspec file system: whole objects, read and written."""

    protocol = "s3"
    cachable = False

    def __init__(self, endpoint_url: str) -> None:
        super().__init__()
        self.client = boto3.client(
            "s3", endpoint_url=endpoint_url, region_name="us-east-1", aws_access_key_id="local",
            aws_secret_access_key="local",
        )  # fmt: skip

    def objects(self, url: str) -> Iterator[dict[str, Any]]:
        """Every object below a URL, as S3 lists it."""
        bucket, prefix = _bucket_and_key(url)
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from page.get("Contents", [])

    def glob(self, path: str, **_: Any) -> list[str]:
        bucket, pattern = _bucket_and_key(path)
        fixed = pattern.split("*", 1)[0]
        return sorted(
            f"s3://{bucket}/{found['Key']}"
            for found in self.objects(f"{bucket}/{fixed}")
            if found["Size"] and fnmatchcase(found["Key"], pattern)
        )

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        bucket, key = _bucket_and_key(path)
        try:
            head = self.client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            raise FileNotFoundError(path) from error
        return {
            "name": f"{bucket}/{key}",
            "size": head["ContentLength"],
            "type": "file",
            "mtime": head["LastModified"],
        }

    def modified(self, path: str) -> Any:
        return self.info(path)["mtime"]

    def exists(self, path: str, **_: Any) -> bool:
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def isfile(self, path: str) -> bool:
        return self.exists(path)

    def isdir(self, path: str) -> bool:
        return False

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """S3 has no folders."""

    def rm_file(self, path: str) -> None:
        bucket, key = _bucket_and_key(path)
        self.client.delete_object(Bucket=bucket, Key=key)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        bucket, key = _bucket_and_key(path)
        if "r" not in mode:
            return _Upload(self.client, bucket, key)
        content = io.BytesIO(self.client.get_object(Bucket=bucket, Key=key)["Body"].read())
        content.size = content.getbuffer().nbytes  # type: ignore[attr-defined]  # DuckDB asks for it
        return content


class _Upload(io.BytesIO):
    """Collects what DuckDB writes and puts it as one object when it is closed."""

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        super().__init__()
        self._put = lambda content: client.put_object(Bucket=bucket, Key=key, Body=content)

    def close(self) -> None:
        if not self.closed:
            self._put(self.getvalue())
            super().close()


def _bucket_and_key(path: str) -> tuple[str, str]:
    bucket, _, key = path.split("://", 1)[-1].partition("/")
    return bucket, key
