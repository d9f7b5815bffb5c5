"""Erase: the phases in S3, from the raw files to the certificate. The phases in the warehouse are in rows.py.

Raw files come first, so that no load can bring the person back. Tables follow, then the snapshots that are made of them.
Each call works for a limited time. Each step can be repeated, and the journal lists what is finished.
"""

import json
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from functions.erase import files, snapshots
from functions.erase.certificate import certificate, page
from functions.erase.journal import Journal, Store, versions_below
from functions.erase.packed import erase_day
from functions.erase.person import Lines, Person, Task, parse_task
from functions.platform.contract import (
    ERASURE_CERTIFICATES_PREFIX,
    ERRORS_PREFIX,
    RAW_PREFIX,
    REJECTED_PREFIX,
    EraseResult,
)
from functions.platform.errors import StorageUnavailable
from functions.platform.log import get_logger
from functions.platform.settings import EraseSettings

log = get_logger(__name__)

# A file of 128 MB, the most that Firehose buffers, must be finished before Lambda's time is up.
STOP_BEFORE_END_MS = 240_000
DAY_OF_KEY = re.compile(rf"{RAW_PREFIX}(\d{{4}})/(\d\d)/(\d\d)/")
REFUSED_PREFIXES = sorted((ERRORS_PREFIX, REJECTED_PREFIX))


class Budget:
    """The time that a call may work. A call always finishes one step."""

    def __init__(self, seconds: float, remaining_ms: Callable[[], int]) -> None:
        self._end_s = time.monotonic() + seconds
        self._remaining_ms = remaining_ms

    def is_used(self) -> bool:
        """Return True if the call has to end."""
        return time.monotonic() >= self._end_s or self._remaining_ms() < STOP_BEFORE_END_MS


def erase(
    event: Any,
    settings: EraseSettings,
    s3: Any,
    key: str,
    remaining_ms: Callable[[], int] = lambda: sys.maxsize,
) -> EraseResult:
    """Work on the erasure of one person, or begin it.

    Args:
        event: `{"client": ...}` or `{"user": ...}`, with `shop`, `action` and `seconds` where wanted. The action `look`
            changes nothing. The action `abandon` deletes the journal of an erasure that has changed nothing yet.
        settings: buckets and retention.
        s3: the client.
        key: the secret key of the digest that stands for the person.
        remaining_ms: the time that is left to this Lambda.

    Returns:
        The phase that comes next: `find` and `rows` are phases of the Lambda `erase_rows`. In the phase `done` the result
        has the certificate.

    Raises:
        ValueError: the event is invalid.
        StorageUnavailable: S3 did not answer, or another call works on the same person. Run the same call again.
    """
    task = parse_task(event)
    store = Store(s3, settings.events_bucket, task.person.digest(key))
    journal = store.read()
    if task.action == "look":
        return result(store, journal)
    if task.action == "abandon":
        if journal is not None and not journal.counts:
            store.delete()
        return result(store, None)
    if journal is None:
        journal = store.begin(task.person, datetime.now(UTC).isoformat(timespec="seconds"))
    return _work(task, settings, store, journal, Budget(task.seconds, remaining_ms))


def _work(task: Task, settings: EraseSettings, store: Store, journal: Journal, budget: Budget) -> EraseResult:
    while (phase := PHASES.get(journal.phase)) is not None:
        before = journal.phase
        phase(task.person, settings, store, journal, budget)
        log.info("erasing", person=store.digest, phase=journal.phase, counts=journal.counts)
        # Nothing is changed yet: a caller may ask whether the clients of a user are right.
        if budget.is_used() or (before, journal.phase) == ("discover", "raw"):
            break
    if journal.phase != "certificate":
        return result(store, journal)
    return _certify(settings, store, journal)


def result(store: Store, journal: Journal | None) -> EraseResult:
    """Return what the caller has to know to continue."""
    return {
        "person": store.digest,
        "phase": journal.phase if journal else "begin",
        "after": journal.after if journal else "",
        "clients": [list(one) for one in journal.clients] if journal else [],
        "counts": journal.counts if journal else {},
        "certificate": None,
        "certificate_uri": None,
    }


def next_phase(store: Store, journal: Journal, phase: str) -> None:
    """Begin a phase."""
    journal.phase, journal.after, journal.counted_key = phase, "", ""
    store.write(journal)


