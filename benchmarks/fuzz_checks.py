"""The rules for every response, and the storage that a response promises."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from benchmarks.fuzz_requests import CATALOGUE
from functions.collect.collect import OTHERS_KEPT
from functions.collect.routes import GIF
from functions.platform.errors import Reason
from local.aws.proxy_event import Request, Response

STATUSES = {
    "GET /pixel.gif": {200},
    "POST /events": {200, 400, 401, 403, 413},
    "GET /recommend": {200, 400},
    "POST /recommend": {200, 400, 413},
    "GET /tugboat.js": {200, 304},
    "OPTIONS /events": {200},
    "OPTIONS /recommend": {200},
}
UNAVAILABLE = {Reason.STORAGE_UNAVAILABLE, Reason.SECRET_KEYS_UNAVAILABLE, Reason.MODEL_UNAVAILABLE}
EXAMPLES = 5


class Answered(NamedTuple):
    """A response, and API Gateway's id of its request."""

    response: Response
    request_id: str


class Stored(NamedTuple):
    """The stored part of a request: accepted events, and the reasons of refused ones."""

    accepted: int
    refused: tuple[str, ...]


class Failed(Exception):
    """A response breaks a rule."""


def expected(endpoint: str, response: Response, may_be_unavailable: bool = False) -> Stored:
    """Return what must be stored after this response. Only if `may_be_unavailable`, it may ask the client to retry.

    Raises:
        Failed: the response breaks a rule of its endpoint.
    """
    headers = {name.lower(): value for name, value in response.headers}
    unavailable = may_be_unavailable and response.status == 503
    if unavailable and "retry-after" not in headers:
        raise Failed("a 503 without Retry-After")
    if response.status not in STATUSES[endpoint] and not unavailable:
        raise Failed(f"status {response.status}: {response.body[:200]!r}")
    if endpoint == "GET /pixel.gif":
        if response.body != GIF.encode() or headers["content-type"] != "image/gif":
            raise Failed(f"no GIF: {headers['content-type']} {response.body[:200]!r}")
        reason = headers.get("x-tugboat-refused")
        if reason == Reason.STORAGE_UNAVAILABLE:
            if not may_be_unavailable:
                raise Failed("the event is not stored")
            return Stored(0, ())
        return Stored(0, kept([reason])) if reason else Stored(1, ())
    if endpoint.startswith("OPTIONS"):
        if headers.get("access-control-allow-origin") != "*":
            raise Failed(f"a preflight without its headers: {headers}")
        return Stored(0, ())
    if endpoint == "GET /tugboat.js":
        if response.status == 200 and not headers["content-type"].startswith("text/javascript"):
            raise Failed(f"no script: {headers['content-type']}")
        return Stored(0, ())
    if headers.get("access-control-allow-origin") != "*":
        raise Failed("a page may not read the answer")
    return told(endpoint, response)


def told(endpoint: str, response: Response) -> Stored:
    """Return what the body of a response says about the storage.

    Raises:
        Failed: the body cannot be read, or a refusal lacks its reason.
    """
    try:
        body = json.loads(response.body, parse_constant=_no_constant)
        return _told(endpoint, response.status, body)
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"unreadable ({type(error).__name__}: {error}): {response.body[:200]!r}") from None


def _told(endpoint: str, status: int, body: dict[str, Any]) -> Stored:
    if status >= 400:
        reason, message = body["error"]["reason"], body["error"]["message"]
        if not reason or not message:
            raise ValueError("a refusal without its reason")
        if status == 503:
            if reason not in UNAVAILABLE:
                raise ValueError(f"503 because of {reason}")
            return Stored(0, ())
        return Stored(0, kept([reason]) if endpoint == "POST /events" else ())
    if endpoint == CATALOGUE:
        return Stored(body["accepted"], tuple(sorted(one["reason"] for one in body["refused"])))
    if endpoint == "POST /events":
        return Stored(body["accepted"], kept(one["reason"] for one in body["refused"]))
    if not body["items"] or not all(isinstance(item["item_id"], str) for item in body["items"]):
        raise ValueError("no items")
    return Stored(0, ())


def kept(reasons: Iterable[str]) -> tuple[str, ...]:
    """Return the refusals that are stored: none without a valid key, and few of values that are no events."""
    found = sorted(reason for reason in reasons if reason not in (Reason.WRONG_KEY, Reason.WRONG_SECRET_KEY))
    not_kept = max(0, found.count(Reason.EVENT_NOT_AN_OBJECT) - OTHERS_KEPT)
    for _ in range(not_kept):
        found.remove(Reason.EVENT_NOT_AN_OBJECT)
    return tuple(found)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


class Findings:
    """The counts of requests and responses, and the failures."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.accepted = self.refused = self.failures = 0
        self.reasons: Counter[str] = Counter()
        self.examples: list[dict[str, Any]] = []
        self.waits: dict[str, list[float]] = {}

    def took(self, trouble: str, seconds: float) -> None:
        """Record the time of an answer under the troubles that its request met."""
        self.waits.setdefault(trouble, []).append(seconds)

    def add(self, response: Response, stored: Stored) -> None:
        self.statuses[str(response.status)] += 1
        self.accepted += stored.accepted
        self.refused += len(stored.refused)
        self.reasons.update(stored.refused)

    def fail(self, endpoint: str, number: int | None, request: Request | None, why: str) -> None:
        self.failures += 1
        if len(self.examples) < EXAMPLES:
            sent = f"{request.query} {request.headers} {request.body!r}"[:600] if request else ""
            self.examples.append({"endpoint": endpoint, "number": number, "why": why[:600], "request": sent})

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.statuses.total(),
            "statuses": dict(sorted(self.statuses.items())),
            "accepted": self.accepted,
            "refused": self.refused,
            "reasons": dict(self.reasons.most_common()),
            "failures": self.failures,
            "examples": self.examples,
            **({"waits": self._waits()} if self.waits else {}),
        }

    def _waits(self) -> dict[str, Any]:
        """Return the number of troubled requests, and the longest times by troubles."""
        longest_s = {trouble: max(times) for trouble, times in self.waits.items()}
        slowest = sorted(longest_s.items(), key=lambda pair: -pair[1])[:EXAMPLES]
        return {
            "troubled_requests": sum(map(len, self.waits.values())),
            "different_troubles": len(longest_s),
            "longest_s": {trouble: round(seconds, 2) for trouble, seconds in slowest},
        }


def compare(answered: Stored, found: Stored) -> None:
    """Raise Failed if the stored events differ from the response."""
    if answered != found:
        raise Failed(f"the answer says {answered}, stored is {found}")
