"""The search for an event's line under raw/."""

import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest

from demo.shop import landing
from demo.shop.landing import Landing
from testing.fakes import FakeS3

STARTED = datetime(2026, 11, 24, 16, 59, 30, 400_000, tzinfo=UTC)


class Bucket:
    """A bucket, and a clock that does not advance."""

    def __init__(self) -> None:
        self.s3 = FakeS3()
        self.now = STARTED
        self.landing = Landing(self.s3, "events", lambda: self.now)

    def write(self, *event_ids: str, at: datetime, name: str = "a") -> str:
        key = f"raw/{at:%Y/%m/%d/%H}/{name}.gz"
        lines = [json.dumps({"event_id": event_id}) for event_id in event_ids]
        self.s3.objects["events", key] = gzip.compress("\n".join(lines).encode())
        self.s3.stored_at["events", key] = at
        return key


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def test_an_event_is_found_by_its_object_and_line_once_it_has_landed(bucket: Bucket) -> None:
    assert bucket.landing.find("e2") is None
    # In the second of the start, because LastModified has whole seconds.
    key = bucket.write("e1", "e2", at=STARTED.replace(microsecond=0))
    assert bucket.landing.find("e2") == (key, 2, {"event_id": "e2"})
    assert bucket.landing.find("e3") is None


def test_what_was_received_before_the_hour_struck_is_found_after_it(bucket: Bucket) -> None:
    key = bucket.write("e1", at=STARTED + timedelta(seconds=20))
    bucket.now = STARTED + timedelta(minutes=1)
    assert bucket.landing.find("e1") == (key, 1, {"event_id": "e1"})


def test_objects_from_before_the_start_and_half_written_ones_are_passed_over(bucket: Bucket) -> None:
    bucket.write("old", at=STARTED - timedelta(minutes=1), name="old")
    key = bucket.write("e1", at=STARTED, name="half")
    whole = bucket.s3.objects["events", key]
    bucket.s3.objects["events", key] = whole[:-5]
    assert bucket.landing.find("old") is None
    assert bucket.landing.find("e1") is None
    bucket.s3.objects["events", key] = whole
    assert bucket.landing.find("e1")


def test_a_replay_beside_it_does_not_fill_the_memory(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing, "EVENTS_KEPT", 10)
    bucket.write(*(f"e{n}" for n in range(50)), at=STARTED)
    assert bucket.landing.find("e49")
    assert bucket.landing.find("e39") is None
