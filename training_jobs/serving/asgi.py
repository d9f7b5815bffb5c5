"""SageMaker's container contract as an ASGI application: GET /ping, POST /invocations."""

from __future__ import annotations

from training_jobs.serving.http_limits import CONNECTION, MAX_BODY_BYTES
from training_jobs.serving.responses import Message, Receive, Response, Send, refusal
from training_jobs.serving.worker import CALLER_GONE, Worker

_METHODS = {"/ping": "GET", "/invocations": "POST"}


class Application:
    """The two routes. /ping asks the worker, so it fails while the queue is stalled."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        # The server runs without lifespan and websockets, so every scope is of HTTP.
        """Answer one request."""
        response = await self._respond(scope, receive)
        await response.send(send)

    async def _respond(self, scope: Message, receive: Receive) -> Response:
        allowed = _METHODS.get(scope["path"])
        if allowed is None:
            return refusal(404, "this server has GET /ping and POST /invocations")
        if scope["method"] != allowed:
            return refusal(405, f"{scope['path']} takes {allowed}")
        if allowed == "GET":
            if self._worker.stalled():
                return refusal(503, "the model has not answered for several seconds: restart the container")
            return Response(200, b"")
        content_type = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
        body = await _read(receive)
        if body is None:
            return CALLER_GONE
        if len(body) > MAX_BODY_BYTES:
            return refusal(413, f"the body has more than {MAX_BODY_BYTES} bytes")
        caller_gone = scope["extensions"][CONNECTION]["is_closing"]
        future = self._worker.submit(body, content_type.decode("latin-1"), caller_gone)
        if future is None:
            return refusal(503, "more requests wait than can be answered in time: retry later")
        return await future


async def _read(receive: Receive) -> bytes | None:
    """Return the body, or None if the caller hung up. The connection bounds its size and its time."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)
