import gzip
import io
from datetime import UTC, datetime
from typing import Any

from demo.landed import LandingWatch

NOW = datetime(2026, 3, 1, 10, 59, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 11, 1, tzinfo=UTC)


class Bucket:
    """An S3 client with one bucket, which lists two keys per page."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, key: str, lines: int) -> None:
        self.objects[key] = gzip.compress(b"{}\n" * lines)

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.objects[Key])}

    def get_paginator(self, name: str) -> "Bucket":
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        keys = sorted(key for key in self.objects if key.startswith(Prefix))
        pages = [keys[start : start + 2] for start in range(0, len(keys), 2)]
        return [
            {"Contents": [{"Key": key, "Size": len(self.objects[key])} for key in page]} for page in pages
        ] or [{}]


def test_only_what_came_since_the_start_counts_over_all_pages_and_hours() -> None:
    bucket, clock = Bucket(), [NOW]
    bucket.put("raw/2026/03/01/10/old.gz", 50)
    watch = LandingWatch(bucket, "events", now=lambda: clock[0])
    for name in ("a", "b", "c"):
        bucket.put(f"raw/2026/03/01/10/{name}.gz", 10)
    assert watch.count() == 30
    clock[0] = LATER
    bucket.put("raw/2026/03/01/11/d.gz", 5)
    assert watch.count() == 35


def test_an_object_that_cannot_be_read_yet_is_read_later() -> None:
    bucket = Bucket()
    watch = LandingWatch(bucket, "events", now=lambda: NOW)
    bucket.put("raw/2026/03/01/10/a.gz", 10)
    whole = bucket.objects["raw/2026/03/01/10/a.gz"]
    bucket.objects["raw/2026/03/01/10/a.gz"] = whole[:-5]
    assert watch.count() == 0
    bucket.objects["raw/2026/03/01/10/a.gz"] = whole
    assert watch.count() == 10


def test_waiting_ends_when_the_time_is_up() -> None:
    bucket = Bucket()
    watch = LandingWatch(bucket, "events", now=lambda: NOW)
    bucket.put("raw/2026/03/01/10/a.gz", 10)
    assert watch.wait_for(11, timeout_s=0.01) == 10
    assert watch.wait_for(10, timeout_s=5) == 10
