"""uvicorn's HTTP/1.1 connection with the limits that uvicorn leaves to a proxy: time, size and number.

SageMaker puts no proxy of ours before the container. uvicorn 0.54 bounds idle connections after their first response only.
This class overrides its protocol, which is not a documented interface: the pin is exact, and test_server.py covers each limit.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from training_jobs.serving.responses import CLOSE, Response, closing, refusal

MAX_BODY_BYTES = 1 << 20
"""The largest valid request, 1,200 ids of 256 characters, is below this."""

MAX_CONNECTIONS = 512
"""SageMaker's front holds at most 200 (the maximum concurrency of a serverless endpoint)."""

IDLE_S = 75
"""Longer than the idle timeout of common proxies (60 s), so that the caller closes first and loses no request to a race."""

REQUEST_S = 10.0
"""From the first byte of a request to its last."""

CONNECTION = "tugboat.connection"
"""The ASGI extension whose `is_closing()` returns True once the caller has hung up."""

_MAX_HEAD_BYTES = 64 << 10
_LINGER_S = 1.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection. It refuses a request that is too large, too slow or not HTTP, and then closes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._received = 0
        self._reading = False  # a request has begun and is incomplete
        self._headers_done = False
        self._refused = False
        self._draining = False
        self._too_large = False
        self._last: Response | None = None  # a refusal that follows the responses before it
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse the connection beyond the limit, and start its timers."""
        super().connection_made(cast(asyncio.Transport, transport))
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(503, f"more than {MAX_CONNECTIONS} connections are open: retry later")
            return
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers of a closed connection."""
        self._stop_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes within the limits of a request."""
        if self._refused or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._received += len(data)
        self._reading = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if self._too_large:
                self._refuse(413, f"the body has more than {MAX_BODY_BYTES} bytes")
            else:
                self._refuse(400, f"not an HTTP request: {error}")
            return
        if not self._reading:
            self._received = 0
            self._stop_timer()
        elif not self._headers_done and self._received > _MAX_HEAD_BYTES:
            self._refuse(431, f"the head has more than {_MAX_HEAD_BYTES} bytes")
        elif self._received > MAX_BODY_BYTES + _MAX_HEAD_BYTES:
            self._refuse(413, f"the body has more than {MAX_BODY_BYTES} bytes")
        elif self._timer is None:
            self._timer = self.loop.call_later(REQUEST_S, self._late)

    def shutdown(self) -> None:
        """Start the drain: close if idle, otherwise with the response to the request that has begun."""
        if self._reading and (self.cycle is None or self.cycle.response_complete):
            self._draining = True
        else:
            super().shutdown()

    # The parser calls these.

    def on_message_begin(self) -> None:
        """Start the limits of a new request."""
        super().on_message_begin()
        self._reading, self._headers_done = True, False
        self.scope["extensions"] = {CONNECTION: {"is_closing": self.transport.is_closing}}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the bytes of the headers."""
        if not self._headers_done:  # else a trailer, which describes no request
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Validate the request's headers."""
        if self.parser.should_upgrade():
            return  # _ignore_upgrade parses the request again
        for name, value in self.headers:
            if name == b"content-length" and int(value) > MAX_BODY_BYTES:
                self._too_large = True
                raise ValueError("Content-Length")  # the parser stops, and data_received refuses
        super().on_headers_complete()
        self._headers_done = True
        if self._draining:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """End the limits of a request."""
        if self.parser.should_upgrade():
            return
        self._reading = False
        super().on_message_complete()

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parse the request again without its Upgrade, as RFC 9110 7.8 allows. The parser would drop its body."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(405, "this server has GET /ping and POST /invocations")
            return
        lines = [method + b" " + self.url + b" HTTP/" + self.parser.get_http_version().encode()]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    def on_response_complete(self) -> None:
        """Continue with the next request of the connection."""
        super().on_response_complete()
        if self._last is not None and self.cycle.response_complete and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._write(self._last)
            self._finish()

    def _late(self) -> None:
        self._timer = None
        self._refuse(408, f"the request was not complete after {REQUEST_S:g} s")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, reason: str) -> None:
        """Answer the request that is arriving with an error, after those before it, and close."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._stop_timer()
        self._unset_keepalive_if_required()
        response = refusal(status, reason)
        arriving = self.cycle if self._reading and self._headers_done else None
        if arriving is not None and self.pipeline:
            self.pipeline[0] = arriving, cast(Any, closing(response))
        elif arriving is None and self.cycle is not None and not self.cycle.response_complete:
            self._last = response
        else:
            if arriving is None or not arriving.response_started:
                self._write(response)
            if arriving is not None:  # its application stops waiting for the body
                arriving.disconnected = True
                arriving.waiting_for_100_continue = False
                arriving.message_event.set()
            self._finish()

    def _write(self, response: Response) -> None:
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}".encode()]
        lines += [name + b": " + value for name, value in [*response.headers(), CLOSE]]
        self.transport.write(b"\r\n".join([*lines, b"", response.body]))

    def _finish(self) -> None:
        """Drain before closing. Closing with unread input sends a TCP RST, which can discard the response."""
        with suppress(OSError):  # the caller is gone
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(_LINGER_S, self.transport.close)
