"""The files of a replay's period in order, each with its lines: from a packed day where it is packed, else from raw/."""

import heapq
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from functions.platform.contract import RAW_PREFIX
from functions.platform.packed_days import PackedDay, read_manifest
from functions.replay.archived_events import lines, stored_keys
from functions.replay.period import Period


def stored_files(period: Period, bucket: str, s3: Any) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield key and lines of each file of the period, in the order of keys; a file that is in both places comes once.

    Raises:
        StorageUnavailable: S3 did not answer.
    """
    before = period.stored_before.timestamp()
    packed: PackedDay | None = None
    for hour, prefix in period.hours():
        day = f"{hour:%Y-%m-%d}"
        if f"{period.archive}/" == RAW_PREFIX and (packed is None or packed.day != day):
            packed = PackedDay(bucket, read_manifest(s3, bucket, day)[0])
        files = packed.files if packed else {}
        in_packed = sorted(
            key for key, file in files.items() if key.startswith(prefix) and file.stored_at <= before
        )
        # groupby drops the second of two equal keys.
        for key, _ in groupby(heapq.merge(in_packed, stored_keys(period, bucket, prefix))):
            if key > period.after_key:
                yield key, packed.lines(key) if packed and key in files else lines(bucket, key)
