"""The record of what is served, kept in S3 beside the models: the one place that says what a rollback returns to."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from functions.errors import StorageUnavailable
from functions.names import CHAMPION_KEY, CURRENT_KEY, FALLBACK_KEY, split_s3_uri
from functions.publish.archive import Archive


@dataclass(frozen=True)
class Release:
    """A model that was proved behind the endpoint."""

    endpoint_config: str
    model_name: str
    model_version: str
    model_data_uri: str
    snapshot_id: str
    run_id: str
    published_at: str


@dataclass(frozen=True)
class Current:
    """What is served now, and what was served before it."""

    release: Release | None
    previous: Release | None


def read_current(s3: Any, bucket: str) -> Current:
    """The record; empty before the first release.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        stored = json.loads(s3.get_object(Bucket=bucket, Key=CURRENT_KEY)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return Current(None, None)
        raise StorageUnavailable(f"s3://{bucket}/{CURRENT_KEY}: {error}") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"s3://{bucket}/{CURRENT_KEY}: {error}") from error
    release, previous = stored["release"], stored["previous"]
    return Current(Release(**release) if release else None, Release(**previous) if previous else None)


def make_current(current: Current, archive: Archive, s3: Any, bucket: str) -> None:
    """Records a release with what goes with it: its fallback for /recommend, its archive as the champion to beat."""
    if current.release is None:
        raise ValueError("a record without a release would forget what is served")
    fallback = {**archive.fallback, "model_version": archive.model_version}
    s3.put_object(Bucket=bucket, Key=FALLBACK_KEY, Body=json.dumps(fallback).encode())
    source_bucket, source_key = split_s3_uri(current.release.model_data_uri)
    s3.copy_object(Bucket=bucket, Key=CHAMPION_KEY, CopySource={"Bucket": source_bucket, "Key": source_key})
    s3.put_object(Bucket=bucket, Key=CURRENT_KEY, Body=json.dumps(asdict(current), indent=1).encode())
