"""S3 for DuckDB through boto3, because DuckDB's own reader (httpfs) is an extension that must be downloaded.

`glob` matches as a stage does: 's3://bucket/prefix*' means every key with the prefix, at any depth.
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from botocore.exceptions import ClientError
from fsspec.spec import AbstractFileSystem

from local.clients import aws_client
from local.environment import SNOWFLAKE_ACCESS_KEY, SNOWFLAKE_SECRET_KEY

WILDCARDS = frozenset("*?[")


class S3Files(AbstractFileSystem):
    """The methods of an fsspec file system that DuckDB calls; it reads and writes whole objects."""

    protocol = "s3"
    cachable = False

    def __init__(
        self, endpoint_url: str, listed: Callable[[str, dict[str, Any]], None] | None = None
    ) -> None:
        super().__init__()
        self._listed = listed
        self._endpoint_url = endpoint_url
        # Without a storage integration, Snowflake's own user may do nothing in the account of the buckets.
        self._outside = aws_client(
            "s3",
            endpoint_url,
            aws_access_key_id=SNOWFLAKE_ACCESS_KEY,
            aws_secret_access_key=SNOWFLAKE_SECRET_KEY,
        )
        self._clients: dict[str, Any] = {}
        self._etags: dict[str, str] = {}

    def use(self, location: str, credentials: dict[str, Any]) -> None:
        """Use the credentials of a role for all objects below a location `s3://bucket/prefix`.

        Raises:
            ClientError: the role may not use the bucket.
        """
        client = aws_client(
            "s3",
            self._endpoint_url,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
        )
        bucket, prefix = _bucket_and_key(location)
        client.get_bucket_location(Bucket=bucket)
        self._clients[f"{bucket}/{prefix}"] = client

    def client(self, bucket: str, key: str) -> Any:
        """Return the client of the location that contains an object."""
        path = f"{bucket}/{key}"
        found = [location for location in list(self._clients) if path.startswith(location)]
        return self._clients[max(found, key=len)] if found else self._outside

    def objects(self, url: str) -> Iterator[dict[str, Any]]:
        """Yield S3's description of every object below a URL."""
        bucket, prefix = _bucket_and_key(url)
        for page in (
            self.client(bucket, prefix)
            .get_paginator("list_objects_v2")
            .paginate(Bucket=bucket, Prefix=prefix)
        ):
            if self._listed:
                self._listed(f"{bucket}/{prefix}", page)
            yield from page.get("Contents", [])

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the URLs of all non-empty objects that match a pattern."""
        bucket, pattern = _bucket_and_key(path)
        if not WILDCARDS & set(pattern):
            with contextlib.suppress(FileNotFoundError):
                return [path] if self.info(path)["size"] else []
            return []
        fixed = pattern.split("*", 1)[0]
        listed = {
            f"s3://{bucket}/{found['Key']}": str(found["ETag"])
            for found in self.objects(f"{bucket}/{fixed}")
            if found["Size"] and fnmatchcase(found["Key"], pattern)
        }
        self._etags = listed
        return sorted(listed)

    def etag(self, url: str, listed: bool) -> str | None:
        """Return the ETag of an object, as the last listing had it if it was just listed; None without an object."""
        if listed and url in self._etags:
            return self._etags[url]
        bucket, key = _bucket_and_key(url)
        try:
            return str(self.client(bucket, key).head_object(Bucket=bucket, Key=key)["ETag"])
        except ClientError:
            return None

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return size and time of an object.

        Raises:
            FileNotFoundError: the object does not exist.
        """
        bucket, key = _bucket_and_key(path)
        try:
            head = self.client(bucket, key).head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            raise FileNotFoundError(path) from error
        return {
            "name": f"{bucket}/{key}",
            "size": head["ContentLength"],
            "type": "file",
            "mtime": head["LastModified"],
        }

    def modified(self, path: str) -> Any:
        """Return the time of the last change."""
        return self.info(path)["mtime"]

    def exists(self, path: str, **_: Any) -> bool:
        """Return True if the object exists."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def isfile(self, path: str) -> bool:
        """Return True if the object exists."""
        return self.exists(path)

    def isdir(self, path: str) -> bool:
        """Return False: S3 has no folders."""
        return False

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Do nothing: S3 has no folders."""

    def rm_file(self, path: str) -> None:
        """Delete an object."""
        bucket, key = _bucket_and_key(path)
        self.client(bucket, key).delete_object(Bucket=bucket, Key=key)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        bucket, key = _bucket_and_key(path)
        if "r" not in mode:
            return _Upload(self.client(bucket, key), bucket, key)
        content = io.BytesIO(self.client(bucket, key).get_object(Bucket=bucket, Key=key)["Body"].read())
        content.size = content.getbuffer().nbytes  # type: ignore[attr-defined]  # DuckDB reads this attribute
        return content


class _Upload(io.BytesIO):
    """A buffer for one object, which is uploaded on close."""

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        super().__init__()
        self._client, self._bucket, self._key = client, bucket, key

    def close(self) -> None:
        """Upload the object."""
        if not self.closed:
            self._client.put_object(Bucket=self._bucket, Key=self._key, Body=self.getvalue())
            super().close()


def _bucket_and_key(path: str) -> tuple[str, str]:
    bucket, _, key = path.split("://", 1)[-1].partition("/")
    return bucket, key
