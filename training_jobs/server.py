"""The endpoint's server: `python -m training_jobs.server --model-dir /opt/ml/model --port 8080`.

SageMaker's container contract: GET /ping is answered once the model is loaded, POST /invocations within 60 s, SIGTERM comes
30 s before SIGKILL. One process computes one answer at a time; requests beyond the queue are told to come back (503).
"""

from __future__ import annotations

import os

# A request is one small product after the other: threads would only wait for each other. Before numpy loads.
for _library in ("OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import argparse  # noqa: E402
import asyncio  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402

from training_jobs import inference  # noqa: E402
from training_jobs.archive import ArchiveError  # noqa: E402
from training_jobs.http_connection import Answer, Connection, Desk, Respond, refusal  # noqa: E402

QUEUE = 64
DRAIN_S = 20.0


def responder(model: inference.Model) -> Respond:
    """What is answered to the body of an invocation."""

    def respond(body: bytes, content_type: str) -> Answer:
        try:
            query = inference.input_fn(body, content_type or None)
        except ValueError as error:
            return refusal(400, str(error))
        try:
            text, kind = inference.output_fn(inference.predict_fn(query, model))
        except Exception as error:  # one session's bad luck must not stop the others
            log("an answer failed", error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
            return refusal(500, "the model could not answer; the endpoint's log says why")
        return Answer(200, text.encode("utf-8", "replace"), kind)

    return respond


async def serve(
    respond: Respond,
    host: str,
    port: int,
    *,
    queue: int = QUEUE,
    on_listening: Callable[[int], None] = lambda port: None,
) -> None:
    """Answer until SIGTERM or SIGINT; then finish what was begun, for at most DRAIN_S."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    desk = Desk(respond, queue)
    server = await loop.create_server(lambda: Connection(desk), host, port, backlog=512)
    on_listening(server.sockets[0].getsockname()[1])
    told = 0
    while not stopped.is_set():
        try:
            await asyncio.wait_for(stopped.wait(), timeout=10.0)
        except TimeoutError:
            if desk.shed > told:
                log("requests were refused: more came than can be answered", refused=desk.shed - told)
                told = desk.shed
    server.close()
    desk.drain()
    until = loop.time() + DRAIN_S
    while desk.connections and loop.time() < until:
        await asyncio.sleep(0.02)
    log("stopped", refused=desk.shed, cut_off=len(desk.connections))


def log(event: str, **about: object) -> None:
    """A line of JSON for CloudWatch."""
    print(json.dumps({"event": event, **about}, ensure_ascii=True), file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
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
    began = time.monotonic()
    try:
        model = inference.model_fn(options.model_dir)
    except ArchiveError as error:
        log("the model cannot be loaded", error=str(error))
        return 1

    # What is loaded stays: collections that looked at it again held answers up for 5 to 12 ms.
    gc.collect()
    gc.freeze()

    def ready(port: int) -> None:
        log(
            "ready",
            port=port,
            model_version=model.model_version,
            items=len(model.recommender.vocabulary),
            scan=model.recommender.scan.library,
            seconds=round(time.monotonic() - began, 3),
        )

    asyncio.run(serve(responder(model), options.host, options.port, queue=options.queue, on_listening=ready))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
