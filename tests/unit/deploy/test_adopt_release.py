"""The upgrade of a running stage: its release becomes that of its shop, and its endpoint stays."""

import json
from typing import Any

import pytest

from deploy.adopt_release import FALLBACK, RECORD, adopt
from functions.platform.releases import read_record
from functions.platform.s3_keys import champion_key, current_key, fallback_key
from testing.fakes import FakeS3

RELEASE = {
    "endpoint": "tugboat-prod",
    "endpoint_config": "tugboat-prod-20261129-1a2b3c4d5e6f",
    "model_name": "tugboat-prod-20261129-1a2b3c4d5e6f",
    "model_version": "v2",
    "model_data_uri": "s3://models/serving/releases/v2/model.tar.gz",
    "snapshot_id": "s2",
    "run_id": "20261129-1a2b3c4d5e6f",
    "published_at": "2026-11-29T00:00:00+00:00",
}


def stage(**fields: Any) -> FakeS3:
    """A stage with a release from before it could serve several shops."""
    s3 = FakeS3()
    s3.objects["models", "serving/releases/v2/model.tar.gz"] = b"archive"
    s3.objects["models", FALLBACK] = b'{"popular": [], "related": {}, "model_version": "v2"}'
    record = {"release": RELEASE, "previous": None, **fields}
    s3.objects["models", RECORD] = json.dumps(record).encode()
    return s3


@pytest.mark.parametrize(
    ("named", "shop"), [({}, "demo"), ({"shop_id": ""}, "demo"), ({"shop_id": "other"}, "other")]
)
def test_the_release_goes_to_the_shop_that_it_names_else_to_the_first(
    named: dict[str, str], shop: str
) -> None:
    s3 = stage(release={**RELEASE, **named}, previous={**RELEASE, "run_id": "before", **named})
    assert adopt("demo", "models", s3) == shop
    record = read_record(s3, "models", shop)
    assert record.current is not None
    assert (record.current.endpoint, record.current.shop_id) == ("tugboat-prod", shop)
    assert record.previous is not None
    assert record.previous.run_id == "before"
    assert s3.objects["models", fallback_key(shop)] == s3.objects["models", FALLBACK]
    assert s3.objects["models", champion_key(shop)] == b"archive"


def test_a_shop_that_has_a_release_keeps_it() -> None:
    s3 = stage()
    adopt("demo", "models", s3)
    s3.objects["models", current_key("demo")] = b"newer"
    assert adopt("demo", "models", s3) is None
    assert s3.objects["models", current_key("demo")] == b"newer"


def test_a_previous_release_of_another_shop_and_a_canary_stay_behind() -> None:
    canary = {"release": RELEASE, "share": 5, "began_at_ms": 0}
    s3 = stage(previous={**RELEASE, "shop_id": "other"}, canary=canary)
    adopt("demo", "models", s3)
    record = read_record(s3, "models", "demo")
    assert (record.previous, record.canary) == (None, None)


@pytest.mark.parametrize("record", [None, {"release": None, "previous": None}])
def test_a_new_stage_has_nothing_to_give(record: Any) -> None:
    s3 = FakeS3()
    if record:
        s3.objects["models", RECORD] = json.dumps(record).encode()
    assert adopt("demo", "models", s3) is None
    assert not [key for _, key in s3.objects if key.startswith("serving/shops/")]
