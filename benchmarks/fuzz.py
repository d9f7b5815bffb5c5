"""Fuzz of every route: no 5xx, always an answer that can be read, the pixel always a GIF, nothing lost and nothing twice.

    python -m benchmarks.fuzz --requests 100000
    python -m benchmarks.fuzz --requests 100000 --endpoint "POST /events" --first 100000
    python -m benchmarks.fuzz --requests 20000 --url "$TUGBOAT_API_URL"

In process by default: the event that API Gateway makes of a request, app.py's Lambda, the response that it makes of the answer;
with --url over HTTP, against a deployed stage. Each request depends on the seed, the endpoint and its number alone, so that
what a failure names can be made again: --first NUMBER --requests 1. Prints one JSON line; exit 1 on any failure.
"""

import argparse
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.conditions import conditions
from benchmarks.fuzz_requests import Maker
from demo.terminal import Progress
from functions.collect.collector import GIF
from local.aws.proxy_event import Request, Response

IN_PROCESS = ("GET /pixel.gif", "POST /events", "GET /recommend", "POST /recommend", "GET /tugboat.js")
# API Gateway answers a preflight by itself, so there is no Lambda to ask.
OVER_HTTP = (*IN_PROCESS, "OPTIONS /events", "OPTIONS /recommend")
STATUSES = {
    "GET /pixel.gif": {200},
    "POST /events": {200, 400, 413},
    "GET /recommend": {200, 400},
    "POST /recommend": {200, 400, 413},
    "GET /tugboat.js": {200, 304},
    "OPTIONS /events": {200},
    "OPTIONS /recommend": {200},
}
EXAMPLES = 5


class Answered(NamedTuple):
    """A response and the id that API Gateway gave its request."""

    response: Response
    request_id: str


class Stored(NamedTuple):
    """What is to be found of a request: accepted events, and reasons of what was refused."""

    accepted: int
    refused: tuple[str, ...]


class Failed(Exception):
    """An answer that no request may get."""


def expected(endpoint: str, response: Response) -> Stored:
    """What the answer says was stored.

    Raises:
        Failed: the answer breaks what every answer of this endpoint must hold.
    """
    if response.status not in STATUSES[endpoint]:
        raise Failed(f"status {response.status}: {response.body[:200]!r}")
    headers = {name.lower(): value for name, value in response.headers}
    if endpoint == "GET /pixel.gif":
        if response.body != GIF.encode() or headers["content-type"] != "image/gif":
            raise Failed(f"no GIF: {headers['content-type']} {response.body[:200]!r}")
        reason = headers.get("x-tugboat-refused")
        return Stored(0, (reason,)) if reason else Stored(1, ())
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
        return Stored(0, (reason,) if endpoint == "POST /events" else ())
    if endpoint == "POST /events":
        return Stored(body["accepted"], tuple(sorted(one["reason"] for one in body["refused"])))
    if not body["items"] or not all(isinstance(item["item_id"], str) for item in body["items"]):
        raise ValueError("no items")
    return Stored(0, ())


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


class Findings:
    """What was sent, what came of it, and what must not be."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.accepted = self.refused = self.failures = 0
        self.reasons: Counter[str] = Counter()
        self.examples: list[dict[str, Any]] = []

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
        }


def compare(answered: Stored, found: Stored) -> None:
    """Raises Failed where what is stored is not what the answer said."""
    if answered != found:
        raise Failed(f"the answer says {answered}, stored is {found}")


def fuzz_in_process(endpoint: str, seed: int, first: int, requests: int, findings: Findings) -> None:
    """Requests one after another through app.py, each with what it left in the streams."""
    from benchmarks.fuzz_in_process import Door

    door, maker = Door(), Maker(endpoint, seed)
    progress = Progress(endpoint, requests, "requests")
    for number in range(first, first + requests):
        request = maker.request(number)
        try:
            answered = door.ask(request)
            stored = expected(endpoint, answered.response)
            compare(stored, door.take_stored(answered.request_id))
            findings.add(answered.response, stored)
        except Failed as failed:
            findings.fail(endpoint, number, request, str(failed))
        progress.update(number - first + 1)
    progress.finish(requests)


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz",
        description="Send seeded odd requests to every route and reconcile the answers with what is stored.",
        epilog='example: python -m benchmarks.fuzz --requests 5000 --endpoint "POST /events"',
    )
    parser.add_argument(
        "--requests", type=int, default=100_000, help="to each endpoint (default %(default)s)"
    )
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="where to begin (default 0)")
    parser.add_argument("--seed", type=int, default=1, help="default 1")
    parser.add_argument("--endpoint", action="append", choices=OVER_HTTP, help="only this one (repeatable)")
    parser.add_argument("--url", help="of a deployed API, such as http://127.0.0.1:4567/api")
    parser.add_argument("--connections", type=int, default=4, help="at once over HTTP (default 4)")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    figures: dict[str, Any] = {}
    run: Callable[[str, Findings], None]
    if options.url:
        from benchmarks.fuzz_over_http import Api

        api = Api(options.url, options.connections)

        def run(endpoint: str, findings: Findings) -> None:
            api.fuzz(Maker(endpoint, options.seed), options.first, options.requests, findings)
    else:

        def run(endpoint: str, findings: Findings) -> None:
            fuzz_in_process(endpoint, options.seed, options.first, options.requests, findings)

    for endpoint in options.endpoint or (OVER_HTTP if options.url else IN_PROCESS):
        findings = Findings()
        started_s = time.monotonic()
        run(endpoint, findings)
        seconds = time.monotonic() - started_s
        figures[endpoint] = {**findings.as_json(), "requests_per_s": round(options.requests / seconds)}
    line = {
        **conditions("fuzz"),
        "seed": options.seed,
        "over": options.url or "in process",
        "endpoints": figures,
    }
    print(json.dumps(line))
    return 1 if any(one["failures"] for one in figures.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
