"""The thread that runs the model, and its queue."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from training_jobs.serving import worker
from training_jobs.serving.responses import Response
from training_jobs.serving.worker import CALLER_GONE, Worker

T = TypeVar("T")


def run(asked: Coroutine[Any, Any, T]) -> T:
    """Run in a thread of its own: after browser tests, Playwright's event loop is still running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, asked).result()


def respond(body: bytes, content_type: str) -> Response:
    return Response(200, body)


def here() -> bool:
    return False


def test_responses_come_in_the_order_of_the_requests_from_one_other_thread() -> None:
    threads: list[threading.Thread] = []

    def noting(body: bytes, content_type: str) -> Response:
        threads.append(threading.current_thread())
        return Response(200, body)

    async def ask() -> list[bytes]:
        running = Worker(noting, limit=10)
        futures = [running.submit(b"%d" % number, "", here) for number in range(10)]
        return [(await future).body for future in futures if future]

    assert run(ask()) == [b"%d" % number for number in range(10)]
    assert len(set(threads)) == 1
    assert threading.current_thread() not in threads


def test_a_request_beyond_the_limit_is_counted_and_refused_and_one_after_the_queue_emptied_is_taken() -> None:
    async def ask() -> tuple[list[bool], int, Response | None]:
        running = Worker(respond, limit=2)
        futures = [running.submit(b"", "", here) for _ in range(4)]
        await asyncio.gather(*[future for future in futures if future])
        later = running.submit(b"later", "", here)
        return [future is not None for future in futures], running.shed, await later if later else None

    assert run(ask()) == ([True, True, False, False], 2, Response(200, b"later"))


def test_the_model_does_not_run_for_a_caller_that_is_gone() -> None:
    seen: list[bytes] = []

    def noting(body: bytes, content_type: str) -> Response:
        seen.append(body)
        return Response(200, body)

    async def ask() -> list[Response]:
        running = Worker(noting, limit=2)
        futures = [running.submit(b"gone", "", lambda: True), running.submit(b"here", "", here)]
        return [await future for future in futures if future]

    assert run(ask()) == [CALLER_GONE, Response(200, b"here")]
    assert seen == [b"here"]


def test_a_queue_that_moves_is_not_stalled_however_long_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "STALLED_S", 0.5)

    def slow(body: bytes, content_type: str) -> Response:
        time.sleep(0.1)
        return Response(200, body)

    async def ask() -> list[bool]:
        running = Worker(slow, limit=20)
        futures = [running.submit(b"", "", here) for _ in range(12)]
        stalled = []
        for future in futures:
            assert future
            await future
            stalled.append(running.stalled())
        return stalled

    assert run(ask()) == [False] * 12


def test_a_future_that_was_cancelled_does_not_stop_the_queue() -> None:
    async def ask() -> Response:
        running = Worker(respond, limit=5)
        first, second = running.submit(b"1", "", here), running.submit(b"2", "", here)
        assert first
        assert second
        first.cancel()
        return await second

    assert run(ask()) == Response(200, b"2")
