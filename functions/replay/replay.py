"""Replay: reads a period of `raw/` or `rejected/` and sends what today's contract accepts to the events stream.

Events keep their ids and times, so the warehouse, which keeps the first of an event_id, counts nothing twice.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from functions.platform.errors import RequestRefused
from functions.platform.events.contract import accept, encode, line
from functions.platform.events.intake import Intake
from functions.platform.events.receipt_stamps import restamp, stamps, take_receipts
from functions.platform.log import get_logger
from functions.platform.receipt_keys import ReceiptKeys
from functions.replay.archived_events import Archived, Unreadable, archived_events, keys, lines
from functions.replay.period import parse_period

log = get_logger(__name__)

LINES_PER_DELIVERY = 2_000
UNREADABLE_REPORTED = 50
# A file of 128 MB, the most that Firehose buffers, must be through before Lambda's time is up.
STOP_BEFORE_END_MS = 240_000


class Replayed(NamedTuple):
    """What became of a period.

    `unreadable` counts lines, and files from some line on, that are not what the collector wrote; the first are in
    `unreadable_at` as key, line and reason. `continue_with` is the event to call again with when the time did not suffice.
    """

    files: int
    read: int
    sent: int
    refused: dict[str, int]
    unreadable: int
    unreadable_at: list[str]
    continue_with: dict[str, str] | None


class _Replay:
    """One call's counts, and the lines that wait for their delivery."""

    def __init__(self, archive: str, intake: Intake) -> None:
        self.archive, self.intake = archive, intake
        self.files = self.read = self.sent = self.unreadable = 0
        self.refused: dict[str, int] = {}
        self.unreadable_at: list[str] = []
        self.waiting: list[bytes] = []

    def take_file(self, key: str) -> None:
        """Sends a file's events; a bad line, or a bad end, stops none of the others."""
        self.files += 1
        number = 0
        try:
            for number, text in enumerate(lines(self.intake.settings.events_bucket, key), start=1):
                self._take_line(text, f"{key} line {number}")
        except Unreadable as unreadable:
            self._report(f"{key} line {number + 1}: {unreadable}")

    def _take_line(self, text: bytes, place: str) -> None:
        self.read += 1
        try:
            archived = archived_events(text, self.archive)
        except Unreadable as unreadable:
            self._report(f"{place}: {unreadable}")
            return
        except RequestRefused as refusal:
            self._refuse(refusal)
            return
        for one in archived:
            try:
                self.waiting.append(_again(one, self.intake.settings.shops, self.intake.receipt_keys))
            except RequestRefused as refusal:
                self._refuse(refusal)
        if len(self.waiting) >= LINES_PER_DELIVERY:
            self.deliver()

    def _refuse(self, refusal: RequestRefused) -> None:
        reason = refusal.reason.value
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def _report(self, place: str) -> None:
        self.unreadable += 1
        if len(self.unreadable_at) < UNREADABLE_REPORTED:
            self.unreadable_at.append(place)
            log.warning("archived line not read", place=place)

    def deliver(self) -> None:
        """Sends what waits."""
        if not self.waiting:
            return
        self.intake.store(self.waiting)
        self.sent += len(self.waiting)
        self.waiting = []


def replay(event: Any, intake: Intake, remaining_ms: Callable[[], int] = lambda: sys.maxsize) -> Replayed:
    """Sends a period's events again, as many files as the remaining time allows, one at least.

    Args:
        event: `{"archive": "raw" or "rejected", "from_hour": "2026-01-31T07", "to_hour": ...}`, hours of receipt in UTC,
            the last one included; or `continue_with` of the call before.

    Raises:
        ValueError: the event cannot be read.
        StorageUnavailable: stopped half-way; run it again, what was sent twice is counted once.
    """
    period = parse_period(event, datetime.now(UTC))
    run = _Replay(period.archive, intake)
    done, continue_with = "", None
    for key in keys(period, intake.settings.events_bucket):
        if done and remaining_ms() < STOP_BEFORE_END_MS:
            continue_with = period.rest_after(done)
            break
        run.take_file(key)
        done = key
    run.deliver()
    replayed = Replayed(
        run.files, run.read, run.sent, run.refused, run.unreadable, run.unreadable_at, continue_with
    )
    log.info("archive replayed", archive=period.archive, **replayed._asdict())
    return replayed


def _again(archived: Archived, shops: frozenset[str], keys: ReceiptKeys) -> bytes:
    """The line to send for an archived event, through today's contract."""
    kept = accept(archived.event, shops & {archived.sender}, archived.timing)
    event_time_ms = kept.pop("event_time_ms")
    server = {**archived.server, "event_time_ms": event_time_ms}
    receipts = [
        *restamp(server.pop("receipts", []), kept, event_time_ms, keys),
        *stamps(take_receipts(kept), kept, event_time_ms, keys),
    ]
    return line(kept, encode({**server, "receipts": receipts} if receipts else server))
