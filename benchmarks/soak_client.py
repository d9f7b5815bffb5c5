"""The soak's shoppers: generated events, a ledger of responses, and a client that retries as the SDK does."""

import http.client
import json
import random
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from demo.http import retry_after_s

HOUR_MS = 3_600_000
REPEATED, INVALID, LATE = 0.02, 0.005, 0.02
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.2, 5.0
REQUEST_TIMEOUT_S = 35.0


class Ledger:
    """The collector's responses, by event id."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.acknowledged_sends = self.refused_sends = self.requests = self.retries = 0
        self.accepted: set[str] = set()
        self.refused: set[str] = set()
        self.failures: dict[str, int] = {}
        self._waits: list[tuple[float, float]] = []

    def answered(self, batch: list[dict[str, Any]], answer: dict[str, Any]) -> None:
        """Record a response.

        Raises:
            ValueError: the response does not account for every event of the batch.
        """
        refused = {one["index"] for one in answer["refused"]}
        if answer["accepted"] + len(refused) != len(batch):
            raise ValueError(f"{len(batch)} events sent, the answer accounts for {answer}")
        with self.lock:
            self.requests += 1
            self.acknowledged_sends += len(batch) - len(refused)
            self.refused_sends += len(refused)
            for index, event in enumerate(batch):
                (self.refused if index in refused else self.accepted).add(event["event_id"])

    def waited(self, began_s: float, ended_s: float) -> None:
        """Record how long a shopper waited for an answer, or for a connection that failed."""
        with self.lock:
            self._waits.append((began_s, ended_s))

    def longest_wait_s(self, since_s: float, until_s: float) -> float:
        """Return the longest wait of the requests that ran at some time between the two; 0 if there are none."""
        with self.lock:
            waits = (
                ended_s - began_s
                for began_s, ended_s in self._waits
                if ended_s >= since_s and began_s <= until_s
            )
            return round(max(waits, default=0.0), 2)

    def failed(self, why: str) -> None:
        with self.lock:
            self.retries += 1
            self.failures[why] = self.failures.get(why, 0) + 1


class Events:
    """Batches of a shop's events: some invalid, some hours or days late, some repeated later, all unordered."""

    def __init__(self, count: int, seed: int, shop: str) -> None:
        self.count, self._shop = count, shop
        self._dice = random.Random(seed)
        self._made = 0
        self._again: list[dict[str, Any]] = []

    def batches(self, count: int, size: int) -> Iterator[list[dict[str, Any]]]:
        """Yield `count` new events in batches, and repeats in addition."""
        left = count
        while left or self._again:
            due = min(len(self._again) // 2 if left else len(self._again), size // 2)
            again = [self._again.pop(self._dice.randrange(len(self._again))) for _ in range(due)]
            new = [self._event() for _ in range(min(size - due, left))]
            left -= len(new)
            self._again += [event for event in new if self._dice.random() < REPEATED]
            batch = [*again, *new]
            self._dice.shuffle(batch)
            yield batch

    def _event(self) -> dict[str, Any]:
        dice, number = self._dice, self._made
        self._made += 1
        client = number // 12 - dice.randrange(3)
        time_ms = time.time_ns() // 1_000_000 - dice.randrange(60_000)
        if dice.random() < LATE:
            time_ms -= dice.choice([1, 5, 24, 24 * 6]) * HOUR_MS
        event = {
            "schema_version": 1,
            "event_id": f"soak-{number:010d}",
            "event_name": dice.choice(["view_item", "view_item", "page_view", "add_to_cart"]),
            "shop_id": self._shop,
            "client_id": f"c{client}",
            "session_id": f"s{client}",
            "client_time_ms": time_ms,
            "page_location": "https://shop.example/p",
            "items": [{"item_id": f"i{dice.randrange(2000)}", "price": 9.95}],
        }
        if dice.random() < INVALID:
            event[dice.choice(["event_name", "client_time_ms", "items"])] = "wrong"
        return event


class Sender:
    """One connection that sends a batch until it gets a response."""

    def __init__(self, api_url: str, key: str, ledger: Ledger, ends_s: float, over: threading.Event) -> None:
        self._address, self._ledger, self._ends_s, self._over = urlsplit(api_url), ledger, ends_s, over
        self._path = f"{self._address.path}/events?key={key}"
        self._connection = http.client.HTTPConnection(self._address.netloc, timeout=REQUEST_TIMEOUT_S)

    def send(self, batch: list[dict[str, Any]]) -> None:
        """Send a batch, with retries.

        Raises:
            TimeoutError: the time limit has passed, or the soak was stopped.
        """
        backoff_s = FIRST_BACKOFF_S
        while time.monotonic() < self._ends_s and not self._over.is_set():
            asked_s, began_s = 0.0, time.monotonic()
            try:
                status, retry_after, body = self._post(batch)
            except (OSError, http.client.HTTPException) as error:
                self._ledger.waited(began_s, time.monotonic())
                self._connection.close()
                self._ledger.failed(type(error).__name__)
            else:
                self._ledger.waited(began_s, time.monotonic())
                if status == 200:
                    self._ledger.answered(batch, json.loads(body))
                    return
                asked_s = retry_after_s(retry_after)
                self._ledger.failed(f"status {status}")
            time.sleep(max(asked_s, backoff_s * random.uniform(0.5, 1)))
            backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)
        raise TimeoutError("the soak's time limit has passed: increase --timeout")

    def _post(self, batch: list[dict[str, Any]]) -> tuple[int, str | None, bytes]:
        # Without sent_at_ms, the collector keeps times of the past.
        body = json.dumps({"events": batch}, separators=(",", ":")).encode()
        headers = {"Content-Type": "text/plain;charset=UTF-8", "User-Agent": "tugboat-soak/1"}
        self._connection.request("POST", self._path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.headers.get("Retry-After"), answer.read()
