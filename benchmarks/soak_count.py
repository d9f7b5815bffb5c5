"""Reconcile the soak: compare the collector's responses with S3 and with the warehouse."""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.soak_client import Ledger
from functions.platform.contract import RAW_PREFIX, REJECTED_PREFIX
from testing.stage import EVENTS_BUCKET, Stage

LANDING_TIMEOUT_S = 120.0


class StoredLines:
    """The lines under a prefix; each object is read once."""

    def __init__(self, s3: Any, prefix: str) -> None:
        self._s3, self._prefix = s3, prefix
        self._read: set[str] = set()
        self.lines = self.parked_objects = 0
        self.ids: set[str] = set()

    def read_new(self) -> None:
        """Count the lines of new objects."""
        for key in self._keys():
            if key in self._read:
                continue
            self._read.add(key)
            self.parked_objects += "-parked-" in key
            body = self._s3.get_object(Bucket=EVENTS_BUCKET, Key=key)["Body"].read()
            for line in gzip.decompress(body).splitlines():
                self.lines += 1
                self.ids.add(json.loads(line)["event_id"])

    def _keys(self) -> Iterator[str]:
        for page in self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=EVENTS_BUCKET, Prefix=self._prefix
        ):
            yield from (one["Key"] for one in page.get("Contents", []))


def reconcile(
    stage: Stage, events: int, ledger: Ledger, run: Callable[[str], dict[str, Any]]
) -> tuple[dict[str, int], list[str]]:
    """Return all counts, and the name of each rule that does not hold."""
    s3 = stage.client("s3")
    raw, rejected = StoredLines(s3, RAW_PREFIX), StoredLines(s3, REJECTED_PREFIX)
    ends_s = time.monotonic() + LANDING_TIMEOUT_S
    while True:
        raw.read_new()
        rejected.read_new()
        if (ledger.accepted <= raw.ids and ledger.refused <= rejected.ids) or time.monotonic() > ends_s:
            break
        time.sleep(1)
    time.sleep(2 * 5)  # two Firehose intervals of this stage: for lines of requests whose response was lost
    raw.read_new()
    rejected.read_new()
    run("load")
    run("transform")
    (in_raw,) = stage.rows("select count(*), count(distinct FILENAME || ':' || ROW_NUMBER) from RAW.EVENTS")
    (staged,) = stage.rows("select count(*), count(distinct EVENT_ID) from STAGING.STG_EVENTS")
    counts = {
        "sent_distinct": events,
        "accepted_distinct": len(ledger.accepted),
        "refused_distinct": len(ledger.refused),
        "accepted_sends": ledger.acknowledged_sends,
        "refused_sends": ledger.refused_sends,
        "raw_lines": raw.lines,
        "raw_distinct": len(raw.ids),
        "parked_objects": raw.parked_objects,
        "rejected_lines": rejected.lines,
        "rejected_distinct": len(rejected.ids),
        "raw_events_rows": int(in_raw[0]),
        "raw_events_distinct_lines": int(in_raw[1]),
        "staged_rows": int(staged[0]),
        "staged_distinct": int(staged[1]),
    }
    rules = {
        "every event was answered for": counts["accepted_distinct"] + counts["refused_distinct"] == events,
        "every accepted event is in raw/": ledger.accepted <= raw.ids,
        "nothing else is in raw/": raw.ids <= ledger.accepted,
        "every refused event is in rejected/": ledger.refused <= rejected.ids,
        "nothing else is in rejected/": rejected.ids <= ledger.refused,
        # More lines than acknowledged come from requests whose response a kill cut off. Fewer would be a loss.
        "no acknowledged send is missing in raw/": raw.lines >= ledger.acknowledged_sends,
        "no refused send is missing in rejected/": rejected.lines >= ledger.refused_sends,
        "every line of raw/ is loaded once": raw.lines
        == counts["raw_events_rows"]
        == counts["raw_events_distinct_lines"],
        "every event is staged once": len(raw.ids) == counts["staged_rows"] == counts["staged_distinct"],
    }
    return counts, [rule for rule, holds in rules.items() if not holds]
