"""Replay: read a period of raw/ or rejected/, and send the events that the current contract accepts to the stream.

Events keep their ids and times. The warehouse keeps the first copy of an event_id, so it counts nothing twice.
"""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from functions.platform.contract import ReplayResult
from functions.platform.errors import RequestRefused
from functions.platform.events.contract import accept, encode, line
from functions.platform.events.intake import Intake
from functions.platform.events.receipt_stamps import restamp, stamps, take_receipts
from functions.platform.log import get_logger
from functions.platform.receipt import EventTimes
from functions.replay.archived_events import ArchivedEvent, Unreadable, archived_events
from functions.replay.period import parse_period
from functions.replay.stored_files import stored_files

log = get_logger(__name__)

LINES_PER_DELIVERY = 2_000
UNREADABLE_REPORTED = 50
# A file of 128 MB, the most that Firehose buffers, must be finished before Lambda's time is up.
STOP_BEFORE_END_MS = 240_000


class _Replay:
    """The counts of one call, and the lines that wait for delivery."""

    def __init__(self, archive: str, intake: Intake) -> None:
        self.archive, self.intake = archive, intake
        self.files = self.read = self.sent = self.unreadable = 0
        self.refused: dict[str, int] = {}
        self.unreadable_at: list[str] = []
        self.waiting: list[bytes] = []

    def send_file(self, key: str, lines: Iterator[bytes]) -> None:
        """Send a file's events. A bad line, or a bad end, stops none of the others."""
        self.files += 1
        number = 0
        try:
            for number, text in enumerate(lines, start=1):
                self._send_line(text, f"{key} line {number}")
        except Unreadable as unreadable:
            self._report(f"{key} line {number + 1}: {unreadable}")

    def _send_line(self, text: bytes, place: str) -> None:
        self.read += 1
        try:
            events = archived_events(text, self.archive)
        except Unreadable as unreadable:
            self._report(f"{place}: {unreadable}")
            return
        except RequestRefused as refusal:
            self._count(refusal)
            return
        for event in events:
            try:
                self.waiting.append(_replayed_line(event, self.intake))
            except RequestRefused as refusal:
                self._count(refusal)
        if len(self.waiting) >= LINES_PER_DELIVERY:
            self.deliver()

    def _count(self, refusal: RequestRefused) -> None:
        reason = refusal.reason.value
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def _report(self, place: str) -> None:
        self.unreadable += 1
        if len(self.unreadable_at) < UNREADABLE_REPORTED:
            self.unreadable_at.append(place)
            log.warning("archived line not read", place=place)

    def deliver(self) -> None:
        """Send the waiting lines."""
        if not self.waiting:
            return
        self.intake.store(self.waiting)
        self.sent += len(self.waiting)
        self.waiting = []


def replay(event: Any, intake: Intake, remaining_ms: Callable[[], int] = lambda: sys.maxsize) -> ReplayResult:
    """Send a period's events again: as many files as the remaining time allows, and at least one.

    Args:
        event: `{"archive": "raw" or "rejected", "from_hour": "2026-01-31T07", "to_hour": ...}`, hours of receipt in UTC,
            the last one included; or `continue_with` of the previous call.
        intake: the collector's settings, clients and receipt keys.
        remaining_ms: the time that is left to this Lambda.

    Returns:
        The counts, with the first unreadable places as key, line and reason. `continue_with` is the event of the next
        call, or None if the period is finished.

    Raises:
        ValueError: the event is invalid.
        StorageUnavailable: the replay stopped half-way. Run it again: the warehouse drops events that are sent twice.
        PackedDayDamaged: a parquet file lacks lines; the events before them were sent.
    """
    period = parse_period(event, datetime.now(UTC))
    run = _Replay(period.archive, intake)
    last_key, continue_with = "", None
    for key, lines in stored_files(period, intake.settings.events_bucket, intake.s3):
        if last_key and remaining_ms() < STOP_BEFORE_END_MS:
            continue_with = period.rest_after(last_key)
            break
        run.send_file(key, lines)
        last_key = key
    run.deliver()
    result: ReplayResult = {
        "files": run.files,
        "read": run.read,
        "sent": run.sent,
        "refused": run.refused,
        "unreadable": run.unreadable,
        "unreadable_at": run.unreadable_at,
        "continue_with": continue_with,
    }
    log.info("archive replayed", archive=period.archive, **result)
    return result


def _replayed_line(archived: ArchivedEvent, intake: Intake) -> bytes:
    """Return the line of an archived event under the current contract."""
    shops = intake.settings.shops & {archived.sender}
    event, event_time_ms = accept(archived.event, shops, archived.timing, archived.age_max_ms)
    # The time of receipt is the archived one: a replay makes no receipt late, and none valid.
    times = EventTimes(event_time_ms, archived.timing.received_at_ms)
    server = {**archived.server, "event_time_ms": event_time_ms}
    receipts = [
        *restamp(server.pop("receipts", []), event, times, intake.receipt_keys),
        *stamps(take_receipts(event), event, times, intake.receipt_keys),
    ]
    return line(event, encode({**server, "receipts": receipts} if receipts else server), intake.pseudonym)
