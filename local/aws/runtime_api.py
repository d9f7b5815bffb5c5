"""AWS's Lambda Runtime API for one worker process that runs awslambdaric.

The worker writes to a log file, not to a pipe. The output of a handler is in the file before its response arrives, so the log
of an invocation is always complete.
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
    """The event that the worker fetches, with its metadata."""

    request_id: str
    payload: bytes
    deadline_ms: int
    function_arn: str
    trace: str


class Result(NamedTuple):
    """The result of an invocation; `kind` is response, error, init_error or exit."""

    kind: str
    payload: bytes


class RuntimeServer(ThreadingHTTPServer):
    """The HTTP server that one worker polls."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self.invocations: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.initialized = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Host and port, for AWS_LAMBDA_RUNTIME_API."""
        return f"{HOST}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: a worker that was killed drops its long poll."""

    def close(self) -> None:
        """Stop serving, in the background: shutdown() waits up to half a second for the serving loop."""
        self.invocations.put(None)
        threading.Thread(target=self._shut_down, daemon=True).start()

    def _shut_down(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: RuntimeServer

    def log_message(self, *arguments: Any) -> None:
        """Log nothing: the worker polls all the time."""

    def do_GET(self) -> None:
        if self.path != f"{_VERSION}/invocation/next":
            self._respond(404)
            return
        self.server.initialized.set()
        invocation = self.server.invocations.get()
        if invocation is None:
            self._respond(410)
            return
        self._respond(
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
        self._respond(202)
        end = self.path.rpartition("/")[2]
        kind = "init_error" if self.path == f"{_VERSION}/init/error" else end
        self.server.results.put(Result(kind, payload))
        self.server.initialized.set()

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _respond(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)
            self.wfile.flush()


class WorkerProcess:
    """One worker process, its Runtime API and its log file."""

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
        # awslambdaric retries its poll for ever, so a worker survives kill -9 of this process. sweep() ends it by its record.
        self._record = processes.record(children, self.process.pid, kind="lambda", name=name)
        threading.Thread(target=self._report_exit, daemon=True).start()

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self.process.poll() is None

    def wait_until_initialized(self, timeout_s: float) -> None:
        """Wait until the handler is imported or its import failed, at most until the timeout."""
        self.api.initialized.wait(timeout_s)

    def invoke(self, invocation: Invocation, timeout_s: float) -> Result | None:
        """Return the result of an event, or None after the timeout."""
        self.api.invocations.put(invocation)
        try:
            return self.api.results.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def take_log(self) -> str:
        """Return the output since the last call."""
        with self.log.open("r+b") as file:
            text = file.read().decode(errors="replace")
            file.truncate(0)
        return text

    def memory_mb(self) -> int:
        """Return the peak memory of the worker in MiB, or 0 where the system does not report it."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) // 1024
        return 0

    def kill(self) -> None:
        """End the process and delete its log file."""
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
        self.api.results.put(Result("exit", json.dumps(error).encode()))
        self.api.initialized.set()
