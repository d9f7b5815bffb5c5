"""An AWS service on 127.0.0.1 that answers well, badly, slowly or not at all."""

import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Trouble(StrEnum):
    """A way to treat a request."""

    NONE = "none"
    REFUSE = "refuse"  # the connection is closed
    FAIL = "fail"  # 500
    HANG = "hang"  # the connection stays open without a byte
    DRIP = "drip"  # a good answer, a byte at a time
    DRIP_BODY = "drip_body"  # its head at once, its body a byte at a time
    GARBAGE = "garbage"  # bytes that are no HTTP
    NONSENSE = "nonsense"  # HTTP whose body means nothing
    CUT = "cut"  # half of a good answer
    SLOW_START = "slow_start"  # a good answer, after SLOW_START_S


SLOW_START_S = 0.15
DRIP_S = 0.1


class Received(NamedTuple):
    """One request: `POST /path`, its headers in small letters, and its body."""

    line: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """A good answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012

    def encoded(self) -> bytes:
        """Return the answer's bytes."""
        fields = {"content-length": str(len(self.body)), "connection": "close", **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"HTTP/1.1 {self.status} x\r\n{head}\r\n".encode() + self.body


@dataclass
class TroubledService:
    """A service with a trouble that a test sets; it keeps the requests that it answered well."""

    answer: Callable[[Received], Answer]
    trouble: Trouble = Trouble.NONE
    served: list[Received] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def handle(self, connection: socket.socket) -> None:
        """Answer the one request of a connection."""
        received = _read(connection)
        trouble, over = self.trouble, self.over
        if received is None or trouble is Trouble.REFUSE:
            return
        if trouble is Trouble.SLOW_START:
            time.sleep(SLOW_START_S)
        good = self.answer(received).encoded()
        head, _, body = good.partition(b"\r\n\r\n")
        match trouble:
            case Trouble.HANG:
                over.wait()
            case Trouble.DRIP:
                if self._drip(connection, good, over):
                    self.served.append(received)
            # Without a body, the head alone is a good answer.
            case Trouble.DRIP_BODY if body:
                connection.sendall(head + b"\r\n\r\n")
                if self._drip(connection, body, over):
                    self.served.append(received)
            case Trouble.FAIL:
                connection.sendall(Answer(500, b"{}").encoded())
            case Trouble.GARBAGE:
                connection.sendall(bytes(range(256)) * 4)
            case Trouble.NONSENSE:
                connection.sendall(Answer(200, b'["<html>Welcome to this network</html>"]').encoded())
            case Trouble.CUT:
                connection.sendall(good[: len(good) - len(body or good) // 2])
            case _:
                self.served.append(received)
                connection.sendall(good)

    def release(self) -> None:
        """End every connection that hangs or drips, and every later one at once."""
        self.over.set()

    def recover(self) -> None:
        """Treat every later request well."""
        self.trouble = Trouble.NONE
        self.over = threading.Event()

    @staticmethod
    def _drip(connection: socket.socket, data: bytes, over: threading.Event) -> bool:
        """Send a byte at a time, until all are sent. Return True then."""
        for byte in data:
            if over.wait(DRIP_S):
                return False
            connection.sendall(bytes([byte]))
        return True


def _read(connection: socket.socket) -> Received | None:
    with connection.makefile("rb") as stream:
        line = stream.readline().decode().rsplit(" ", 1)[0]
        headers: dict[str, str] = {}
        while (field_line := stream.readline().strip()) != b"":
            name, _, value = field_line.decode().partition(":")
            headers[name.lower()] = value.strip()
        if not line:
            return None
        if headers.get("expect") == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(stream.readline().split(b";")[0], 16):
                body += stream.read(size)
                stream.readline()
        else:
            body = stream.read(int(headers.get("content-length", 0)))
    return Received(line, headers, body)


@contextmanager
def troubled(answer: Callable[[Received], Answer]) -> Iterator[TroubledService]:
    """Serve until the end of the block; hanging connections end with it."""
    service = TroubledService(answer)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                service.handle(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:
        service.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield service
        finally:
            service.release()
            server.shutdown()


def json_answer(value: object, **headers: str) -> Answer:
    """Return a good answer whose body is JSON."""
    return Answer(200, json.dumps(value).encode(), {"content-type": "application/json", **headers})
