"""HTTP/1.1 between SageMaker's front and the model: /ping, /invocations, keep-alive; parsed by llhttp (httptools)."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

MAX_BODY_BYTES = 1 << 20
"""The largest question that can be asked, 1,200 ids of 256 characters, is below this."""

_MAX_HEAD_BYTES = 16 << 10
_RETRY_AFTER_S = 1
_LINGER_S = 1.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Answer(NamedTuple):
    status: int
    body: bytes
    content_type: str = "application/json"


Respond = Callable[[bytes, str], Answer]
"""From a body and its content type to what is answered; must not raise."""


def refusal(status: int, reason: str) -> Answer:
    """An error as JSON: {"error": reason}."""
    return Answer(status, json.dumps({"error": reason}, ensure_ascii=False).encode("utf-8", "replace"))


class Desk:
    """Works on one request at a time. Between two of them every connection is read, so a request that finds `limit` others
    waiting is told so at once (503), and /ping waits for no more than the answer being worked out."""

    def __init__(self, respond: Respond, limit: int) -> None:
        self.connections: set[Connection] = set()
        self.shed = 0
        self.draining = False
        self._respond = respond
        self._limit = limit
        self._waiting: deque[tuple[Connection, bytes, str]] = deque()

    def take(self, connection: Connection, body: bytes, content_type: str) -> bool:
        """Queue a request; False where the queue is full."""
        if len(self._waiting) >= self._limit:
            self.shed += 1
            return False
        self._waiting.append((connection, body, content_type))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._next)
        return True

    def _next(self) -> None:
        connection, body, content_type = self._waiting[0]
        if connection in self.connections:  # else the caller is gone
            connection.send(self._respond(body, content_type))
        self._waiting.popleft()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)

    def drain(self) -> None:
        """Close what is idle; the others close with their answer."""
        self.draining = True
        for connection in list(self.connections):
            connection.close_if_idle()


class Connection(asyncio.Protocol):
    """One connection. Requests are answered one after the other; who pipelines gets one answer and a closed connection."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._parser = httptools.HttpRequestParser(self)
        self._received = 0
        self._busy = False  # a whole request is here and not yet answered
        self._begun = False  # a part of one is
        self._close = False
        self._said_all = False
        self._url = b""
        self._content_type = ""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._desk.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._desk.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf():
            return
        self._received += len(data)
        if self._received > MAX_BODY_BYTES + _MAX_HEAD_BYTES:
            self._refuse(413, f"a request of more than {MAX_BODY_BYTES} bytes is not read")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "this server speaks HTTP/1.1 only")
        except httptools.HttpParserError as error:
            self._refuse(400, f"not an HTTP request: {error}")

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._deaf():
            return
        self._begun = True
        self._url, self._content_type = b"", ""
        self._body = []

    def on_url(self, url: bytes) -> None:
        if not self._deaf():
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._deaf():
            return
        lower = name.lower()
        if lower == b"content-type":
            self._content_type = value.decode("latin-1")
        elif lower == b"expect" and value.lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        if not self._deaf():
            self._body.append(part)

    def on_message_complete(self) -> None:
        if self._deaf():
            return
        self._busy = True
        self._close = self._close or self._desk.draining or not self._parser.should_keep_alive()
        path = self._url.split(b"?", 1)[0]
        allowed = {b"/ping": b"GET", b"/invocations": b"POST"}.get(path)
        if allowed is None:
            self.send(refusal(404, "this server has GET /ping and POST /invocations"))
        elif self._parser.get_method() != allowed:
            self.send(refusal(405, f"{path.decode()} takes {allowed.decode()}"))
        elif path == b"/ping":
            self.send(Answer(200, b""))
        elif not self._desk.take(self, b"".join(self._body), self._content_type):
            self.send(refusal(503, "more requests are waiting than can be answered in time: ask again later"))

    def send(self, answer: Answer) -> None:
        """Answer the request that is here, and be ready for the next."""
        closing = self._close or self._desk.draining
        retry = f"Retry-After: {_RETRY_AFTER_S}\r\n" if answer.status == 503 else ""
        head = (
            f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\nContent-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\n{retry}{'Connection: close' if closing else 'Connection: keep-alive'}\r\n\r\n"
        )
        self._transport.write(head.encode("latin-1") + answer.body)
        self._busy = self._begun = False
        self._received = 0
        if closing:
            self._finish()

    def _finish(self) -> None:
        """Close, but not on what the caller is still sending: that would be a reset, and could cost it the answer."""
        self._said_all = True
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_S, self._transport.close)

    def close_if_idle(self) -> None:
        if not self._busy and not self._begun:
            self._transport.close()

    def _refuse(self, status: int, reason: str) -> None:
        """Nothing after a request that cannot be read can be read either."""
        if not self._deaf():
            self._close = True
            self.send(refusal(status, reason))

    def _deaf(self) -> bool:
        """Whether what comes in is dropped: a request waits for its answer (the connection then closes), or all is said."""
        self._close = self._close or self._busy
        return self._busy or self._said_all or self._transport.is_closing()
