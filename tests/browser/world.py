"""Two small servers for a browser: the API, which runs app.py, and the pages of a shop."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from functions.platform.s3_keys import fallback_key
from local.aws.proxy_event import Request, Response, build_response
from testing.api import invoke
from testing.fakes import FakeEndpoint, FakeFirehose, FakeS3, FakeSecrets
from testing.http_server import served

KEY = "key-of-demo"
EVENTS_STREAM, REJECTED_STREAM = "events", "rejected"
SETTINGS = {
    "TUGBOAT_STAGE": "local",
    "TUGBOAT_SHOP_KEYS": f"demo={KEY}",
    "TUGBOAT_EVENTS_STREAM": EVENTS_STREAM,
    "TUGBOAT_REJECTED_STREAM": REJECTED_STREAM,
    "TUGBOAT_EVENTS_BUCKET": "events-bucket",
    "TUGBOAT_MODELS_BUCKET": "models-bucket",
    "TUGBOAT_PREFIX": "tugboat-test",
    "TUGBOAT_ENDPOINT_KIND": "serverless",
    "TUGBOAT_SHOPS": "demo",
    "TUGBOAT_TRAINED_SHOPS": "demo",
    "TUGBOAT_ENDPOINT_TIMEOUT_MS": "500",
    "TUGBOAT_RECEIPTS_SECRET": "receipts",
    "TUGBOAT_GLOBAL_PRIVACY_CONTROL": "obey",
    "TUGBOAT_SECRET_KEYS_SECRET": "secret-keys",
}
Answer = Callable[[Request], Response | None]


def related(question: dict[str, Any]) -> dict[str, Any]:
    """Recommend without a model: the items numbered after the session's last one."""
    last = question["items"][-1] if question["items"] else "sku-00000"
    number = int(last.rsplit("-", 1)[1])
    items: list[dict[str, Any]] = [
        {"item_id": f"sku-{number + n:05d}", "score": 1 / n} for n in range(1, question["k"] + 1)
    ]
    task = question.get("task", "next")
    if task == "rerank":
        items = [{"item_id": item, "score": 0.5} for item in reversed(question["candidates"])]
    if question.get("because"):
        items[0]["because"] = {"kind": "viewed", "item_id": last}
    return {
        "items": items,
        "task": task,
        "model_version": "model-7",
        "source": "session",
        "reason": f"after {last}",
    }


@dataclass
class Api:
    """app.py behind a minimal API Gateway; `troubles` are the next responses, `broken` and `delay_s` affect all."""

    firehose: FakeFirehose = field(default_factory=FakeFirehose)
    s3: FakeS3 = field(default_factory=FakeS3)
    endpoint: FakeEndpoint = field(default_factory=lambda: FakeEndpoint(related))
    secrets: FakeSecrets = field(default_factory=FakeSecrets)
    troubles: deque[Response] = field(default_factory=deque)
    broken: bool = False
    delay_s: float = 0.0
    over: bool = False
    requests: list[Request] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def client(self, service: str, *_: Any) -> Any:
        return {
            "firehose": self.firehose,
            "s3": self.s3,
            "sagemaker-runtime": self.endpoint,
            "secretsmanager": self.secrets,
        }[service]

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the events that reached Firehose."""
        with self.lock:
            lines = self.firehose.lines(EVENTS_STREAM)
        return [line for line in lines if name in (None, line["event_name"])]

    def refused(self) -> list[dict[str, Any]]:
        with self.lock:
            return self.firehose.lines(REJECTED_STREAM)

    def wait_for(self, count: int, name: str | None = None, seconds: float = 8.0) -> list[dict[str, Any]]:
        """Wait for a number of events and return them.

        Raises:
            AssertionError: they did not arrive in time.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if len(found := self.events(name)) >= count:
                return found
            time.sleep(0.02)
        raise AssertionError(f"{len(self.events(name))} of {count} events: {self.events()}")

    def land(self) -> str:
        """Write all events to one object, as Firehose does after its buffering time; return its key."""
        now = datetime.now(UTC)
        with self.lock:
            data = gzip.compress(b"".join(self.firehose.streams[EVENTS_STREAM]))
            place = (SETTINGS["TUGBOAT_EVENTS_BUCKET"], f"raw/{now:%Y/%m/%d/%H}/events-{now.timestamp()}.gz")
            self.s3.objects[place] = data
            self.s3.stored_at[place] = now
        return place[1]

    def answer(self, request: Request) -> Response:
        """Return the response of API Gateway and its Lambda."""
        from app import app, cors

        path = request.path.removeprefix("/api")
        if path == "/events":
            time.sleep(self.delay_s)
        preflight = {**cors.get_access_control_headers(), "Access-Control-Allow-Methods": "GET,POST,OPTIONS"}
        with self.lock:
            self.requests.append(request)
            if request.method == "OPTIONS":
                return Response(200, b"", list(preflight.items()))
            # A late request of one test must not reach the next test.
            if self.broken or self.over:
                return Response(0)
            if self.troubles and path == "/events":
                return self.troubles.popleft()
            payload = invoke(request, path)
            return build_response(payload, request.header("Accept"), app.api.binary_types)


@dataclass
class Site:
    """Pages by path, with their headers."""

    pages: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def answer(self, request: Request) -> Response:
        if request.path == "/cards.json":
            ids = parse_qs(request.query).get("ids", [""])[0].split(",")
            cards = {
                id_: {
                    "title": f"Product {id_}",
                    "url": f"/p/{id_}",
                    "image": "/picture.svg",
                    "price": "$ 9.95",
                }
                for id_ in ids
            }
            return Response(200, json.dumps(cards).encode(), [("Content-Type", "application/json")])
        if request.path == "/picture.svg":
            svg = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><rect width="9" height="9" fill="teal"/></svg>'
            return Response(200, svg, [("Content-Type", "image/svg+xml")])
        page = self.pages.get(request.path)
        if page is None:
            return Response(404, b"", [])
        kind = "text/javascript" if request.path.endswith(".js") else "text/html; charset=utf-8"
        return Response(200, page.encode(), [("Content-Type", kind), *self.headers.items()])


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve these responses on a free port and yield the address; status 0 closes the connection."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            path, _, query = self.path.partition("?")
            body = self.rfile.read(length) if length else b""
            response = answer(
                Request(self.command, path, query, self.headers.items(), body, self.client_address[0])
            )
            if response is None or response.status == 0:
                self.close_connection = True
                return
            self.send_response(response.status)
            for name, value in response.headers:
                self.send_header(name, value)
            if response.status != 304:
                self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, *_: Any) -> None:
            pass

        do_GET = do_POST = do_OPTIONS = handle_any

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Ignore browsers that close their connection."""

    with served(Server(("127.0.0.1", 0), Handler)) as url:
        yield url


def published(s3: FakeS3) -> None:
    """Return a fallback, as `prove` writes it."""
    fallback = {"popular": ["sku-00001", "sku-00002"], "related": {}, "model_version": "model-7"}
    s3.objects["models-bucket", fallback_key("demo")] = json.dumps(fallback).encode()
