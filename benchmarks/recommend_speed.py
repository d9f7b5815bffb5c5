"""Measure what rules and a catalogue add to an answer of /recommend, from API Gateway's event to the Lambda's result.

    python -m benchmarks.recommend_speed --items 100000 > recommend_speed.json

A made-up shop is served by the product's model server. Three execution environments of the Lambda ask it in turns.
`plain` has neither rules nor catalogue, `catalogue` has a catalogue of all items, and `rules` has twenty rules too.
The time in the model server and on its line is in all of them. S3 is a fake in memory, and its readings are not measured.
`scan` is the model alone: the time of an answer of 10 items, and of the candidates that the Lambda asks for instead.
"""

import argparse
import http.client
import io
import json
import logging
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

from benchmarks import rules as twenty_rules
from benchmarks.conditions import conditions, parser
from benchmarks.fuzz_in_process import answer_of, api_variables
from deploy.stages import read_stage
from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_state import state_key
from functions.platform.contract import RECOMMEND_K_MAX
from functions.platform.s3_keys import current_key, fallback_key, rules_key
from functions.recommend.rules.model import RuleSet
from functions.recommend.steering import SPARE
from local.aws.proxy_event import Request
from local.ports import free_port
from testing.api import Context
from testing.fakes import FakeS3

KINDS = ("plain", "catalogue", "rules")
K = 10
SEED = 1510
HOST = "127.0.0.1"
WARM_UP = 50


def name_of(row: int) -> str:
    """Return the item's id in the archives of benchmarks/serve_shops.py."""
    return f"sku-{row:07}"


class ServedModel:
    """A sagemaker-runtime client of one model server, over one connection."""

    def __init__(self, port: int) -> None:
        self._line = http.client.HTTPConnection(HOST, port, timeout=10)
        self._line.connect()
        # As botocore does: head and body are sent apart, and the second would wait for the receipt of the first.
        self._line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def invoke_endpoint(self, Body: bytes, **_: Any) -> dict[str, Any]:
        self._line.request("POST", "/invocations", Body, {"Content-Type": "application/json"})
        answer = self._line.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the model server answered {answer.status}: {body[:200]!r}")
        return {"Body": io.BytesIO(body), "InvokedProductionVariant": "all-traffic"}


def stored(kind: str, items: int, shop: str, bucket: str) -> FakeS3:
    """Return the S3 of one kind: the release on record, the fallback, and what steers the answers."""
    s3 = FakeS3()
    record = {"release": {"endpoint": "tugboat", "shop_id": shop}}
    fallback = {"popular": [name_of(row) for row in range(200)], "related": {}, "model_version": "bench"}
    s3.objects[bucket, current_key(shop)] = json.dumps(record).encode()
    s3.objects[bucket, fallback_key(shop)] = json.dumps(fallback).encode()
    if kind != "plain":
        editor, drawn = CatalogueEditor(), random.Random(SEED)
        for row in range(items):
            editor.change(name_of(row), twenty_rules.facts(row, drawn))
        s3.objects[bucket, state_key(shop)] = editor.packed(1)
    if kind == "rules":
        text = msgspec.json.encode(RuleSet(shop, "twenty", twenty_rules.TWENTY)).decode()
        named = re.sub(r'"item-(\d+)"', lambda found: f'"{name_of(int(found[1]))}"', text)
        s3.objects[bucket, rules_key(shop)] = named.encode()
    return s3


def worker(kind: str, items: int, port: int) -> None:
    """Answer requests of the standard input, each a line of JSON with the sessions of a turn, by their times in ms."""
    logging.disable()
    from functions import wiring

    variables = api_variables()
    shop = next(iter(read_stage("local").shops))
    s3 = stored(kind, items, shop, variables["TUGBOAT_MODELS_BUCKET"])
    clients = {"s3": s3, "sagemaker-runtime": ServedModel(port)}
    with (
        mock.patch.dict(os.environ, variables),
        mock.patch.object(wiring, "time_boxed_client", lambda service, *_: clients[service]),
    ):
        import app

        def ask(session: Sequence[str]) -> float:
            body = json.dumps({"items": session, "k": K, "shop": shop, "placement": "product"}).encode()
            request = Request(
                "POST", "/recommend", "", [("Content-Type", "application/json")], body, "203.0.113.9"
            )
            began = time.perf_counter()
            answered = answer_of(app.app, request, Context()).response
            took_ms = (time.perf_counter() - began) * 1000
            found = json.loads(answered.body)
            if answered.status != 200 or len(found["items"]) != K or found["variant"] != "all-traffic":
                raise RuntimeError(f"{kind}: {answered.status} {answered.body[:300]!r}")
            revision = found.get("rules_revision", "")
            if (kind == "rules") != (revision == "twenty"):
                raise RuntimeError(f"{kind}: the rules of the answer are {revision!r}")
            return took_ms

        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps([ask(session) for session in json.loads(line)]), flush=True)


