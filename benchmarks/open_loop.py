"""An open-loop HTTP client: it sends each request at its due time, without waiting for earlier responses.

Latency starts at the due time, so a server that stalls also delays all requests of that time.
A closed-loop client such as wrk would wait with the server and hide them (coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import numpy as np


class _Line(asyncio.Protocol):
    """One keep-alive connection with at most one request at a time."""

    def __init__(self, load: _Load) -> None:
        self.load = load
        self.due_s = 0.0
        self.read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.load.free.append(self)

    def ask(self, due_s: float, message: bytes) -> None:
        self.due_s = due_s
        self.transport.write(message)

    def data_received(self, data: bytes) -> None:
        self.read += data
        head, found, body = self.read.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        status = int(head[9:12])
        self.read = b""
        self.load.answered(status, time.perf_counter() - self.due_s)
        self.load.free_again(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost += 1


class _Load:
    def __init__(self, messages: Sequence[bytes]) -> None:
        self.messages = messages
        self.free: deque[_Line] = deque()
        self.late: deque[tuple[float, bytes]] = deque()
        self.latencies_s: list[float] = []
        self.statuses: dict[int, int] = {}
        self.lost = 0

    def due(self, due_s: float, message: bytes) -> None:
        if self.free:
            self.free.popleft().ask(due_s, message)
        else:
            self.late.append((due_s, message))

    def free_again(self, line: _Line) -> None:
        if self.late:
            line.ask(*self.late.popleft())
        else:
            self.free.append(line)

    def answered(self, status: int, latency_s: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 200:
            self.latencies_s.append(latency_s)


async def _drive(
    host: str, port: int, messages: Sequence[bytes], rate: float, seconds: float, connections: int, seed: int
) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    load = _Load(messages)
    lines = [(await loop.create_connection(lambda: _Line(load), host, port))[0] for _ in range(connections)]
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds))
    due = time.perf_counter() + 0.05 + np.cumsum(gaps)
    sent = 0
    while sent < len(due):
        now = time.perf_counter()
        while sent < len(due) and due[sent] <= now:
            load.due(float(due[sent]), messages[sent % len(messages)])
            sent += 1
        if sent < len(due):
            # The event loop's timers have a resolution of a millisecond, so poll for shorter times.
            await asyncio.sleep(max(0.0, due[sent] - time.perf_counter() - 0.001))
    until = time.perf_counter() + 5.0
    while sum(load.statuses.values()) < sent and time.perf_counter() < until:
        await asyncio.sleep(0.01)
    for transport in lines:
        transport.close()
    taken_ms = np.array(load.latencies_s or [np.nan]) * 1000
    good = load.statuses.get(200, 0)
    return {
        "rate": rate,
        "seconds": seconds,
        "sent": sent,
        "answered": good,
        "shed": load.statuses.get(503, 0),
        "other": sum(count for status, count in load.statuses.items() if status not in (200, 503)),
        "unanswered": sent - sum(load.statuses.values()),
        "p50_ms": round(float(np.quantile(taken_ms, 0.5)), 3),
        "p99_ms": round(float(np.quantile(taken_ms, 0.99)), 3),
    }


def drive(
    host: str,
    port: int,
    bodies: Sequence[bytes],
    rate: float,
    seconds: float,
    connections: int = 256,
    seed: int = 0,
) -> dict[str, Any]:
    """Send Poisson arrivals at `rate` per second to POST /invocations, and return the figures."""
    messages = [
        f"POST /invocations HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
        for body in bodies
    ]
    return asyncio.run(_drive(host, port, messages, rate, seconds, connections, seed))
