"""The server's responses, independent of the code that writes them to the connection."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

RETRY_AFTER_S = 1
CLOSE = (b"connection", b"close")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Response(NamedTuple):
    """A response that is not yet written to a connection."""

    status: int
    body: bytes
    content_type: str = "application/json"

    async def send(self, send: Send, *more: tuple[bytes, bytes]) -> None:
        """Send the response as ASGI messages, with `more` headers."""
        headers = [*self.headers(), *more]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that describe the response."""
        found = [
            (b"content-type", self.content_type.encode("latin-1")),
            (b"content-length", str(len(self.body)).encode()),
        ]
        if self.status == 503:
            found.append((b"retry-after", str(RETRY_AFTER_S).encode()))
        return found


Respond = Callable[[bytes, str], Response]
"""From a body and its content type to the response. Must not raise."""


def refusal(status: int, reason: str) -> Response:
    """Return an error as JSON: {"error": reason}."""
    return Response(status, json.dumps({"error": reason}, ensure_ascii=False).encode("utf-8", "replace"))


def closing(response: Response) -> Callable[[Message, Receive, Send], Awaitable[None]]:
    """Return an ASGI application that answers with `response` and closes the connection."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await response.send(send, CLOSE)

    return application
