"""The release record in S3: the current release, and the previous one that a rollback returns to."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from functions.platform.contract import CURRENT_KEY, FALLBACK_KEY
from functions.platform.errors import StorageUnavailable
from functions.platform.model_archive import ModelArchive, copy_archive
from functions.platform.s3_keys import CHAMPION_KEY


@dataclass(frozen=True)
class Release:
    """A model that was proved behind an endpoint."""

    endpoint: str
    endpoint_config: str
    model_name: str
    model_version: str
    model_data_uri: str
    snapshot_id: str
    run_id: str
    published_at: str
    # The shop whose events the model has learnt. A record of before this field does not name it.
    shop_id: str = ""


@dataclass(frozen=True)
class ReleaseRecord:
    """The current release and the previous one."""

    current: Release | None
    previous: Release | None


def read_record(s3: Any, bucket: str) -> ReleaseRecord:
    """Read the record; it is empty before the first release.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        stored = json.loads(s3.get_object(Bucket=bucket, Key=CURRENT_KEY)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return ReleaseRecord(None, None)
        raise StorageUnavailable(f"s3://{bucket}/{CURRENT_KEY}: {error}") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"s3://{bucket}/{CURRENT_KEY}: {error}") from error
    current, previous = stored["release"], stored["previous"]
    return ReleaseRecord(Release(**current) if current else None, Release(**previous) if previous else None)


def write_record(record: ReleaseRecord, archive: ModelArchive, s3: Any, bucket: str) -> None:
    """Write the record, after the fallback for /recommend and the champion for the next evaluation.

    Raises:
        ValueError: the record has no current release.
    """
    if record.current is None:
        raise ValueError("a record without a current release would lose what is served")
    fallback = {**archive.fallback, "model_version": archive.model_version}
    s3.put_object(Bucket=bucket, Key=FALLBACK_KEY, Body=json.dumps(fallback).encode())
    copy_archive(record.current.model_data_uri, bucket, CHAMPION_KEY, s3)
    stored = {
        "release": asdict(record.current),
        "previous": asdict(record.previous) if record.previous else None,
    }
    s3.put_object(Bucket=bucket, Key=CURRENT_KEY, Body=json.dumps(stored, indent=1).encode())
