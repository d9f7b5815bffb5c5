"""Where an event lies under raw/: what no browser can know, looked up by the shop's own server for the drawer."""

import gzip
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

# A shop of one visitor needs the last ones; somebody may replay a million meanwhile.
EVENTS_KEPT = 20_000


class Landed(NamedTuple):
    """A line under raw/: its object, its number from 1, and the event as it stands there."""

    key: str
    line: int
    event: dict[str, Any]


class Landing:
    """Finds events among what has arrived under raw/ since it was made; each object is read once."""

    def __init__(self, s3: Any, bucket: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._s3, self._bucket, self._now = s3, bucket, now
        # S3 tells whole seconds.
        self._since = now().replace(microsecond=0)
        self._read: set[str] = set()
        self._found: dict[str, Landed] = {}
        self._lock = threading.Lock()

    def find(self, event_id: str) -> Landed | None:
        """The event's line, None while there is none.

        Raises:
            ClientError, BotoCoreError: S3 did not answer.
        """
        with self._lock:
            if event_id not in self._found:
                for key in self._new_keys():
                    self._keep(key)
            return self._found.get(event_id)

    def _new_keys(self) -> Iterator[str]:
        """Keys are by the hour of receipt, and an object is written after what it holds was received."""
        now = self._now()
        pages = self._s3.get_paginator("list_objects_v2")
        for hour in (now - timedelta(hours=1), now):
            for page in pages.paginate(Bucket=self._bucket, Prefix=f"raw/{hour:%Y/%m/%d/%H}/"):
                for one in page.get("Contents", []):
                    if one["Key"] not in self._read and one["LastModified"] >= self._since:
                        yield one["Key"]

    def _keep(self, key: str) -> None:
        data = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        try:
            lines = gzip.decompress(data).splitlines()
            events = [json.loads(line) for line in lines]
        except (OSError, EOFError, zlib.error, ValueError):
            # Not whole yet, or not ours: the pipeline says what is wrong with a file.
            return
        self._read.add(key)
        for number, event in enumerate(events, 1):
            self._found[event["event_id"]] = Landed(key, number, event)
        for event_id in list(self._found)[:-EVENTS_KEPT]:
            del self._found[event_id]
