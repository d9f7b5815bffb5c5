"""The snapshots and models that saw a person: by shop and days, and unknown facts count as a yes."""

import json
from datetime import UTC, datetime

import pytest

from functions.erase import snapshots
from functions.erase.journal import Journal
from functions.platform.s3_keys import current_key
from testing.fakes import VersionedS3
from tests.unit.functions.erase.world import MODELS, SETTINGS

DAY_MS = 86_400_000
SEEN_MS = 20_000 * DAY_MS


@pytest.fixture
def s3() -> VersionedS3:
    return VersionedS3(page_size=2)


def journal(**times: tuple[int, int]) -> Journal:
    return Journal("client", "c", None, "2026-01-01", times=times or {"demo": (SEEN_MS, SEEN_MS + DAY_MS)})


def export(s3: VersionedS3, run: str, last_ms: int, shop: str = "demo") -> None:
    manifest = {"shop_id": shop, "last_event_time_ms": last_ms}
    for name, body in (
        ("interactions/data.parquet", b"rows"),
        ("manifest.json", json.dumps(manifest).encode()),
    ):
        s3.put_object(Bucket=MODELS, Key=f"exports/{run}/{name}", Body=body)


def found(s3: VersionedS3, of: Journal) -> Journal:
    snapshots.find(of, SETTINGS, s3)
    return of


def test_a_snapshot_saw_the_person_if_its_shop_and_days_are_theirs(s3: VersionedS3) -> None:
    export(s3, "before", SEEN_MS - 1)
    export(s3, "during", SEEN_MS + DAY_MS)
    export(s3, "window", SEEN_MS + 60 * DAY_MS)
    export(s3, "after", SEEN_MS + 63 * DAY_MS)
    export(s3, "elsewhere", SEEN_MS + DAY_MS, shop="other")
    s3.put_object(Bucket=MODELS, Key="exports/broken/interactions/data.parquet", Body=b"rows")
    assert found(s3, journal()).snapshots == ["broken", "during", "window"]


def test_a_deleted_snapshot_has_no_version_left_and_the_others_stay(s3: VersionedS3) -> None:
    export(s3, "during", SEEN_MS)
    export(s3, "during", SEEN_MS)
    export(s3, "elsewhere", SEEN_MS, shop="other")
    snapshots.delete("during", SETTINGS, s3)
    assert {key for (_, key), versions in s3.versions.items() if versions} == {
        "exports/elsewhere/interactions/data.parquet",
        "exports/elsewhere/manifest.json",
    }


def release(s3: VersionedS3, shop: str = "demo", **snapshot_of: str) -> None:
    def one(name: str) -> dict[str, str]:
        published = datetime.fromtimestamp((SEEN_MS + DAY_MS) / 1000, UTC).isoformat()
        fields = ("endpoint", "endpoint_config", "model_name", "model_data_uri", "run_id")
        return {
            **dict.fromkeys(fields, "x"),
            "model_version": name,
            "snapshot_id": snapshot_of[name],
            "published_at": published,
            "shop_id": shop,
        }

    record = {"release": one("current"), "previous": one("previous") if "previous" in snapshot_of else None}
    s3.put_object(Bucket=MODELS, Key=current_key(shop), Body=json.dumps(record).encode())


def test_models_are_listed_with_the_end_of_their_life(s3: VersionedS3) -> None:
    export(s3, "run-2", SEEN_MS + DAY_MS)
    export(s3, "run-1", SEEN_MS - DAY_MS)
    release(s3, current="run-2", previous="run-1")
    for run in ("run-1", "run-2"):
        key = f"training/tugboat-test-{run}-0-0/output/model.tar.gz"
        s3.put_object(Bucket=MODELS, Key=key, Body=b"model")
    models = found(s3, journal()).models
    assert [(model["model"], model["gone_by"]) for model in models] == [
        ("current", None),
        # Stored on 2026-01-01, kept for 30 days, and 7 days as an old version.
        ("tugboat-test-run-2-0-0", "2026-02-08"),
    ]
    assert "two later models" in models[0]["gone_when"]


def test_of_an_expired_snapshot_the_time_of_the_release_decides(s3: VersionedS3) -> None:
    release(s3, current="expired")
    assert [model["model"] for model in found(s3, journal()).models] == ["current"]
    later = journal(demo=(SEEN_MS + 2 * DAY_MS, SEEN_MS + 3 * DAY_MS))
    assert found(s3, later).models == []


def test_a_person_without_staged_events_was_seen_by_no_model(s3: VersionedS3) -> None:
    export(s3, "during", SEEN_MS)
    release(s3, current="during")
    of = Journal("client", "c", None, "2026-01-01")
    s3.put_object(Bucket=MODELS, Key="exports/broken/interactions/data.parquet", Body=b"rows")
    assert (found(s3, of).models, of.snapshots) == ([], [])


def test_the_model_of_every_shop_is_looked_at_and_only_by_its_own_events(s3: VersionedS3) -> None:
    release(s3, "demo", current="expired")
    release(s3, "second", current="expired-too")
    of_both = journal(demo=(SEEN_MS, SEEN_MS), second=(SEEN_MS, SEEN_MS))
    assert len(found(s3, of_both).models) == 2
    (model,) = found(s3, journal(second=(SEEN_MS, SEEN_MS))).models
    assert "current release of second, s3://" in model["place"]
    assert "serving/shops/second/champion/" in model["place"]
