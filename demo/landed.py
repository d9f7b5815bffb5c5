"""Wait until all accepted events are in S3 under raw/, so that the pipeline loads all of them."""

import gzip
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from demo.terminal import Progress
from functions.platform.contract import RAW_PREFIX

POLL_S = 0.5


class LandingWatch:
    """A count of the lines that arrive under raw/ after its creation."""

    def __init__(self, s3: Any, bucket: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._s3, self._bucket, self._now = s3, bucket, now
        self._since = now()
        self._seen: dict[str, int] = {}
        self._before = {key for key, _ in self._objects()}

    def count(self) -> int:
        """Count the lines that arrived so far; each object is read once."""
        for key, size in self._objects():
            if key in self._before or self._seen.get(key) is not None:
                continue
            if size == 0:
                continue
            lines = _lines(self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read())
            if lines is not None:
                self._seen[key] = lines
        return sum(self._seen.values())

    def wait_for(self, expected: int, timeout_s: float) -> int:
        """Poll until the expected lines are there or the time is up; return the number of lines there."""
        progress = Progress("landing in S3", expected)
        ends_s = time.monotonic() + timeout_s
        landed = self.count()
        while landed < expected and time.monotonic() < ends_s:
            progress.update(landed)
            time.sleep(POLL_S)
            landed = self.count()
        progress.finish(landed)
        return landed

    def _objects(self) -> list[tuple[str, int]]:
        """List keys and sizes of the hours since the start; keys begin with the hour of receipt."""
        found = []
        hour = self._since.replace(minute=0, second=0, microsecond=0)
        pages = self._s3.get_paginator("list_objects_v2")
        while hour <= self._now():
            for page in pages.paginate(Bucket=self._bucket, Prefix=f"{RAW_PREFIX}{hour:%Y/%m/%d/%H}/"):
                found += [(one["Key"], one["Size"]) for one in page.get("Contents", [])]
            hour += timedelta(hours=1)
        return found


def _lines(data: bytes) -> int | None:
    """Count the lines of a gzip object; return None while it is incomplete."""
    try:
        text = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return None
    return text.count(b"\n") + (0 if text.endswith(b"\n") or not text else 1)
