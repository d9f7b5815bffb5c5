"""Find the line of an event under raw/, for the drawer: a browser has no access to S3."""

import gzip
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from functions.platform.contract import RAW_PREFIX

# The drawer needs the newest events only, and a replay can add a million others.
EVENTS_KEPT = 20_000


class Landed(NamedTuple):
    """A line under raw/: its object, its number from 1, and its event."""

    key: str
    line: int
    event: dict[str, Any]


class Landing:
    """An index of the events that arrive under raw/ after its creation; each object is read once."""

    def __init__(self, s3: Any, bucket: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._s3, self._bucket, self._now = s3, bucket, now
        # LastModified has whole seconds.
        self._since = now().replace(microsecond=0)
        self._read: set[str] = set()
        self._found: dict[str, Landed] = {}
        self._lock = threading.Lock()

    def find(self, event_id: str) -> Landed | None:
        """Return the event's line, or None while it has not arrived.

        Raises:
            ClientError, BotoCoreError: S3 did not answer.
        """
        with self._lock:
            if event_id not in self._found:
                for key in self._new_keys():
                    self._keep(key)
            return self._found.get(event_id)

    def _new_keys(self) -> Iterator[str]:
        """List keys of the last two hours: an object is written after the receipt of its events, whose hour is in the key."""
        now = self._now()
        pages = self._s3.get_paginator("list_objects_v2")
        for hour in (now - timedelta(hours=1), now):
            for page in pages.paginate(Bucket=self._bucket, Prefix=f"{RAW_PREFIX}{hour:%Y/%m/%d/%H}/"):
                for one in page.get("Contents", []):
                    if one["Key"] not in self._read and one["LastModified"] >= self._since:
                        yield one["Key"]

    def _keep(self, key: str) -> None:
        data = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        try:
            lines = gzip.decompress(data).splitlines()
            events = [json.loads(line) for line in lines]
        except (OSError, EOFError, zlib.error, ValueError):
            # The object is incomplete or not ours; the pipeline reports bad files.
            return
        self._read.add(key)
        for number, event in enumerate(events, 1):
            self._found[event["event_id"]] = Landed(key, number, event)
        for event_id in list(self._found)[:-EVENTS_KEPT]:
            del self._found[event_id]