def _discover(_: Person, settings: EraseSettings, store: Store, journal: Journal, budget: Budget) -> None:
    """Find clients of the user in files that are not loaded. With a new one, `find` begins again."""
    lines = _lines(journal)
    known = set(journal.clients)
    for key in _remaining(store.files(), journal.after):
        found = {
            client for line in files.read(store.s3, store.bucket, key) if (client := lines.client_of(line))
        }
        journal.clients += sorted(found - known)
        known |= found
        journal.after = key
        if budget.is_used():
            store.write(journal)
            return
    next_phase(store, journal, "find" if len(journal.clients) > journal.clients_searched else "raw")


def _raw(_: Person, settings: EraseSettings, store: Store, journal: Journal, budget: Budget) -> None:
    """Rewrite the raw files that contain the person."""
    lines = _lines(journal)
    for key in _remaining(store.files(), journal.after):
        for stored in versions_below(store.s3, store.bucket, key):
            if stored.key == key:
                files.rewrite(store, journal, RAW_PREFIX, stored, lines.owns)
        journal.after = key
        if budget.is_used():
            store.write(journal)
            return
    next_phase(store, journal, "packed")


def _packed(_: Person, settings: EraseSettings, store: Store, journal: Journal, budget: Budget) -> None:
    """Rewrite the packed days of the raw files."""
    lines, keys = _lines(journal), store.files()
    by_day: dict[str, set[str]] = {}
    for key in keys:
        if match := DAY_OF_KEY.match(key):
            by_day.setdefault("-".join(match.groups()), set()).add(key)
    for day in _remaining(sorted(by_day), journal.after):
        erase_day(store, journal, day, by_day[day], lines)
        journal.after = day
        if budget.is_used():
            store.write(journal)
            return
    next_phase(store, journal, "refused")


def _refused(_: Person, settings: EraseSettings, store: Store, journal: Journal, budget: Budget) -> None:
    """Rewrite the files of refused events, and of deliveries that failed."""
    lines = _lines(journal)
    for prefix in REFUSED_PREFIXES:
        for stored in versions_below(store.s3, store.bucket, prefix):
            if stored.key <= journal.after:
                continue
            files.rewrite(store, journal, prefix, stored, lines.refused)
            journal.after = stored.key
            if budget.is_used():
                store.write(journal)
                return
    next_phase(store, journal, "rows")


def _snapshots(_: Person, settings: EraseSettings, store: Store, journal: Journal, budget: Budget) -> None:
    """Delete the snapshots and batches that contain the person, and list the models that learned from them."""
    if not journal.after:
        snapshots.find(journal, settings, store.s3)
        journal.after = "found"
        store.write(journal)
    for run in journal.snapshots:
        snapshots.delete(run, settings, store.s3)
    snapshots.delete_batches(journal, settings, store.s3)
    next_phase(store, journal, "certificate")


PHASES: dict[str, Callable[[Person, EraseSettings, Store, Journal, Budget], None]] = {
    "discover": _discover,
    "raw": _raw,
    "packed": _packed,
    "refused": _refused,
    "snapshots": _snapshots,
}


def _certify(settings: EraseSettings, store: Store, journal: Journal) -> EraseResult:
    """Write the certificate, then delete the journal. A killed call writes the same certificate again."""
    if not journal.after:
        journal.after = datetime.now(UTC).isoformat(timespec="seconds")
        store.write(journal)
    finished_at = datetime.fromisoformat(journal.after)
    written = certificate(journal, settings, store.digest, finished_at)
    name = f"{ERASURE_CERTIFICATES_PREFIX}{finished_at:%Y-%m-%dT%H-%M-%S}-{store.digest[:16]}"
    for end, body in ((".txt", page(written)), (".json", json.dumps(written, indent=2) + "\n")):
        try:
            store.s3.put_object(Bucket=store.bucket, Key=name + end, Body=body.encode())
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailable(
                f"s3://{store.bucket}/{name}{end} could not be written: {error}"
            ) from error
    store.delete()
    done = result(store, journal)
    done |= {
        "phase": "done",
        "clients": [],
        "certificate": written,
        "certificate_uri": f"s3://{store.bucket}/{name}.json",
    }
    log.info("erased", person=store.digest, certificate=done["certificate_uri"], counts=journal.counts)
    return done


def _lines(journal: Journal) -> Lines:
    return Lines(Person(journal.kind, journal.id, journal.shop), journal.clients)  # type: ignore[arg-type]


def _remaining(ordered: list[str], after: str) -> list[str]:
    return [one for one in ordered if one > after]
