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
from training_jobs.server import listen
from training_jobs.serving import http_limits

ROOT = Path(__file__).parents[3]
SLOW = (
    "import time; from training_jobs.serving import inference; answer = inference.predict_fn\n"
    "inference.predict_fn = lambda query, model: (time.sleep(0.4), answer(query, model))[1]"
)
START = "import sys; from training_jobs.server import main; sys.exit(main())"


def invocation(body: bytes = b'{"k": 3}', *headers: bytes, version: bytes = b"1.1") -> bytes:
    """The bytes of a request."""
    lines = [b"POST /invocations HTTP/" + version, b"Content-Type: application/json", *headers]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


HANG_UPS = {
    "keep-alive": invocation(),
    "Connection: close": invocation(b'{"k": 3}', b"Connection: close"),
    "HTTP/1.0": invocation(version=b"1.0"),
    "pipelined": invocation() + invocation(),
    "half a body": invocation()[:-4],
    "half a head": invocation()[:40],
}


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

    def open(self, sent: bytes = b"") -> socket.socket:
        """Return a connection on which `sent` has been sent."""
        line = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        line.sendall(sent)
        return line

    def answers(self) -> bool:
        """Return True once an invocation gets 200; a full queue is given ten seconds to empty."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if self.ask("POST", "/invocations", {"k": 3})[0] == 200:
                return True
            time.sleep(0.05)
        return False

    def stop(self) -> tuple[int, list[Any]]:
        self.terminate()
        return self.ended()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> tuple[int, list[Any]]:
        """Wait for the end of a server that got SIGTERM; a second one could meet it without its handlers."""
        said = [json.loads(line) for line in self.lines]
        return self.process.wait(timeout=10), said


@pytest.fixture(scope="module")
def server(trained: Trained) -> Iterator[Server]:
    running = Server(trained.model_dir)
    yield running
    code, said = running.stop()
    assert code == 0
    assert [line for line in said if "logger" in line] == []  # nothing that uvicorn or asyncio complain of


@pytest.fixture(scope="module")
def slow(trained: Trained) -> Iterator[Server]:
    """Takes its time to answer, and lets four requests wait."""
    running = Server(trained.model_dir, "--queue", "4", prelude=SLOW)
    yield running
    running.process.kill()
    running.process.wait()


def test_what_is_written_to_an_accepted_connection_is_sent_at_once() -> None:
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


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
        b"x" * (http_limits.MAX_BODY_BYTES + 20_000),
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


def test_pipelined_requests_are_answered_in_their_order(slow: Server) -> None:
    found = slow.raw(invocation(b'{"k": 3}') + invocation(b'{"k": 4}', b"Connection: close"))
    bodies = [json.loads(part.split(b"HTTP/1.1")[0]) for part in found.split(b"\r\n\r\n")[1:]]
    assert found.count(b"HTTP/1.1 200 OK") == found.count(b"HTTP/1.1") == 2
    assert [len(body["items"]) for body in bodies] == [3, 4]


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
        "import time; from training_jobs.serving import inference; answer = inference.predict_fn\n"
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
        "from training_jobs.serving import inference; answer = inference.predict_fn\n"
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
    assert "pass the folder of a model archive" in server.ready["error"]


@pytest.mark.parametrize("sent", HANG_UPS.values(), ids=HANG_UPS.keys())
def test_two_hundred_callers_that_hang_up_cost_the_next_one_nothing(server: Server, sent: bytes) -> None:
    for _ in range(200):
        server.open(sent).close()
    assert server.answers()
    assert server.ask("GET", "/ping") == (200, None)


def test_callers_that_hang_up_during_the_drain_cost_the_others_nothing(trained: Trained) -> None:
    server = Server(trained.model_dir, prelude=SLOW)
    patient = [server.open(invocation(b'{"k": 3}')) for _ in range(2)]
    gone = [server.open(sent) for sent in HANG_UPS.values() for _ in range(2)]
    patient.append(server.open(invocation(b'{"k": 3}', b"Connection: close")))
    time.sleep(0.2)
    server.terminate()
    for line in gone:
        line.close()
    assert [line.recv(65536).split(b"\r\n")[0] for line in patient] == [b"HTTP/1.1 200 OK"] * 3
    assert server.ended() == (0, [{"event": "stopped", "refused": 0, "cut_off": 0}])


def test_a_request_that_has_begun_at_sigterm_is_answered_and_its_connection_closes(trained: Trained) -> None:
    server = Server(trained.model_dir)
    line = server.open(invocation()[:40])
    time.sleep(0.2)
    server.terminate()
    time.sleep(0.3)
    line.sendall(invocation()[40:])
    found = b"".join(iter(lambda: line.recv(65536), b""))
    assert found.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in found
    assert server.ended()[0] == 0


@pytest.fixture(scope="module")
def hasty(trained: Trained) -> Iterator[Server]:
    """Waits half a second for a request and one for the next, and takes eight connections."""
    running = Server(
        trained.model_dir,
        prelude="from training_jobs.serving import http_limits as limits\n"
        "limits.REQUEST_S, limits.IDLE_S, limits.MAX_CONNECTIONS = 0.5, 1, 8",
    )
    yield running
    assert running.stop()[0] == 0


@pytest.mark.parametrize(
    "part",
    [b"P", invocation()[:40], invocation()[:-4], b"\r\n"],
    ids=["a byte", "half a head", "half a body", "an empty line"],
)
def test_a_request_that_does_not_become_complete_gets_408_and_a_closed_connection(
    hasty: Server, part: bytes
) -> None:
    found = hasty.raw(part)
    assert found.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert found.count(b"HTTP/1.1") == 1


def test_a_body_that_drips_gets_408(hasty: Server) -> None:
    line = hasty.open(invocation()[:-8])
    found = b""
    for byte in b"12345":
        time.sleep(0.15)
        line.sendall(bytes([byte]))
    found = line.recv(65536)
    assert found.startswith(b"HTTP/1.1 408 ")
    assert hasty.answers()


@pytest.mark.parametrize("sent", [b"", b"GET /ping HTTP/1.1\r\n\r\n"], ids=["silent", "kept alive"])
def test_an_idle_connection_is_closed(hasty: Server, sent: bytes) -> None:
    began_s = time.monotonic()
    found = hasty.raw(sent)
    assert found.count(b"HTTP/1.1") == len(sent[:1])
    assert 0.9 < time.monotonic() - began_s < 8


def test_a_connection_too_many_gets_503_with_a_time_to_retry_and_the_next_is_served(hasty: Server) -> None:
    lines = [hasty.open(b"GET /ping HTTP/1.1\r\n\r\n") for _ in range(8)]
    for line in lines:
        assert line.recv(65536).startswith(b"HTTP/1.1 200 OK")
    found = hasty.raw(b"GET /ping HTTP/1.1\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in found
    for line in lines:
        line.close()
    time.sleep(0.1)
    assert hasty.answers()


def test_a_head_without_end_is_refused(server: Server) -> None:
    found = server.raw(b"GET /ping HTTP/1.1\r\nX: " + b"x" * 70_000)
    assert found.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


def test_a_length_beyond_the_limit_is_refused_before_the_body(server: Server) -> None:
    found = server.raw(
        b"POST /invocations HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1048577\r\n\r\n"
    )
    assert found.startswith(b"HTTP/1.1 413 ")
    chunks = b"100000\r\n" + b" " * (1 << 20) + b"\r\n1\r\n \r\n0\r\n\r\n"
    head = b"POST /invocations HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert server.raw(head + chunks).startswith(b"HTTP/1.1 413 ")


def test_upgrade_is_ignored_and_connect_refused_each_with_one_response(server: Server) -> None:
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n"
    for sent, status in {
        b"GET /ping HTTP/1.1\r\n" + upgrade + b"\r\n": b"200 OK",
        b"GET /ping HTTP/1.1\r\n" + upgrade + b"\r\n\x81\x05hello": b"200 OK",
        invocation(b'{"k": 3}', upgrade[:-2]): b"200 OK",
        b"CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\n": b"405 Method Not Allowed",
    }.items():
        found = server.raw(sent)
        assert found.startswith(b"HTTP/1.1 " + status)
        assert found.count(b"HTTP/1.1") == 1
        assert b"connection: close" in found


def test_an_expectation_is_met_once(server: Server) -> None:
    head, body = invocation(b'{"k": 3}', b"Connection: close", *[b"Expect: 100-continue"] * 50).split(
        b"\r\n\r\n"
    )
    line = server.open(head + b"\r\n\r\n")
    assert line.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.sendall(body)
    assert line.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_an_expectation_whose_body_is_broken_gets_one_refusal(server: Server) -> None:
    found = server.raw(
        b"POST /invocations HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    )
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1") == 1


def test_a_trailer_does_not_overrule_the_head(server: Server) -> None:
    found = server.raw(
        b"POST /invocations HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'8\r\n{"k": 3}\r\n0\r\nContent-Type: text/csv\r\nExpect: 100-continue\r\n\r\n'
    )
    assert found.startswith(b"HTTP/1.1 200 OK")


def test_head_gets_no_body(server: Server) -> None:
    found = server.raw(b"HEAD /ping HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 405 ")
    assert found.endswith(b"\r\n\r\n")


def test_ping_and_invocations_get_503_while_the_model_is_stuck(trained: Trained) -> None:
    server = Server(
        trained.model_dir,
        prelude="import time; from training_jobs.serving import inference, worker; answer = inference.predict_fn\n"
        "worker.STALLED_S = 0.5\n"
        "def predict(query, model):\n"
        "    if query.k == 13: time.sleep(3)\n"
        "    return answer(query, model)\n"
        "inference.predict_fn = predict",
    )
    stuck = server.open(invocation(b'{"k": 13}'))
    assert server.ask("GET", "/ping") == (200, None)
    time.sleep(1)
    assert server.ask("GET", "/ping")[0] == 503
    assert server.ask("POST", "/invocations", {"k": 3})[0] == 503
    assert stuck.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert server.ask("GET", "/ping") == (200, None)
    assert server.ask("POST", "/invocations", {"k": 3})[0] == 200
    server.stop()


def test_a_stuck_model_does_not_outlast_the_drain(trained: Trained) -> None:
    server = Server(
        trained.model_dir,
        prelude="import time; from training_jobs import server; from training_jobs.serving import inference; server.DRAIN_S = 1\n"
        "inference.predict_fn = lambda query, model: time.sleep(60)",
    )
    line = server.open(invocation())
    time.sleep(0.3)
    code, said = server.stop()
    assert code == 0
    assert said[-1] == {"event": "stopped", "refused": 0, "cut_off": 1}
    line.close()
