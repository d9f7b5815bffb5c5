"""The server in a model's container: GET /ping, POST /invocations, the script-mode handlers of the archive's inference.py.

Runs on its own (`python model_server.py <model dir> <code dir> <port>`), with the standard library and what the script imports.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def load_handlers(model_dir: str, code_dir: str) -> Callable[[bytes, str, str], tuple[bytes, str]]:
    """Imports the script and loads the model; returns what turns a request's body into a response's."""
    program = os.path.join(code_dir, os.environ.get("SAGEMAKER_PROGRAM", "inference.py"))
    sys.path.insert(0, code_dir)
    spec = importlib.util.spec_from_file_location("inference", program)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{program} is no Python file")
    script = importlib.util.module_from_spec(spec)
    sys.modules["inference"] = script
    spec.loader.exec_module(script)
    takes_context = len(inspect.signature(script.model_fn).parameters) > 1
    model = script.model_fn(model_dir, None) if takes_context else script.model_fn(model_dir)
    read = getattr(script, "input_fn", lambda body, content_type: json.loads(body))
    write = getattr(script, "output_fn", lambda prediction, accept: json.dumps(prediction))

    def respond(body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        if hasattr(script, "transform_fn"):
            answer = script.transform_fn(model, body, content_type, accept)
        else:
            answer = write(script.predict_fn(read(body, content_type), model), accept)
        content, kind = answer if isinstance(answer, tuple) else (answer, accept)
        return (content if isinstance(content, bytes) else str(content).encode()), kind

    return respond


class Handler(BaseHTTPRequestHandler):
    """One connection of SageMaker's front."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    respond: Callable[[bytes, str, str], tuple[bytes, str]]

    def log_message(self, *arguments: Any) -> None:
        """A line a request would drown what the script prints."""

    def do_GET(self) -> None:
        self._send(200 if self.path == "/ping" else 404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/invocations":
            self._send(404, b"")
            return
        accept = self.headers.get("Accept") or "*/*"
        accept = "application/json" if accept == "*/*" else accept
        content_type = self.headers.get("Content-Type") or "application/json"
        try:
            content, kind = type(self).respond(body, content_type, accept)
        except ValueError as error:
            self._send(400, str(error).encode())
        except Exception as error:  # whatever the script raises is the caller's 500
            traceback.print_exc()
            self._send(500, f"{type(error).__name__}: {error}".encode())
        else:
            self._send(200, content, kind)

    def _send(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    """A thread a connection."""

    daemon_threads = True
    request_queue_size = 128


def main(model_dir: str, code_dir: str, port: str) -> None:
    """Loads, then listens: the first answered /ping means ready."""
    Handler.respond = staticmethod(load_handlers(model_dir, code_dir))  # type: ignore[assignment]
    Server(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    # The script's modules come from the archive, not from the folder of this file.
    sys.path.pop(0)
    main(*sys.argv[1:4])
