"""The endpoint's server: `python -m training_jobs.server --model-dir /opt/ml/model --port 8080`.

SageMaker's container contract: the server answers GET /ping after it has loaded the model, and POST /invocations within 60 s.
SIGTERM comes 30 s before SIGKILL. One thread runs uvicorn, and another computes one answer at a time. Requests beyond the
queue get 503.
"""

from __future__ import annotations

import os

# A request is a sequence of small matrix products: threads would only wait for each other. Set before numpy loads.
for _library in ("OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import argparse  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Sequence  # noqa: E402

import uvicorn  # noqa: E402

from training_jobs.serving import inference  # noqa: E402
from training_jobs.serving.asgi import Application  # noqa: E402
from training_jobs.serving.http_limits import IDLE_S, BoundedProtocol  # noqa: E402
from training_jobs.serving.model_files import ArchiveError  # noqa: E402
from training_jobs.serving.responses import Respond, Response, refusal  # noqa: E402
from training_jobs.serving.worker import Worker  # noqa: E402

QUEUE = 64
DRAIN_S = 20
BACKLOG = 512
SHED_LOG_S = 10


def responder(model: inference.Model) -> Respond:
    """Return the function that answers the body of an invocation."""

    def respond(body: bytes, content_type: str) -> Response:
        try:
            query = inference.input_fn(body, content_type or None)
        except ValueError as error:
            return refusal(400, str(error))
        try:
            text, kind = inference.output_fn(inference.predict_fn(query, model))
        except Exception as error:  # one session's failure must not stop the others
            log("an answer failed", error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
            return refusal(500, "the model could not answer; the endpoint's log says why")
        return Response(200, text.encode("utf-8", "replace"), kind)

    return respond


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that accepts connections, each of which sends at once what is written to it.

    asyncio sets TCP_NODELAY itself only on sockets that state their protocol, which a socket of `create_server` does not.
    Without it, the body of an answer waits for the receipt of its head, which callers delay by 40 ms.
    """
    listener = socket.create_server((host, port), backlog=BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(worker: Worker, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT. Then finish the requests that have begun, for at most DRAIN_S."""
    logged = 0

    async def log_shed() -> None:
        nonlocal logged
        if worker.shed > logged:
            log("requests were refused: more came than can be answered", refused=worker.shed - logged)
            logged = worker.shed

    config = uvicorn.Config(
        Application(worker),
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=DRAIN_S,
        callback_notify=log_shed,
        timeout_notify=SHED_LOG_S,
    )
    server = uvicorn.Server(config)
    # uvicorn raises the signal again after its drain; the default handlers would then end the process with an error.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    server.run([listener])
    log("stopped", refused=worker.shed, cut_off=worker.pending)


def log(event: str, **about: object) -> None:
    """Write a line of JSON for CloudWatch."""
    print(json.dumps({"event": event, **about}, ensure_ascii=True), file=sys.stderr, flush=True)


class _JsonLines(logging.Handler):
    """The records of uvicorn and asyncio, as JSON lines."""

    def emit(self, record: logging.LogRecord) -> None:
        trace = {"trace": "".join(traceback.format_exception(*record.exc_info))} if record.exc_info else {}
        log(record.getMessage().strip(), logger=record.name, level=record.levelname, **trace)


def main(argv: Sequence[str] | None = None) -> int:
    """Load the model and serve it until SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: PYTHONPATH=model/code python -m training_jobs.server --model-dir model --port 8080 &\n"
        '         curl --json \'{"items": ["sku-1"], "k": 5}\' localhost:8080/invocations',
    )
    parser.add_argument(
        "--model-dir", default="/opt/ml/model", help="an unpacked archive (default: %(default)s)"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")),
        help="0 for any free one (default: SAGEMAKER_BIND_TO_PORT, else 8080)",
    )
    parser.add_argument("--host", default="0.0.0.0", help="(default: %(default)s, as SageMaker needs)")
    parser.add_argument(
        "--queue", type=int, default=QUEUE, help="requests that may wait (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    logging.basicConfig(handlers=[_JsonLines()], level=logging.WARNING)
    began = time.monotonic()
    try:
        model = inference.model_fn(options.model_dir)
    except ArchiveError as error:
        log("the model cannot be loaded", error=str(error))
        return 1

    # The model stays loaded: garbage collections that visit it delay answers by 5 to 12 ms.
    gc.collect()
    gc.freeze()
    with listen(options.host, options.port) as listener:
        log(
            "ready",
            port=listener.getsockname()[1],
            model_version=model.model_version,
            items=len(model.recommender.vocabulary),
            kernels=model.kernels,
            seconds=round(time.monotonic() - began, 3),
        )
        serve(Worker(responder(model), options.queue), listener)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
