"""The release record of each shop in S3: its current release, the previous one, and the candidate of a canary.

A rollback returns to the previous one.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypedDict

from functions.platform.contract import SHOPS_PREFIX
from functions.platform.errors import StorageUnavailable
from functions.platform.model_archive import ModelArchive, copy_archive
from functions.platform.s3_keys import (
    champion_evaluation_key,
    champion_key,
    current_key,
    evaluation_key,
    fallback_key,
    placements_key,
)
from functions.platform.stored_json import MISSING, find_bytes

# A release of before the tables of placements: the fallback's lists answer.
NO_TABLES: dict[str, Any] = {"popular": {}, "rising": {}, "bought_together": {}, "again": {}}


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
    # The shop whose events the model has learnt.
    shop_id: str


class ReleaseEvent(TypedDict):
    """The facts of a run from which its release is made: its snapshot, and the resources that publish made."""

    run_id: str
    shop_id: str
    snapshot_id: str
    model_data_uri: str
    endpoint_config_name: str
    model_name: str


def release_of(event: ReleaseEvent, endpoint: str, model_version: str) -> Release:
    """Return the release of a run, published now."""
    return Release(
        endpoint=endpoint,
        endpoint_config=event["endpoint_config_name"],
        model_name=event["model_name"],
        model_version=model_version,
        model_data_uri=event["model_data_uri"],
        snapshot_id=event["snapshot_id"],
        run_id=event["run_id"],
        published_at=datetime.now(UTC).isoformat(timespec="seconds"),
        shop_id=event["shop_id"],
    )


@dataclass(frozen=True)
class Canary:
    """A proved release that a share of the sessions asks, in percent, and the time at which the first share began."""

    release: Release
    share: int
    began_at_ms: int


@dataclass(frozen=True)
class ReleaseRecord:
    """The current release, the previous one, and the canary of a run. `etag` is the version that was read."""

    current: Release | None
    previous: Release | None
    canary: Canary | None = None
    etag: str = field(default="", compare=False)


def read_record(s3: Any, bucket: str, shop_id: str) -> ReleaseRecord:
    """Read the record of a shop; it is empty before the shop's first release.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    key = current_key(shop_id)
    try:
        found = s3.get_object(Bucket=bucket, Key=key)
        stored = json.loads(found["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return ReleaseRecord(None, None)
        raise StorageUnavailable(f"s3://{bucket}/{key}: {error}") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"s3://{bucket}/{key}: {error}") from error
    current, previous, canary = stored["release"], stored["previous"], stored.get("canary")
    return ReleaseRecord(
        Release(**current) if current else None,
        Release(**previous) if previous else None,
        Canary(**{**canary, "release": Release(**canary["release"])}) if canary else None,
        found["ETag"],
    )


def served_shops(s3: Any, bucket: str) -> list[str]:
    """Return the shops that have a release, sorted.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=SHOPS_PREFIX)
        keys = {found["Key"] for page in pages for found in page.get("Contents", [])}
    except (ClientError, BotoCoreError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{SHOPS_PREFIX} cannot be listed: {error}") from error
    shops = {key.removeprefix(SHOPS_PREFIX).split("/")[0] for key in keys}
    return sorted(shop for shop in shops if current_key(shop) in keys)


def write_record(record: ReleaseRecord, archive: ModelArchive, s3: Any, bucket: str) -> None:
    """Write the record, after the lists for /recommend and the champion with its evaluation for the next evaluation.

    Raises:
        ValueError: the record has no current release.
    """
    if record.current is None:
        raise ValueError("a record without a current release would lose what is served")
    shop_id = record.current.shop_id
    fallback = {**archive.fallback, "model_version": archive.model_version}
    s3.put_object(Bucket=bucket, Key=fallback_key(shop_id), Body=json.dumps(fallback).encode())
    tables = {**(archive.placements or NO_TABLES), "model_version": archive.model_version}
    s3.put_object(Bucket=bucket, Key=placements_key(shop_id), Body=json.dumps(tables).encode())
    copy_archive(record.current.model_data_uri, bucket, champion_key(shop_id), s3)
    _copy_evaluation(record.current, bucket, s3)
    s3.put_object(Bucket=bucket, Key=current_key(shop_id), Body=_encoded(record))


def _copy_evaluation(release: Release, bucket: str, s3: Any) -> None:
    """Copy the gate's evaluation of a release beside the champion.

    A release whose evaluation is gone keeps that of the champion before it, so that the record of leads continues.
    """
    found = find_bytes(s3, bucket, evaluation_key(release.run_id), MISSING)
    if found is not None:
        s3.put_object(Bucket=bucket, Key=champion_evaluation_key(release.shop_id), Body=found)


def write_canary(record: ReleaseRecord, canary: Canary | None, s3: Any, bucket: str) -> None:
    """Begin a canary, change its share, or withdraw it. The releases stay, and with them fallback and champion.

    Raises:
        StorageUnavailable: the record changed since it was read, or S3 did not answer.
        ValueError: the record has no current release.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    if record.current is None:
        raise ValueError("a shop without a current release has no canary")
    key = current_key(record.current.shop_id)
    body = _encoded(replace(record, canary=canary))
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body, IfMatch=record.etag)
    except (ClientError, BotoCoreError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{key} is not written: {error}") from error


def _encoded(record: ReleaseRecord) -> bytes:
    stored = {
        "release": asdict(record.current) if record.current else None,
        "previous": asdict(record.previous) if record.previous else None,
    }
    if record.canary:
        stored["canary"] = asdict(record.canary)
    return json.dumps(stored, indent=1).encode()