@contextmanager
def model_server(model_dir: Path) -> Iterator[int]:
    """Run the product's server on the archive, with the archive's code alone; yield its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "training_jobs.server", "--model-dir", str(model_dir), "--host", HOST, "--port", str(port)],
        cwd=model_dir,
        env={"PYTHONPATH": str(model_dir / "code"), "PATH": os.environ["PATH"]},
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        if '"ready"' not in said:
            raise RuntimeError(f"the model server does not start: {said}")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


class Environment:
    """An execution environment of the Lambda, as a process of its own."""

    def __init__(self, kind: str, items: int, port: int) -> None:
        command = [
            sys.executable,
            "-m",
            "benchmarks.recommend_speed",
            *("--worker", kind, "--items", str(items), "--port", str(port)),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._answer() != "ready":
            raise RuntimeError(f"the environment {kind} does not start")

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def times_ms(self, sessions: Sequence[Sequence[str]]) -> list[float]:
        """Return the times of the answers to sessions, one after the other."""
        assert self._process.stdin is not None
        print(json.dumps(sessions), file=self._process.stdin, flush=True)
        found: list[float] = json.loads(self._answer())
        return found

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def figures(times_ms: Sequence[float]) -> dict[str, Any]:
    """Return p50 and p99 in milliseconds."""
    ordered = sorted(times_ms)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    return {
        "p50_ms": round(statistics.median(ordered), 3),
        "p99_ms": round(p99, 3),
        "requests": len(ordered),
    }


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the three kinds and the model alone, all in turns."""
    from benchmarks.serve_shops import made_up, write_archive
    from training_jobs.serving.model_files import load_recommender

    recommender, prefixes = made_up(options.items, options.seed)
    sessions = [[recommender.vocabulary[row] for row in prefix] for prefix in prefixes]
    counts = (K, K + SPARE, RECOMMEND_K_MAX)
    alone: dict[int, list[float]] = {k: [] for k in counts}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with (
        tempfile.TemporaryDirectory() as folder,
        model_server(write_archive(recommender, Path(folder))) as port,
    ):
        # The server's form of the model: what is read from the archive is compact.
        recommender, _ = load_recommender(Path(folder))
        environments = {kind: Environment(kind, options.items, port) for kind in KINDS}
        try:
            for environment in environments.values():
                environment.times_ms(sessions[:WARM_UP])
            for turn in range(options.turns):
                asked = sessions[turn :: options.turns][: options.requests // options.turns]
                for kind, environment in environments.items():
                    times[kind] += environment.times_ms(asked)
                for k in counts:
                    for session in asked:
                        began = time.perf_counter()
                        recommender.recommend(session, k)
                        alone[k].append((time.perf_counter() - began) * 1000)
                print(f"turn {turn + 1} of {options.turns}", file=sys.stderr, flush=True)
        finally:
            for environment in environments.values():
                environment.stop()
    rows = {kind: figures(times[kind]) for kind in KINDS}
    scan = {str(k): figures(alone[k]) for k in counts}
    return {
        "items": options.items,
        "rows": rows,
        "scan": scan,
        "p50_to_plain": {kind: round(rows[kind]["p50_ms"] / rows["plain"]["p50_ms"], 3) for kind in KINDS},
        "p99_to_plain": {kind: round(rows[kind]["p99_ms"] / rows["plain"]["p99_ms"], 3) for kind in KINDS},
        "scan_p50_to_10": {k: round(one["p50_ms"] / scan[str(K)]["p50_ms"], 3) for k, one in scan.items()},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    command = parser("recommend_speed", __doc__, "--items 100000 > recommend_speed.json")
    add = command.add_argument
    add("--items", type=int, default=100_000, help="items of the shop (default %(default)s)")
    add("--requests", type=int, default=2000, help="requests to each kind (default %(default)s)")
    add("--turns", type=int, default=10, help="turns of the kinds (default %(default)s)")
    add("--seed", type=int, default=1, help="same seed, same shop (default %(default)s)")
    add("--worker", choices=KINDS, help=argparse.SUPPRESS)
    add("--port", type=int, help=argparse.SUPPRESS)
    options = command.parse_args(arguments)
    if options.worker:
        worker(options.worker, options.items, options.port)
        return
    about = conditions("recommend_speed", data="benchmarks.serve_shops, made up", seed=options.seed)
    print(json.dumps(about | measured(options)))


if __name__ == "__main__":
    main()
