"""The thread that sends waiting events, batch by batch and in order, until each is stored or refused."""

from __future__ import annotations

import logging
import random
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any, NamedTuple

from tugboat_events.contract import EVENTS_MAX
from tugboat_events.event import Encoded
from tugboat_events.transport import Response, Transport, Unreachable
from tugboat_events.waiting import ROOM_BYTES, Waiting, body

log = logging.getLogger("tugboat_events")

REQUEST_TIMEOUT_S = 10.0
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 60.0
DROPPED_TOLD_EVERY_S = 60.0
# Statuses that blame the body, if the collector itself gives the reason.
BODY_REFUSED = (400, 413)


class Refused(NamedTuple):
    """An event that the collector does not take. Sending it again unchanged is useless."""

    event_id: str
    event_name: str
    reason: str
    message: str


class Sender:
    """The thread of a queue, and what it does with each response."""

    def __init__(
        self,
        transport: Transport,
        key: str | None,
        secret_key: str | None,
        waiting: Waiting,
        on_refused: Callable[[Refused], None] | None,
    ) -> None:
        """Start the thread with the first event: a thread does not survive a fork."""
        self._transport, self._waiting, self._on_refused = transport, waiting, on_refused
        self._path = "/events" if key is None else "/events?" + urllib.parse.urlencode({"key": key})
        self._headers = {} if secret_key is None else {"Authorization": f"Bearer {secret_key}"}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._drop_told_at = float("-inf")
        self._failures = 0
        # The next batch has at most this many events. It shrinks to find the event that spoils a body.
        self._limit = EVENTS_MAX

    def offer(self, event: Encoded) -> bool:
        """Take an event to send; return False if it is refused or dropped instead. It never waits for the network."""
        if len(event.json) > ROOM_BYTES:
            self._waiting.refuse()
            self._report(event, "event_too_large", "it is larger than a request may be")
            return False
        if self._waiting.offer(event):
            self._run()
            return True
        now = time.monotonic()
        if now >= self._drop_told_at + DROPPED_TOLD_EVERY_S:
            self._drop_told_at = now
            log.error(
                "tugboat: the queue is full or closed, %d events dropped so far",
                self._waiting.counts().dropped,
            )
        return False

    def close(self, timeout_s: float) -> bool:
        """Take no more events, flush, and stop; return False if events were dropped for lack of time."""
        self._waiting.wait_settled(timeout_s, closing=True)
        left = self._waiting.stop()
        if left:
            log.error("tugboat: %d events dropped: the client closed before the collector stored them", left)
        return left == 0

    def _run(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._send_all, name="tugboat-events", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    # The process ends, or has too many threads. The next event tries again.
                    log.error("tugboat: the events wait, because no thread can start: %s", error)
                else:
                    self._thread = thread

    def _send_all(self) -> None:
        while (batch := self._waiting.next_batch(self._limit)) is not None:
            self._send(batch)

    def _send(self, batch: list[Encoded]) -> None:
        """Send a batch once: settle it, halve it, or pause before the next attempt."""
        try:
            response = self._transport.post_within(self._path, body(batch), REQUEST_TIMEOUT_S, self._headers)
        except Unreachable as unreachable:
            return self._retry(f"{unreachable}", 0.0)
        refused = _refused(response, len(batch))
        if refused is not None:
            return self._settle(batch, refused)
        error = _error(response)
        if error is not None and response.status in BODY_REFUSED:
            if len(batch) == 1:
                return self._settle(batch, {0: error})
            self._limit = len(batch) // 2
            return None
        reason = error[0] if error else "the response is not the collector's"
        return self._retry(f"HTTP {response.status}, {reason}", response.retry_after_s)

    def _settle(self, batch: list[Encoded], refused: dict[int, tuple[str, str]]) -> None:
        self._failures, self._limit = 0, EVENTS_MAX
        for index, (reason, message) in sorted(refused.items()):
            self._report(batch[index], reason, message)
        self._waiting.settle(len(batch), len(refused))

    def _retry(self, why: str, asked_s: float) -> None:
        self._failures += 1
        longest_s = min(BACKOFF_FIRST_S * 2 ** min(self._failures - 1, 10), BACKOFF_MAX_S)
        # Half of it by chance: many processes that failed together do not come back together.
        backoff_s = longest_s * random.uniform(0.5, 1.0)
        # Attempts 1, 2, 4, 8, ...: an outage of hours takes few lines.
        if self._failures & (self._failures - 1) == 0:
            log.warning(
                "tugboat: %d events wait, attempt %d failed: %s. Next attempt in %.1f s",
                self._waiting.counts().waiting, self._failures, why, max(backoff_s, asked_s),
            )  # fmt: skip
        self._waiting.pause(backoff_s, asked_s)

    def _report(self, event: Encoded, reason: str, message: str) -> None:
        refused = Refused(event.event_id, event.event_name, reason, message)
        if self._on_refused is None:
            # The message can quote a value of the event, and a log must not hold personal data.
            log.warning("tugboat: event %s (%s) was refused: %s", event.event_id, event.event_name, reason)
            return
        try:
            self._on_refused(refused)
        except Exception:  # of the caller's code, which must not end the thread
            log.exception("tugboat: on_refused failed for event %s", event.event_id)


def _refused(response: Response, number: int) -> dict[int, tuple[str, str]] | None:
    """Return the refused events of a batch by their place, or None if the response is not the collector's."""
    answer = response.json
    if response.status != 200 or not isinstance(answer, dict) or not isinstance(answer.get("refused"), list):
        return None
    found: dict[int, tuple[str, str]] = {}
    for one in answer["refused"]:
        if not isinstance(one, dict) or one.get("index") not in range(number):
            return None
        found[one["index"]] = (str(one.get("reason")), str(one.get("message")))
    if isinstance(answer.get("not_stored"), str):
        # A proxy added the privacy signal of a person. Sending the events again changes nothing.
        return {index: (answer["not_stored"], "not stored") for index in range(number)}
    return found if answer.get("accepted") == number - len(found) else None


def _error(response: Response) -> tuple[str, str] | None:
    """Return the reason and the message of a request that the collector refused."""
    error: Any = response.json.get("error") if isinstance(response.json, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("reason"), str):
        return None
    return error["reason"], str(error.get("message"))
