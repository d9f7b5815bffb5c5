"""A small HTTP service that behaves like the collector and /recommend, with failures on demand."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from testing.http_server import served

Event = dict[str, Any]


@dataclass
class Collector:
    """The received events, and the next failures instead of accepting."""

    url: str = ""
    events: list[Event] = field(default_factory=list)
    batches: list[tuple[str, int]] = field(default_factory=list)  # user agent, events
    troubles: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)  # status (0: reset), headers
    refuse: Callable[[Event], str | None] = lambda event: None
    recommend: Callable[[list[str], int], Any] = lambda items, k: {"items": []}
    largest_bytes: int = 1_000_000
    lock: Any = field(default_factory=threading.Lock)


@contextmanager
def running(collector: Collector) -> Iterator[Collector]:
    """Serve the collector on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with collector.lock:
                trouble = collector.troubles.popleft() if collector.troubles else None
            if trouble is not None:
                self.misbehave(*trouble)
            elif not self.is_known():
                self.answer(403, {"error": {"reason": "wrong_key", "message": "no"}})
            elif len(body) > collector.largest_bytes:
                self.answer(413, {"message": "too large"})
            else:
                self.take(json.loads(body)["events"])

        def is_known(self) -> bool:
            keys = parse_qs(urlsplit(self.path).query).get("key", [])
            return (keys, self.headers["Authorization"]) in (
                (["key-of-demo"], None),
                ([], "Bearer secret-of-demo"),
            )

        def take(self, events: list[Event]) -> None:
            refused = []
            with collector.lock:
                collector.batches.append((self.headers["User-Agent"], len(events)))
                for index, event in enumerate(events):
                    reason = collector.refuse(event)
                    if reason:
                        refused.append(
                            {"index": index, "event_id": event["event_id"], "reason": reason, "message": "no"}
                        )
                    else:
                        collector.events.append(event)
            self.answer(200, {"accepted": len(events) - len(refused), "refused": refused})

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            items = query.get("items", [""])[0].split(",")
            self.answer(200, collector.recommend(items, int(query["k"][0])))

        def misbehave(self, status: int, headers: dict[str, str]) -> None:
            if status == 0:
                self.close_connection = True
                self.connection.close()
            else:
                self.answer(status, {"message": "trouble"}, headers)

        def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        collector.url = url + "/api"
        yield collector
