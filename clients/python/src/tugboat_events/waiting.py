"""The bounded queue between the threads that track and the thread that sends."""

from __future__ import annotations

import threading
import time
from collections import deque
from itertools import islice
from typing import NamedTuple

from tugboat_events.contract import BODY_MAX_BYTES, EVENTS_MAX
from tugboat_events.event import Encoded

WAITING_MAX_BYTES = 32 * 1024 * 1024
OPENING, BETWEEN, CLOSING = b'{"events":[', b",", b"]}"
ROOM_BYTES = BODY_MAX_BYTES - len(OPENING) - len(CLOSING)
# While the queue closes, a pause that the server did not ask for is at most this long.
CLOSING_PAUSE_S = 0.25


class Counts(NamedTuple):
    """The number of tracked events by what became of them. Each event is in exactly one number."""

    accepted: int
    refused: int
    dropped: int
    waiting: int


def body(events: list[Encoded]) -> bytes:
    """Return the body of a request. Without sent_at_ms the collector takes a back end's clock as it is."""
    return OPENING + BETWEEN.join(event.json for event in events) + CLOSING


class Waiting:
    """Events in the order of their arrival, which stay here until they are settled.

    A full queue does not take a new event: an event that was taken is lost only by a close that ran out of time.
    """

    def __init__(self, max_events: int, max_age_s: float) -> None:
        """Keep at most `max_events`; a batch is due when it is full, or its first event `max_age_s` old."""
        self._max_events, self._max_age_s = max_events, max_age_s
        self._events: deque[tuple[float, Encoded]] = deque()
        self._bytes = 0
        self._taken = self._settled = 0
        self._accepted = self._refused = self._dropped = 0
        # Events up to this number are sent at once.
        self._urgent = 0
        self._closing = self._stopped = False
        self._changed = threading.Condition()

    def offer(self, event: Encoded) -> bool:
        """Append an event; return False if the queue is full or closed."""
        with self._changed:
            full = len(self._events) >= self._max_events or self._bytes + len(event.json) > WAITING_MAX_BYTES
            if full or self._closing:
                self._dropped += 1
                return False
            self._events.append((time.monotonic(), event))
            self._bytes += len(event.json)
            self._taken += 1
            # The sender waits for the first event, and then for its age or for a full batch.
            if len(self._events) in (1, EVENTS_MAX) or self._bytes >= ROOM_BYTES:
                self._changed.notify_all()
            return True

    def next_batch(self, limit: int = EVENTS_MAX) -> list[Encoded] | None:
        """Wait until a batch is due; return it, or None once the queue has stopped."""
        with self._changed:
            while not self._stopped:
                if self._events:
                    age_s = time.monotonic() - self._events[0][0]
                    full = len(self._events) >= EVENTS_MAX or self._bytes >= ROOM_BYTES
                    if full or self._urgent > self._settled or age_s >= self._max_age_s:
                        return self._batch(limit)
                    self._changed.wait(self._max_age_s - age_s)
                else:
                    self._changed.wait()
            return None

    def _batch(self, limit: int) -> list[Encoded]:
        """Return the first events that fit into one request."""
        batch: list[Encoded] = []
        room = ROOM_BYTES
        for _, event in islice(self._events, limit):
            room -= len(event.json) + (len(BETWEEN) if batch else 0)
            if room < 0:
                break
            batch.append(event)
        return batch

    def settle(self, number: int, refused: int) -> None:
        """Remove the first events: some are refused, the others stored. After a stop they count as dropped already."""
        with self._changed:
            if self._stopped:
                return
            for _ in range(number):
                self._bytes -= len(self._events.popleft()[1].json)
            self._settled += number
            self._accepted += number - refused
            self._refused += refused
            self._changed.notify_all()

    def refuse(self) -> None:
        """Count an event that no request can hold."""
        with self._changed:
            self._refused += 1

    def pause(self, backoff_s: float, asked_s: float) -> None:
        """Wait for both times, and only for what the server asked for while the queue closes."""
        began = time.monotonic()
        with self._changed:
            while not self._stopped:
                own_s = min(backoff_s, CLOSING_PAUSE_S) if self._closing else backoff_s
                left_s = began + max(own_s, asked_s) - time.monotonic()
                if left_s <= 0:
                    return
                self._changed.wait(left_s)

    def wait_settled(self, timeout_s: float, closing: bool = False) -> bool:
        """Have the events so far sent at once; return True if they are settled in time."""
        with self._changed:
            self._urgent = self._taken
            self._closing = self._closing or closing
            self._changed.notify_all()
            target = self._taken
            return self._changed.wait_for(lambda: self._settled >= target, timeout_s)

    def stop(self) -> int:
        """End next_batch and pause, and drop what is left; return its number."""
        with self._changed:
            self._stopped = self._closing = True
            left = len(self._events)
            self._events.clear()
            self._bytes = 0
            self._dropped += left
            self._changed.notify_all()
            return left

    def counts(self) -> Counts:
        """Return the counts since the start of the process."""
        with self._changed:
            return Counts(self._accepted, self._refused, self._dropped, len(self._events))
