"""Run the model server as a separate process, and verify its side of every conversation."""

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.fuzz_checks import Failed, Findings
from benchmarks.fuzz_conversations import ENDPOINT, Conversation, Ending, Talker
from demo.terminal import Progress

HOST = "127.0.0.1"
STATUSES = {200, 400, 404, 405, 408, 413, 431, 503}
BATCH = 100
ITEMS = 2000
ANSWER_S = 20.0
"""Longer than the server takes to refuse a request that does not become complete."""
STOP_S = 30.0
SPOILED_S = 0.03
"""Spoiled bytes may have no end: after this long without a response the caller hangs up."""
NORMAL = b'{"items": ["sku-0000001"], "k": 3}'


class ModelServer:
    """A running server, with its address and its process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self._log = process, port, log
        self._normal = self._answer()
        self.at_first = self.at_last = self._usage()

    def connect(self) -> socket.socket:
        return socket.create_connection((HOST, self.port), timeout=ANSWER_S)

    def verify(self) -> None:
        """Send a normal invocation and a ping.

        Raises:
            Failed: the server ended, is stuck, answers differently from before, or logged an error.
        """
        if self.process.poll() is not None:
            raise Failed(f"the server ended with {self.process.returncode}: {self._log.read_text()[-500:]}")
        if (found := self._answer()) != self._normal:
            raise Failed(f"a normal invocation gets {found[:300]!r}, before it was {self._normal[:300]!r}")
        with self.connect() as line:
            line.sendall(b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n")
            if not (found := _read_to_end(line)).startswith(b"HTTP/1.1 200 "):
                raise Failed(f"/ping gets {found[:300]!r}")
        for text in self._log.read_text().splitlines():
            if (said := json.loads(text))["event"] not in ("ready", "stopped") and "refused" not in said:
                raise Failed(f"the server's log says {text[:500]}")
        self.at_last = self._usage()

    def stop(self) -> None:
        """Send SIGTERM.

        Raises:
            Failed: the server does not stop properly.
        """
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(timeout=STOP_S) or json.loads(self._log.read_text().splitlines()[-1])["cut_off"]:
            raise Failed(f"the server stopped with {self.process.returncode}: {self._log.read_text()[-500:]}")

    def _usage(self) -> dict[str, float]:
        """Return resident memory and open descriptors."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        resident_kb = next(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmRSS"))
        descriptors = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        return {"memory_mib": round(resident_kb / 1024, 1), "descriptors": descriptors}

    def _answer(self) -> bytes:
        """Return the response to a normal invocation. A full queue gets the time of one response to empty."""
        until_s = time.monotonic() + ANSWER_S
        while True:
            with self.connect() as line:
                head = b"POST /invocations HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                line.sendall(head % len(NORMAL) + NORMAL)
                try:
                    found = _read_to_end(line)
                except TimeoutError:
                    raise Failed(f"a normal invocation has no response after {ANSWER_S:g} s") from None
            if not found.startswith(b"HTTP/1.1 503 ") or time.monotonic() > until_s:
                return found
            time.sleep(0.05)


@contextmanager
def model_server(seed: int) -> Iterator[ModelServer]:
    """Run a server with a generated shop, at most until the end of the block."""
    from benchmarks.serve_shops import made_up, write_archive

    with tempfile.TemporaryDirectory() as scratch:
        model_dir = write_archive(made_up(ITEMS, seed)[0], Path(scratch) / "model")
        log = Path(scratch) / "log.jsonl"
        command = [sys.executable, "-m", "training_jobs.server", "--model-dir", str(model_dir)]
        with log.open("wb") as written:
            process = subprocess.Popen(
                [*command, "--host", HOST, "--port", "0"],
                cwd="/",  # otherwise the repository's code would precede the archive's
                env={**os.environ, "PYTHONPATH": str(model_dir / "code")},
                stderr=written,
            )
        try:
            while (port := _port(log)) is None and process.poll() is None:
                time.sleep(0.01)
            if port is None:
                raise Failed(f"the server did not start: {log.read_text()[-500:]}")
            yield ModelServer(process, port, log)
        finally:
            process.kill()
            process.wait()


def _port(log: Path) -> int | None:
    """Return the port that the server has logged; warnings about its archive can come before."""
    whole_lines = log.read_text().rpartition("\n")[0].splitlines()
    return next((int(line["port"]) for line in map(json.loads, whole_lines) if "port" in line), None)


