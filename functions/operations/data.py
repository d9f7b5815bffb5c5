"""The age of the data in each place on its way, from an event on S3 to the model that answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from functions.operations.model import Data, Place, Run, Runs, Serving, Shop
from functions.platform.contract import (
    EXPORTS_PREFIX,
    RAW_PREFIX,
    REJECTED_PREFIX,
    VALIDATION_LATEST_PREFIX,
)
from functions.platform.log import get_logger

log = get_logger(__name__)

SHOPS_MAX = 50
LISTED_MAX = 1000


def read_data(
    s3: Any, events_bucket: str, models_bucket: str, runs: Runs | None, serving: list[Serving], now: datetime
) -> Data:
    """Return the places and the shops. Runs and releases that could not be read leave their places without a time."""
    shops = read_shops(s3, models_bucket)
    newest = max(shops, key=lambda shop: shop.checked_at, default=None)
    fresh = newest.freshness if newest else None
    load, transform, export = (
        runs.latest_with(step) if runs else None for step in ("Load", "Transform", "Export")
    )
    event_at = max((at for shop in shops if (at := moment(shop.freshness.newest_event_at))), default=None)
    places = [
        Place(
            f"{RAW_PREFIX} on S3",
            "accepted events",
            newest_object(s3, events_bucket, RAW_PREFIX, now),
            "newest file",
        ),
        Place(
            f"{REJECTED_PREFIX} on S3",
            "refused events",
            newest_object(s3, events_bucket, REJECTED_PREFIX, now),
            "newest file",
        ),
        Place(
            "RAW",
            "loaded events",
            _latest(moment(fresh.raw_loaded_at) if fresh else None, _ended(load, "Load")),
            "the last load",
        ),
        Place(
            "STAGING, MARTS, TRAINING",
            "sessions, figures, training tables",
            _latest(moment(fresh.marts_at) if fresh else None, _ended(transform, "Transform")),
            "the last dbt run",
            event_at,
        ),
        Place(
            f"{EXPORTS_PREFIX} on S3",
            "the training snapshot",
            _ended(export, "Export"),
            f"run {export.run_id}" if export else "no run",
            _snapshot_event(export),
        ),
        *(_endpoint(one, runs, len(serving) > 1) for one in serving),
    ]
    return Data(places, shops)


def _endpoint(serving: Serving, runs: Runs | None, is_one_of_several: bool) -> Place:
    """Return the endpoint of a shop as the place of its data."""
    release = serving.current
    trained = (
        next((run for run in runs.newest if release and run.run_id == release.run_id), None) if runs else None
    )
    return Place(
        f"endpoint of {serving.shop_id}" if is_one_of_several else "endpoint",
        "the model that answers",
        release.published_at if release else None,
        f"release {release.model_version}" if release else "no release",
        _snapshot_event(trained),
    )


def moment(text: str | None) -> datetime | None:
    """Return the time of an ISO 8601 text, in UTC, or None without one."""
    if not text:
        return None
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _latest(*times: datetime | None) -> datetime | None:
    return max((one for one in times if one), default=None)


def _ended(run: Run | None, step: str) -> datetime | None:
    found = run.step(step) if run else None
    return found.ended_at if found else None


def _snapshot_event(run: Run | None) -> datetime | None:
    milliseconds = (run.snapshot or {}).get("last_event_time_ms") if run else None
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def newest_object(s3: Any, bucket: str, prefix: str, now: datetime) -> datetime | None:
    """Return the time of the newest object of a stream: Firehose writes below `<prefix>YYYY/MM/DD/HH/`.

    A busy stream has files of this hour or the last. Else each level is one listing of its names: five for any lake.
    """
    for at in (now, now - timedelta(hours=1)):
        newest = _newest_below(s3, bucket, f"{prefix}{at:%Y/%m/%d/%H}/")
        if newest:
            return newest
    for _ in ("year", "month", "day", "hour"):
        found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/", MaxKeys=LISTED_MAX)
        inner = [one["Prefix"] for one in found.get("CommonPrefixes", [])]
        if not inner:
            break
        prefix = max(inner)
    return _newest_below(s3, bucket, prefix)


def _newest_below(s3: Any, bucket: str, prefix: str) -> datetime | None:
    newest: datetime | None = None
    page: dict[str, str] = {}
    while True:
        found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=LISTED_MAX, **page)
        newest = _latest(newest, *(one["LastModified"].astimezone(UTC) for one in found.get("Contents", [])))
        if not found.get("NextContinuationToken"):
            return newest
        page = {"ContinuationToken": found["NextContinuationToken"]}


def read_shops(s3: Any, bucket: str) -> list[Shop]:
    """Return what Validate wrote of each shop. A file of another version is left out."""
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=VALIDATION_LATEST_PREFIX, MaxKeys=SHOPS_MAX)
    shops = []
    for one in listed.get("Contents", []):
        body = s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
        try:
            shops.append(msgspec.json.decode(body, type=Shop))
        except msgspec.DecodeError as error:
            log.warning("the summary of a validation cannot be read", key=one["Key"], cause=str(error))
    return sorted(shops, key=lambda shop: shop.shop_id)
