"""HTTP requests to the API."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, NamedTuple, TypeVar

import urllib3
from urllib3.util.retry import Retry

from tugboat_events.version import VERSION

# The bot filter reads `tugboat-` as a back end of the shop, and other HTTP libraries as tools.
USER_AGENT = f"tugboat-python/{VERSION}"
HEADERS = {"User-Agent": USER_AGENT, "Content-Type": "application/json", "Accept": "application/json"}
NO_HEADERS: Mapping[str, str] = {}
RETRY_AFTER_MAX_S = 3600.0
# Requests that hang beyond their time box, at most. Further ones fail at once.
HANGING_MAX = 16
Result = TypeVar("Result")


class Unreachable(Exception):
    """No response came, or not in time."""


class Response(NamedTuple):
    """A response; `json` is None if its body is not JSON."""

    status: int
    json: Any
    retry_after_s: float


class Transport:
    """A pool of connections, without retries of its own and without redirects."""

    def __init__(self, api_url: str) -> None:
        """Connect on the first request.

        Raises:
            ValueError: the address is not one of HTTP.
        """
        parts = urllib3.util.parse_url(api_url)
        if parts.scheme not in ("http", "https") or not parts.host:
            raise ValueError(
                f"api_url {api_url!r} is no HTTP address: pass the address that the deployment prints"
            )
        self._url = api_url.rstrip("/")
        self._pool = urllib3.PoolManager(maxsize=HANGING_MAX)
        self._slots = threading.Semaphore(HANGING_MAX)

    def post(
        self, path: str, body: bytes, timeout_s: float, headers: Mapping[str, str] = NO_HEADERS
    ) -> Response:
        """Post JSON and return the response. Each wait for the network has the time limit, not their sum.

        Raises:
            Unreachable: there is no response of HTTP.
        """
        return self._request("POST", path, body, timeout_s, headers)

    def put(self, path: str, body: bytes, timeout_s: float, headers: Mapping[str, str]) -> Response:
        """Put JSON Lines and return the response, as `post`.

        Raises:
            Unreachable: there is no response of HTTP.
        """
        return self._request("PUT", path, body, timeout_s, {"Content-Type": "application/jsonl", **headers})

    def _request(
        self, method: str, path: str, body: bytes, timeout_s: float, headers: Mapping[str, str]
    ) -> Response:
        try:
            answer = self._pool.request(
                method,
                self._url + path,
                body=body,
                headers={**HEADERS, **headers},
                retries=False,
                timeout=urllib3.Timeout(total=timeout_s),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            # The message of the error contains the address, and with it the key.
            raise Unreachable(type(error).__name__) from error
        return Response(
            answer.status, _parsed(answer.data), _retry_after_s(answer.headers.get("Retry-After"))
        )

    def post_within(
        self, path: str, body: bytes, timeout_s: float, headers: Mapping[str, str] = NO_HEADERS
    ) -> Response:
        """Post JSON and return the response within the time limit, whatever the network does.

        Raises:
            Unreachable: there is no response in time, or too many earlier requests hang.
        """
        if not self._slots.acquire(blocking=False):
            raise Unreachable(f"{HANGING_MAX} requests hang")

        def call() -> Response:
            try:
                return self.post(path, body, timeout_s, headers)
            finally:
                self._slots.release()

        try:
            future = _in_thread(call)
        except RuntimeError:
            # While Python ends, no thread can start, and this one is the last that matters.
            return call()
        try:
            return future.result(timeout_s)
        except FutureTimeout as error:
            raise Unreachable("no response in time") from error


def _in_thread(call: Callable[[], Result]) -> Future[Result]:
    """Run a call in a daemon thread. An executor's threads would delay the end of the process."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, name="tugboat-request", daemon=True).start()
    return future


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _retry_after_s(value: str | None) -> float:
    if value is None:
        return 0.0
    try:
        return min(max(float(Retry().parse_retry_after(value)), 0.0), RETRY_AFTER_MAX_S)
    except (urllib3.exceptions.InvalidHeader, OverflowError, ValueError):
        return 0.0
