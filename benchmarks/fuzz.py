"""Fuzz every route: no 5xx, every response readable, the pixel always a GIF, no event lost or stored twice.

    python -m benchmarks.fuzz --requests 100000
    python -m benchmarks.fuzz --requests 100000 --endpoint "POST /events" --first 100000
    python -m benchmarks.fuzz --requests 20000 --troubled 0.02
    python -m benchmarks.fuzz --requests 20000 --over-http
    python -m benchmarks.fuzz --requests 20000 --model-server

By default it runs in process: API Gateway's event of a request, app.py's Lambda, API Gateway's response.
With --troubled, app.py has boto3's clients, and services of this share of the requests refuse, fail, hang or drip.
Then a response must come in time, and a 503 is right only where no service could store the events or recommend.
With --over-http it starts a local stack of its own: gateway, Lambda workers, Firehose, S3.
With --model-server, it starts a model server, and a request is a conversation with it. The bytes are valid, odd or
spoiled, in parts and pipelined, and the callers wait, close or reset the connection.
After every hundred conversations, a normal invocation must get the same response as at the start.
What PUT /catalogue accepts must be stored, and the Lambda catalogue must be able to fold it. It is fuzzed in process only.

A request depends only on the seed, the endpoint and its number, so --first NUMBER --requests 1 repeats a failure.
It prints one JSON line, and exits with 1 on any failure.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from benchmarks.conditions import conditions, parser
from benchmarks.fuzz_catalogue import CatalogueDoor
from benchmarks.fuzz_checks import Failed, Findings
from benchmarks.fuzz_in_process import Door
from benchmarks.fuzz_requests import CATALOGUE, Maker
from demo.terminal import Progress
from local.aws.proxy_event import Request

IN_PROCESS = ("GET /pixel.gif", "POST /events", "GET /recommend", "POST /recommend", "GET /tugboat.js")
# API Gateway itself answers a preflight, so no Lambda runs.
OVER_HTTP = (*IN_PROCESS, "OPTIONS /events", "OPTIONS /recommend")


def measure(fuzz: Callable[[int, int, Findings], None], options: argparse.Namespace) -> dict[str, Any]:
    """Fuzz one endpoint and return the findings with the rate."""
    findings = Findings()
    started_s = time.monotonic()
    fuzz(options.first, options.requests, findings)
    rate = options.requests / (time.monotonic() - started_s)
    return {**findings.as_json(), "requests_per_s": round(rate)}


class Checked(Protocol):
    """An API in this process whose responses are checked against its storage."""

    def check(self, endpoint: str, number: int, request: Request, findings: Findings) -> None:
        """Answer a request and add it to the findings; raise Failed if a rule is broken."""


def fuzz_in_process(door: Checked, maker: Maker, first: int, requests: int, findings: Findings) -> None:
    """Send requests one after another through app.py, and compare each response with the stored lines."""
    progress = Progress(maker.endpoint, requests, "requests")
    for number in range(first, first + requests):
        request = maker.request(number)
        try:
            door.check(maker.endpoint, number, request, findings)
        except Failed as failed:
            findings.fail(maker.endpoint, number, request, str(failed))
        progress.update(number - first + 1)
    progress.finish(requests)


def in_process(options: argparse.Namespace) -> dict[str, Any]:
    """Fuzz each endpoint in this process."""
    door = Door()
    doors: dict[str, Checked] = {CATALOGUE: CatalogueDoor(door)}
    return {
        endpoint: measure(
            partial(fuzz_in_process, doors.get(endpoint, door), Maker(endpoint, options.seed)), options
        )
        for endpoint in options.endpoint or (*IN_PROCESS, CATALOGUE)
    }


def with_troubles(options: argparse.Namespace) -> dict[str, Any]:
    """Fuzz each endpoint in this process, with services in trouble."""
    from benchmarks.fuzz_troubled import troubled_door

    with troubled_door(options.seed, options.troubled) as door:
        return {
            endpoint: measure(partial(fuzz_in_process, door, Maker(endpoint, options.seed)), options)
            for endpoint in options.endpoint or IN_PROCESS
        }


def over_http(options: argparse.Namespace) -> dict[str, Any]:
    """Fuzz each endpoint of a new local stack, where /recommend answers from a fallback."""
    from benchmarks.fuzz_over_http import Api
    from benchmarks.own_stack import deployed_stack

    with deployed_stack() as stage:
        api = Api(stage, options.connections)
        return {
            endpoint: measure(partial(api.fuzz, Maker(endpoint, options.seed)), options)
            for endpoint in options.endpoint or OVER_HTTP
        }


def model_server(options: argparse.Namespace) -> dict[str, Any]:
    """Fuzz a new model server with conversations."""
    from benchmarks.fuzz_conversations import ENDPOINT
    from benchmarks.fuzz_model_server import fuzz, model_server

    with model_server(options.seed) as server:
        found = measure(partial(fuzz, server, options.seed, options.connections), options)
        return {ENDPOINT: {**found, "at_first": server.at_first, "at_last": server.at_last}}


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON line; return 1 on any failure."""
    command = parser(
        "fuzz",
        "Send seeded odd requests to every route and compare the responses with the stored events.",
        '--requests 5000 --endpoint "POST /events"',
    )
    add = command.add_argument
    add("--requests", type=int, default=100_000, help="requests per endpoint (default %(default)s)")
    add("--first", type=int, default=0, metavar="NUMBER", help="number of the first request (default 0)")
    add("--seed", type=int, default=1, help="seed of the requests (default 1)")
    add(
        "--endpoint",
        action="append",
        choices=(*OVER_HTTP, CATALOGUE),
        help="fuzz only this endpoint (repeatable)",
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--troubled",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of requests with services in trouble",
    )
    where.add_argument("--over-http", action="store_true", help="fuzz a new local stack")
    where.add_argument("--model-server", action="store_true", help="fuzz a new model server")
    add("--connections", type=int, default=4, help="connections at a time over HTTP (default 4)")
    options = command.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    fuzz = (
        model_server
        if options.model_server
        else over_http
        if options.over_http
        else with_troubles
        if options.troubled
        else in_process
    )
    about = conditions(
        "fuzz",
        data="generated requests",
        seed=options.seed,
        first=options.first,
        troubled=options.troubled,
        over_http=options.over_http,
        model_server=options.model_server,
    )
    figures = fuzz(options)
    print(json.dumps({**about, "endpoints": figures}))
    return 1 if any(one["failures"] for one in figures.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
