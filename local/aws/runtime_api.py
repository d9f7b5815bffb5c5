"""One Lambda execution environment: AWS's Runtime API for one worker process that runs awslambdaric.

The worker writes to a log file, not to a pipe: what a handler printed is in the file before its answer arrives, so that
logs and answers never race.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from local import processes
from local.environment import HOST

_VERSION = "/2018-06-01/runtime"


class Invocation(NamedTuple):
    """What the worker fetches."""

    request_id: str
    payload: bytes
    deadline_ms: int
    function_arn: str
    trace: str


class Answer(NamedTuple):
    """What came of an invocation: kind is response, error, init_error or exit."""

    kind: str
    payload: bytes


class RuntimeServer(ThreadingHTTPServer):
    """The Runtime API that one worker polls."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self.invocations: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self.initialised = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"{HOST}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A worker that was killed drops its long poll: nothing to report."""

    def close(self) -> None:
        self.invocations.put(None)
        # shutdown() waits for the serving loop to look up, which it does twice a second.
        threading.Thread(target=self._shut, daemon=True).start()

    def _shut(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: RuntimeServer

    def log_message(self, *arguments: Any) -> None:
        """The worker's polling is not worth a log."""

    def do_GET(self) -> None:
        if self.path != f"{_VERSION}/invocation/next":
            self._answer(404)
            return
        self.server.initialised.set()
        invocation = self.server.invocations.get()
        if invocation is None:
            self._answer(410)
            return
        self._answer(
            200,
            invocation.payload,
            {
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
                "Lambda-Runtime-Trace-Id": invocation.trace,
            },
        )

    def do_POST(self) -> None:
        payload = self._body()
        self._answer(202)
        end = self.path.rpartition("/")[2]
        kind = "init_error" if self.path == f"{_VERSION}/init/error" else end
        self.server.answers.put(Answer(kind, payload))
        self.server.initialised.set()

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)
            self.wfile.flush()


class WorkerProcess:
    """The process behind the Runtime API and its log file."""

    def __init__(
        self, command: list[str], env: dict[str, str], cwd: str, log: Path, children: Path, name: str
    ) -> None:
        self.api = RuntimeServer()
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            pass
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**env, "AWS_LAMBDA_RUNTIME_API": self.api.address},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # A worker outlives a kill -9 of this process: awslambdaric asks for its next event again and again.
        self._record = processes.record(children, self.process.pid, kind="lambda", name=name)
        threading.Thread(target=self._report_exit, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_till_initialised(self, timeout_s: float) -> None:
        """Returns when the handler is imported (or cannot be), or after this time."""
        self.api.initialised.wait(timeout_s)

    def ask(self, invocation: Invocation, timeout_s: float) -> Answer | None:
        """None when the time is up."""
        self.api.invocations.put(invocation)
        try:
            return self.api.answers.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def take_log(self) -> str:
        """What the worker wrote since last asked."""
        with self.log.open("r+b") as file:
            text = file.read().decode(errors="replace")
            file.truncate(0)
        return text

    def memory_mb(self) -> int:
        """The most memory the worker ever held; 0 where the system does not say."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) // 1024
        return 0

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.api.close()
        self.log.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    def _report_exit(self) -> None:
        status = self.process.wait()
        reason = f"signal: {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        error = {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"Error: Runtime exited with error: {reason}",
        }
        self.api.answers.put(Answer("exit", json.dumps(error).encode()))
        self.api.initialised.set()