def fuzz(
    server: ModelServer, seed: int, connections: int, first: int, requests: int, findings: Findings
) -> None:
    """Hold conversations, several at a time; after each batch, a normal invocation must still get a response."""
    talker = Talker(seed, [f"sku-{row:07}" for row in range(ITEMS)] + ["unknown"])
    progress = Progress(ENDPOINT, requests, "conversations")

    def hold(number: int) -> None:  # safe in several threads, because it only appends
        conversation = talker.conversation(number)
        try:
            outcome = judged(conversation, converse(server, conversation))
        except (Failed, OSError) as failed:
            failures.append(
                (number, f"{type(failed).__name__}: {failed}; sent {b''.join(conversation.parts)[:300]!r}")
            )
        else:
            outcomes.append(outcome)

    with ThreadPoolExecutor(connections) as pool:
        for begin in range(first, first + requests, BATCH):
            outcomes: list[str] = []
            failures: list[tuple[int, str]] = []
            batch = range(begin, min(begin + BATCH, first + requests))
            list(pool.map(hold, batch))
            findings.statuses.update(outcomes)
            for number, why in failures:
                findings.fail(ENDPOINT, number, None, why)
            progress.update(batch[-1] - first + 1)
            try:
                server.verify()
            except (Failed, OSError) as failed:
                findings.fail(ENDPOINT, batch[-1], None, f"after the batch from {begin}: {failed}")
                break  # later failures would follow from this one
    try:
        server.stop()
    except (Failed, subprocess.TimeoutExpired) as failed:
        findings.fail(ENDPOINT, None, None, f"at the end: {failed}")
    progress.finish(requests)


def converse(server: ModelServer, conversation: Conversation) -> bytes | None:
    """Return what the server sends, or None if the caller did not wait for it."""
    ending, expected = conversation.ending, conversation.expected
    with server.connect() as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):  # a refusal arrived before the end, and is still unread
            for part in conversation.parts:
                line.sendall(part)
            if ending is Ending.HALF_CLOSE:
                with suppress(OSError):  # ENOTCONN: the server has refused and closed already
                    line.shutdown(socket.SHUT_WR)
        if ending is Ending.RESET:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if ending is Ending.LINGER:
            time.sleep(0.02)
        if ending is not Ending.READ:
            return None
        found = b""
        line.settimeout(SPOILED_S if expected is None else ANSWER_S)
        with suppress(TimeoutError, ConnectionError):
            while expected is None or len(_split(found, bodiless=False)[0]) < len(expected):
                more = line.recv(1 << 16)
                if not more:
                    break
                found += more
    return found


def judged(conversation: Conversation, found: bytes | None) -> str:
    """Return the outcome as one word.

    Raises:
        Failed: the server must never send these bytes.
    """
    if found is None:
        return conversation.ending.value
    expected = conversation.expected
    responses, rest = _split(found, bodiless=expected is None)
    statuses = tuple(status for status, _, _ in responses)
    shown = f"{statuses} from {found[:300]!r}"
    if not STATUSES.issuperset(statuses) or len(statuses) > conversation.requests:
        raise Failed(f"the responses are {shown}")
    for status, headers, body in responses:
        _read_body(status, body)
        if status == 503 and b"retry-after" not in headers:
            raise Failed(f"a 503 without Retry-After: {shown}")
    if expected is not None:
        # A body that is too large closes the connection, at once or after the responses before it.
        least = expected.index(413) if 413 in expected else len(expected)
        if rest or len(statuses) < least or statuses != expected[: len(statuses)]:
            raise Failed(f"expected {expected}, the responses are {shown}")
    return str(statuses[0]) if statuses else "no_response"


Parsed = tuple[int, dict[bytes, bytes], bytes]


def _split(found: bytes, bodiless: bool) -> tuple[list[Parsed], bytes]:
    """Return the complete responses without interim ones, each as status, headers and body, and the bytes after them.

    Raises:
        Failed: the bytes are not HTTP responses.
    """
    responses: list[Parsed] = []
    while True:
        head, end, rest = found.partition(b"\r\n\r\n")
        if not end:
            return responses, found
        line, *lines = head.split(b"\r\n")
        if not re.fullmatch(rb"HTTP/1\.1 [1-5]\d\d [A-Za-z ]+", line):
            raise Failed(f"not a status line: {line[:100]!r}")
        status = int(line[9:12])
        headers = {name.lower(): value for name, _, value in (one.partition(b": ") for one in lines)}
        length = 0 if status == 100 else int(headers[b"content-length"])
        if bodiless and (not rest or rest.startswith(b"HTTP/1.1 ")):
            length = 0  # the response to HEAD
        if len(rest) < length:
            return responses, found
        if status != 100:
            responses.append((status, headers, rest[:length]))
        found = rest[length:]


def _read_body(status: int, body: bytes) -> None:
    if not body:  # of /ping, and of HEAD
        return
    try:
        content: Any = json.loads(body, parse_constant=_no_constant)
        if status == 200 and not isinstance(content["items"], list):
            raise Failed("200 without a list of items")
        if status != 200 and not content["error"]:
            raise Failed("an error without its reason")
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"unreadable ({type(error).__name__}: {error}): {body[:200]!r}") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _read_to_end(line: socket.socket) -> bytes:
    found = b""
    while more := line.recv(1 << 16):
        found += more
    return found
