"""Fuzz of every route: no 5xx, always an answer that can be read, the pixel always a GIF, nothing lost and nothing twice.

    python -m benchmarks.fuzz --requests 100000
    python -m benchmarks.fuzz --requests 100000 --endpoint "POST /events" --first 100000
    python -m benchmarks.fuzz --requests 20000 --over-http
    python -m benchmarks.fuzz --requests 20000 --model-server

In process by default: the event that API Gateway makes of a request, app.py's Lambda, the response that it makes of the answer;
with --over-http against a local stack of its own: gateway, Lambda workers, Firehose, S3. Each request depends on the seed, the
endpoint and its number alone, so that what a failure names can be made again: --first NUMBER --requests 1. Prints one JSON
line; exit 1 on any failure.
With --model-server a request is a conversation with a model server of its own: valid, odd and spoiled bytes, in parts and
pipelined, from callers that wait, hang up or reset. After every hundred a normal invocation must get the same answer as at first.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.conditions import conditions
from benchmarks.fuzz_checks import Failed, Findings, compare, expected
from benchmarks.fuzz_in_process import Door
from benchmarks.fuzz_requests import Maker
from demo.terminal import Progress

IN_PROCESS = ("GET /pixel.gif", "POST /events", "GET /recommend", "POST /recommend", "GET /tugboat.js")
# API Gateway answers a preflight by itself, so there is no Lambda to ask.
OVER_HTTP = (*IN_PROCESS, "OPTIONS /events", "OPTIONS /recommend")


def measure(fuzz: Callable[[int, int, Findings], None], options: argparse.Namespace) -> dict[str, Any]:
    """The findings of one endpoint, with the rate."""
    findings = Findings()
    started_s = time.monotonic()
    fuzz(options.first, options.requests, findings)
    rate = options.requests / (time.monotonic() - started_s)
    return {**findings.as_json(), "requests_per_s": round(rate)}


def fuzz_in_process(door: Door, maker: Maker, first: int, requests: int, findings: Findings) -> None:
    """Requests one after another through app.py, each with what it left in the streams."""
    progress = Progress(maker.endpoint, requests, "requests")
    for number in range(first, first + requests):
        request = maker.request(number)
        try:
            answered = door.ask(request)
            stored = expected(maker.endpoint, answered.response)
            compare(stored, door.take_stored(answered.request_id))
            findings.add(answered.response, stored)
        except Failed as failed:
            findings.fail(maker.endpoint, number, request, str(failed))
        progress.update(number - first + 1)
    progress.finish(requests)


def in_process(options: argparse.Namespace) -> dict[str, Any]:
    """The findings of each endpoint."""
    door = Door()
    return {
        endpoint: measure(partial(fuzz_in_process, door, Maker(endpoint, options.seed)), options)
        for endpoint in options.endpoint or IN_PROCESS
    }


def over_http(options: argparse.Namespace) -> dict[str, Any]:
    """The same of a stack that is started for it; there /recommend answers from a fallback."""
    from benchmarks.fuzz_over_http import Api
    from benchmarks.own_stack import deployed_stack

    with deployed_stack() as stage:
        api = Api(stage, options.connections)
        return {
            endpoint: measure(partial(api.fuzz, Maker(endpoint, options.seed)), options)
            for endpoint in options.endpoint or OVER_HTTP
        }


def model_server(options: argparse.Namespace) -> dict[str, Any]:
    """The findings of conversations with a model server that is started for them."""
    from benchmarks.fuzz_conversations import ENDPOINT
    from benchmarks.fuzz_model_server import fuzz, model_server

    with model_server(options.seed) as server:
        found = measure(partial(fuzz, server, options.seed, options.connections), options)
        return {ENDPOINT: {**found, "at_first": server.at_first, "at_last": server.at_last}}


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
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--over-http", action="store_true", help="against a stack that is started for it")
    where.add_argument(
        "--model-server", action="store_true", help="against a model server that is started for it"
    )
    parser.add_argument("--connections", type=int, default=4, help="at once over HTTP (default 4)")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    fuzz = model_server if options.model_server else over_http if options.over_http else in_process
    figures = fuzz(options)
    about = {
        "seed": options.seed,
        "first": options.first,
        "over_http": options.over_http,
        "model_server": options.model_server,
    }
    print(json.dumps({**conditions("fuzz"), **about, "endpoints": figures}))
    return 1 if any(one["failures"] for one in figures.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
