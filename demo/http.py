"""A JSON client for a busy or restarting service: kept connections, retries with backoff, Retry-After.

urllib3 sends the requests, and the loop is ours. Its Retry needs a subclass for the latency of the last attempt and for
the count of retries under way. It also logs each lost connection with the address, which contains the shop's key.
docs/decisions/0036-libraries.md has the comparison.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import urllib3

MAX_ATTEMPTS = 9
FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 10.0
LONGEST_RETRY_AFTER_S = 60.0
Body = dict[str, Any]


class RequestFailed(Exception):
    """A request failed finally: retries cannot help, or none is left."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Response:
    """A successful response, with the latency of its attempt."""

    body: Body
    milliseconds: float


def retry_after_s(value: str | None, now_s: Callable[[], float] = time.time) -> float:
    """Convert Retry-After to seconds, from a number or a date; return 0 for anything else."""
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now_s()
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


class Http:
    """A small JSON client that threads can share."""

    def __init__(
        self,
        connections: int,
        timeout_s: float = 60.0,
        max_attempts: int = MAX_ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pool = urllib3.PoolManager(
            maxsize=connections,
            block=True,
            retries=False,
            timeout=urllib3.Timeout(connect=5.0, read=timeout_s),
        )
        self._max_attempts = max_attempts
        self._sleep = sleep
        self._lock = threading.Lock()
        self.retries = 0

    def get(self, url: str) -> Response:
        """Get a JSON object."""
        return self._request("GET", url, None, {})

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """Post a JSON body and return the response's JSON object."""
        return self._request("POST", url, body, {"Content-Type": "application/json", **headers})

    def _request(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        backoff_s, problem = FIRST_BACKOFF_S, ""
        status = 0
        for attempt in range(1, self._max_attempts + 1):
            wait_s = 0.0
            started_s = time.perf_counter()
            try:
                response = self._pool.request(
                    method, url, body=body, headers={"Accept": "application/json", **headers}, retries=False
                )
            except urllib3.exceptions.HTTPError as error:
                status, problem = 0, f"{type(error).__name__}: {error}"
            else:
                status = response.status
                if status < 300:
                    milliseconds = (time.perf_counter() - started_s) * 1000
                    return Response(_object(response.data, url), milliseconds)
                problem = f"status {status}: {response.data[:500].decode('utf-8', 'replace')}"
                wait_s = retry_after_s(response.headers.get("Retry-After"))
                # 401: a secret key that was issued a moment ago is known after the time that the response names.
                if status != 429 and status < 500 and not (status == 401 and wait_s):
                    raise RequestFailed(f"{method} {url} was refused with {problem}", status)
            if attempt < self._max_attempts:
                with self._lock:
                    self.retries += 1
                self._sleep(max(wait_s, random.uniform(backoff_s / 2, backoff_s)))
                backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
        raise RequestFailed(
            f"{method} {url} failed {self._max_attempts} times, at last with {problem}."
            " Check the stack with `make status`; start it with `make up`.",
            status,
        )


def _object(data: bytes, url: str) -> Body:
    try:
        body = json.loads(data)
    except ValueError as error:
        raise RequestFailed(f"{url} answered with something that is not JSON: {data[:200]!r}") from error
    if not isinstance(body, dict):
        raise RequestFailed(f"{url} answered with JSON that is no object: {data[:200]!r}")
    return body
