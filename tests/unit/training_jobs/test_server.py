"""The endpoint's server: SageMaker's contract, overload, bad requests and the end."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training_jobs.conftest import Trained
from training_jobs import http_connection

ROOT = Path(__file__).parents[3]
START = "import sys; from training_jobs.server import main; sys.exit(main())"


class Server:
    """The server as a process of its own, started with the archive's code alone."""

    def __init__(self, model_dir: Path, *options: str, prelude: str = "") -> None:
        command = [sys.executable, "-c", f"{prelude}\n{START}", "--model-dir", str(model_dir), *options]
        self.process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", "0"],
            cwd="/",
            env={"PYTHONPATH": str(model_dir / "code"), "PATH": os.environ["PATH"]},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.lines = self.process.stderr
        self.ready = json.loads(self.lines.readline())
        self.port = int(self.ready.get("port", 0))

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def ask(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> tuple[int, Any]:
        connection = self.connect()
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, raw, {"Content-Type": kind})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content) if content else None

    def raw(self, *parts: bytes) -> bytes:
        """Everything the server says to these bytes until it closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as line:
            for part in parts:
                line.sendall(part)
            found = b""
            while more := line.recv(65536):
                found += more
            return found

    def stop(self) -> tuple[int, list[Any]]:
        self.process.send_signal(signal.SIGTERM)
        said = [json.loads(line) for line in self.lines]
        return self.process.wait(timeout=10), said


@pytest.fixture(scope="module")
def server(trained: Trained) -> Iterator[Server]:
    running = Server(trained.model_dir)
    yield running
    assert running.stop()[0] == 0


@pytest.fixture(scope="module")
def slow(trained: Trained) -> Iterator[Server]:
    """Takes its time to answer, and lets four requests wait."""
    prelude = (
        "import time; from training_jobs import inference; answer = inference.predict_fn\n"
        "inference.predict_fn = lambda query, model: (time.sleep(0.4), answer(query, model))[1]"
    )
    running = Server(trained.model_dir, "--queue", "4", prelude=prelude)
    yield running
    running.process.kill()
    running.process.wait()


def test_ping_is_answered_once_the_model_is_loaded(server: Server) -> None:
    assert server.ready["event"] == "ready"
    assert server.ready["items"] == 81
    assert server.ask("GET", "/ping") == (200, None)


def test_golden_sessions_are_answered_as_in_training(server: Server, trained: Trained) -> None:
    connection = server.connect()  # one for all: it is kept alive
    for session in json.loads((trained.model_dir / "golden.json").read_text()):
        question = json.dumps({"items": session["items"], "k": session["k"]})
        connection.request("POST", "/invocations", question, {"Content-Type": "application/json"})
        answer = json.load(connection.getresponse())
        assert [item["item_id"] for item in answer["items"]] == session["expected"]
    connection.close()


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"{", "not JSON"), (b"", "not JSON"), ([], "must be an object"), ({"k": 0}, "k must be")],
)
def test_a_body_that_cannot_be_read_is_refused_with_the_reason(server: Server, body: Any, says: str) -> None:
    status, answer = server.ask("POST", "/invocations", body)
    assert status == 400
    assert says in answer["error"]


def test_another_content_type_is_refused(server: Server) -> None:
    status, answer = server.ask("POST", "/invocations", {"items": []}, kind="text/csv")
    assert status == 400
    assert "send application/json" in answer["error"]


def test_a_body_that_is_too_large_is_not_read(server: Server) -> None:
    found = server.raw(
        b"POST /invocations HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n",
        b"x" * (http_connection.MAX_BODY_BYTES + 20_000),
    )
    assert found.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("POST", "/ping", 405), ("GET", "/invocations", 405)]
)
def test_what_is_not_in_the_contract_is_refused(server: Server, method: str, path: str, status: int) -> None:
    assert server.ask(method, path)[0] == status


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n"])
def test_what_is_not_http_gets_a_reason_and_a_closed_connection(server: Server, sent: bytes) -> None:
    found = server.raw(sent)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert b"not an HTTP request" in found


def test_a_chunked_body_and_one_in_pieces_are_read(server: Server) -> None:
    head = b"POST /invocations HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
    chunked = server.raw(
        head + b"Transfer-Encoding: chunked\r\n\r\n", b'7\r\n{"k": 3\r\n', b"1\r\n}\r\n0\r\n\r\n"
    )
    pieces = server.raw(head + b"Content-Len", b"gth: 8\r\n\r\n{", b'"k": 3}')
    assert chunked == pieces
    assert len(json.loads(pieces.split(b"\r\n\r\n")[1])["items"]) == 3


def test_who_sends_the_next_request_before_the_answer_gets_one_answer_and_a_closed_connection(
    slow: Server,
) -> None:
    one = b'POST /invocations HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"k": 3}'
    found = slow.raw(one + one)
    assert found.count(b"HTTP/1.1 200 OK") == found.count(b"HTTP/1.1") == 1
    assert b"Connection: close" in found


def test_beyond_the_queue_requests_are_told_to_come_back_and_ping_is_still_answered(slow: Server) -> None:
    found: list[tuple[int, str | None]] = []

    def ask() -> None:
        connection = slow.connect()
        connection.request("POST", "/invocations", b"{}", {"Content-Type": "application/json"})
        answer = connection.getresponse()
        found.append((answer.status, answer.headers["Retry-After"]))
        connection.close()

    healthy = slow.connect()
    healthy.request("GET", "/ping")
    healthy.getresponse().read()
    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    while (503, "1") not in found:  # from here on the queue is full
        time.sleep(0.01)
    healthy.request("GET", "/ping")
    assert healthy.getresponse().status == 200
    answered_before_ping = found.count((200, None))
    for thread in threads:
        thread.join()
    assert answered_before_ping < found.count((200, None))
    assert {(200, None), (503, "1")} == set(found)
    assert found.count((200, None)) >= 4


def test_at_sigterm_what_was_begun_is_answered(trained: Trained) -> None:
    prelude = (
        "import time; from training_jobs import inference; answer = inference.predict_fn\n"
        "inference.predict_fn = lambda query, model: (time.sleep(0.3), answer(query, model))[1]"
    )
    server = Server(trained.model_dir, prelude=prelude)
    idle = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    busy = server.connect()
    busy.request("POST", "/invocations", b"{}", {"Content-Type": "application/json"})
    time.sleep(0.1)
    code, said = server.stop()
    assert busy.getresponse().status == 200
    assert idle.recv(1) == b""
    idle.close()
    assert code == 0
    assert said[-1] == {"event": "stopped", "refused": 0, "cut_off": 0}


def test_a_failing_answer_is_the_server_s_and_the_next_is_answered(trained: Trained) -> None:
    prelude = (
        "from training_jobs import inference; answer = inference.predict_fn\n"
        "def predict(query, model):\n"
        "    if query.k == 13: raise RuntimeError('secret')\n"
        "    return answer(query, model)\n"
        "inference.predict_fn = predict"
    )
    server = Server(trained.model_dir, prelude=prelude)
    status, answer = server.ask("POST", "/invocations", {"k": 13})
    assert status == 500
    assert "secret" not in answer["error"]
    assert server.ask("POST", "/invocations", {"k": 3})[0] == 200
    assert any("secret" in line.get("error", "") for line in server.stop()[1])


def test_a_directory_without_a_model_says_so(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "code").symlink_to(trained.model_dir / "code")
    server = Server(tmp_path)
    assert server.process.wait(timeout=10) == 1
    assert "is this a model archive?" in server.ready["error"]
