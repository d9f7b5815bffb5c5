"""One thread that runs the model, because a model instance answers one request at a time, and a bounded queue before it."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable

from training_jobs.serving.responses import Respond, Response, refusal

STALLED_S = 5.0
"""An answer takes milliseconds. A queue that has not moved for this long has a stuck model before it."""

CALLER_GONE = refusal(408, "the caller hung up")
"""Nobody reads it. uvicorn wants a response to every request."""

Job = tuple["asyncio.Future[Response]", bytes, str, Callable[[], bool]]


class Worker:
    """Call `respond` in its thread. All methods belong to the event loop's thread."""

    def __init__(self, respond: Respond, limit: int) -> None:
        self.shed = 0
        self._respond = respond
        self._limit = limit
        self.pending = 0
        self._moved_s = 0.0
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(
        self, body: bytes, content_type: str, caller_gone: Callable[[], bool]
    ) -> asyncio.Future[Response] | None:
        """Queue a request.

        Returns:
            The future response, or None if the queue is full or stalled.
        """
        if self.pending >= self._limit or self.stalled():
            self.shed += 1
            return None
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            # A daemon: a stuck model must not keep the process alive after the drain.
            threading.Thread(target=self._work, name="model", args=(self._loop,), daemon=True).start()
        if not self.pending:
            self._moved_s = time.monotonic()
        self.pending += 1
        future: asyncio.Future[Response] = self._loop.create_future()
        self._jobs.put((future, body, content_type, caller_gone))
        return future

    def stalled(self) -> bool:
        """Return True if requests wait and none was answered for STALLED_S."""
        return self.pending > 0 and time.monotonic() - self._moved_s > STALLED_S

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            future, body, content_type, caller_gone = self._jobs.get()
            response = CALLER_GONE if caller_gone() else self._respond(body, content_type)
            try:
                loop.call_soon_threadsafe(self._done, future, response)
            except RuntimeError:  # the loop is closed: the server has stopped
                return

    def _done(self, future: asyncio.Future[Response], response: Response) -> None:
        self.pending -= 1
        self._moved_s = time.monotonic()
        if not future.done():  # the drain's end cancels
            future.set_result(response)
