"""The snapshots and models that saw the person: snapshots are deleted, models are listed with the end of their life."""

import json
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from functions.erase.journal import Journal, StoredKey, delete_version, versions_below
from functions.platform.contract import BATCH_PREFIX, EXPORTS_PREFIX, TRAINING_PREFIX
from functions.platform.errors import StorageUnavailable
from functions.platform.releases import ReleaseRecord, read_record, served_shops
from functions.platform.s3_keys import champion_prefix
from functions.platform.settings import EraseSettings

# The bucket's lifecycle deletes the old version of an expired object after this time (statemachine/resources.yaml).
NONCURRENT_DAYS = 7
DAY_MS = 86_400_000


def find(journal: Journal, settings: EraseSettings, s3: Any) -> None:
    """Write the snapshots and the models that saw the person to the journal.

    A snapshot saw the person if its days and the person's overlap, or if it has no manifest.
    """
    bucket = settings.models_bucket
    seen: dict[str, bool] = {}
    for run, objects in _runs(s3, bucket).items():
        manifest = next((one for one in objects if one.key.endswith("/manifest.json") and one.current), None)
        known = {} if manifest is None else _read(s3, bucket, manifest.key)
        seen[run] = _overlaps(journal, settings, known.get("shop_id"), known.get("last_event_time_ms"))
    journal.snapshots = sorted(run for run, saw in seen.items() if saw)
    journal.models = [*_releases(journal, settings, s3, seen), *_trained(journal, settings, s3, seen)]


def delete(run: str, settings: EraseSettings, s3: Any) -> None:
    """Delete a snapshot with all versions of its files."""
    for stored in versions_below(s3, settings.models_bucket, f"{EXPORTS_PREFIX}{run}/"):
        for version in stored.versions:
            delete_version(s3, settings.models_bucket, stored.key, version)


def delete_batches(journal: Journal, settings: EraseSettings, s3: Any) -> None:
    """Delete what is left of the batches of the person's shops, with all versions.

    A batch deletes its files when its tables are loaded, and none runs while the erasure holds the lock.
    """
    for shop in sorted({shop for shop, _ in journal.clients}):
        for stored in versions_below(s3, settings.models_bucket, f"{BATCH_PREFIX}{shop}/"):
            for version in stored.versions:
                delete_version(s3, settings.models_bucket, stored.key, version)


def _runs(s3: Any, bucket: str) -> dict[str, list[StoredKey]]:
    stored = versions_below(s3, bucket, EXPORTS_PREFIX)
    return {run: list(found) for run, found in groupby(stored, key=lambda one: one.key.split("/")[1])}


def _overlaps(journal: Journal, settings: EraseSettings, shop: Any, last_ms: Any) -> bool:
    """Return True if a model's days of a shop can contain an event of the person. Unknown facts count as a yes."""
    for of, (first, last) in journal.times.items():
        if shop in (None, of) and (
            last_ms is None or (first <= last_ms and last >= last_ms - (settings.training_days + 1) * DAY_MS)
        ):
            return True
    return False


def _releases(
    journal: Journal, settings: EraseSettings, s3: Any, seen: dict[str, bool]
) -> list[dict[str, Any]]:
    """Return the releases of all shops that saw the person."""
    bucket = settings.models_bucket
    records = {shop: read_record(s3, bucket, shop) for shop in served_shops(s3, bucket)}
    return [
        one for shop, record in records.items() for one in _releases_of(shop, record, journal, bucket, seen)
    ]


def _releases_of(
    shop: str, record: ReleaseRecord, journal: Journal, bucket: str, seen: dict[str, bool]
) -> list[dict[str, Any]]:
    ends = {
        "current": "two later models are released, or it is rolled back and one is released",
        "previous": "the next model is released",
    }
    found = []
    for name, until in ends.items():
        release = getattr(record, name)
        if release is None:
            continue
        trained_ms = int(datetime.fromisoformat(release.published_at).timestamp() * 1000)
        saw = seen.get(release.snapshot_id)
        # The snapshot has expired: judge by the time of the release.
        if saw is None:
            times = (first for of, (first, _) in journal.times.items() if of == shop)
            saw = any(first <= trained_ms for first in times)
        if saw:
            found.append(
                {
                    "model": release.model_version,
                    "place": f"{name} release of {shop}, s3://{bucket}/{champion_prefix(shop)} and its archive",
                    "gone_by": None,
                    "gone_when": until,
                }
            )
    return found


def _trained(
    journal: Journal, settings: EraseSettings, s3: Any, seen: dict[str, bool]
) -> list[dict[str, Any]]:
    """Return the archives of training jobs, which expire by age. The name of a job contains its run."""
    found = []
    for stored in versions_below(s3, settings.models_bucket, TRAINING_PREFIX):
        if not stored.key.endswith("/model.tar.gz"):
            continue
        saw = [saw for run, saw in seen.items() if run in stored.key]
        made_ms = int(stored.stored_at.timestamp() * 1000)
        if saw[0] if saw else any(first <= made_ms for first, _ in journal.times.values()):
            gone = stored.stored_at + timedelta(days=settings.exports_expire_days + NONCURRENT_DAYS + 1)
            found.append(
                {
                    "model": stored.key.removeprefix(TRAINING_PREFIX).split("/")[0],
                    "place": f"s3://{settings.models_bucket}/{stored.key}",
                    "gone_by": f"{gone:%Y-%m-%d}",
                    "gone_when": "the bucket's lifecycle deletes it",
                }
            )
    return found


def _read(s3: Any, bucket: str, key: str) -> dict[str, Any]:
    try:
        stored: dict[str, Any] = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"s3://{bucket}/{key} could not be read: {error}") from error
    return stored
