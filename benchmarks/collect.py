"""Measure the collector's Lambda: its cold start above the bare runtime, processor time per request, the zip's size.

    python -m benchmarks.collect
    taskset -c 0 python -m benchmarks.collect --starts 31

It unpacks the zip of `chalice package` and runs it with awslambdaric, in new processes of the local stack's Lambda-like
environment. As in a Lambda, every start compiles: the code folder is read-only, and the zip has no bytecode.
It prints one JSON line, and exits with 1 when a figure misses its target.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.conditions import conditions, parser
from local import lambda_venv
from local.aws.proxy_event import Request, build_event
from local.environment import REPOSITORY
from testing import deployment
from testing.http_server import served

INSIDE = Path(__file__).with_name("collect_lambda.py")
BATCHES = (1, 25, 500)
AIMS = {"cold_import_ms": 100.0, "one_event_ms": 1.0, "further_event_us": 10.0}
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
EMPTY_HANDLER = "def app(event, context):\n    return {'statusCode': 200}\n"


def event(number: int, now_ms: int) -> dict[str, Any]:
    """Return the event of a product's page, as the SDK sends it."""
    return {
        "schema_version": 1,
        "event_id": f"6f1c2b1e-0d7a-4a52-9d7e-{number:012d}",
        "event_name": "view_item",
        "shop_id": "demo",
        "client_id": "c-7d21c0ffee",
        "session_id": "s-20260101-1",
        "client_time_ms": now_ms - number,
        "page_location": "https://shop.example/boots/boot-7?utm_source=mail",
        "items": [
            {
                "item_id": "boot-7",
                "item_name": "Deck boot",
                "item_category": "footwear/boots",
                "price": 129.95,
            }
        ],
    }


def proxy_events() -> dict[str, dict[str, Any]]:
    """Return requests of the SDK and of an email pixel, as API Gateway passes them to the Lambda."""
    now_ms = time.time_ns() // 1_000_000
    query = "key=local-demo&shop_id=demo&client_id=c-7d21&event_name=view_item&item_id=boot-7"
    events = {"gif": _proxy_event("GET", "/pixel.gif", query, b"")}
    for size in BATCHES:
        body = {"sent_at_ms": now_ms, "events": [event(number, now_ms) for number in range(size)]}
        events[str(size)] = _proxy_event("POST", "/events", "key=local-demo", json.dumps(body).encode())
    return events


def _proxy_event(method: str, path: str, query: str, body: bytes) -> dict[str, Any]:
    headers = [("User-Agent", CHROME), ("Accept", "*/*"), ("Accept-Language", "en"), ("DNT", "1")]
    if body:
        headers.append(("Content-Type", "text/plain;charset=UTF-8"))
    request = Request(method, path, query, headers, body, "203.0.113.9")
    return build_event(
        request,
        api_id="benchmark",
        stage="api",
        resource=path,
        path=path,
        path_parameters={},
        binary_types=[],
        trace="Root=1-5e272390-8c398be037738dc042009320",
    )


@contextmanager
def firehose() -> Iterator[str]:
    """Serve a Firehose that acknowledges everything, and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer = b'{"FailedPutCount": 0, "RequestResponses": [{"RecordId": "r"}]}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: Any) -> None:
            """Log nothing."""

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url


class Runtime:
    """Starts new processes of the Lambda-like environment."""

    def __init__(self, code: Path, scratch: Path, endpoint_url: str) -> None:
        lambda_venv.ensure(lambda_venv.location())
        config = json.loads((REPOSITORY / ".chalice" / "config.json").read_text())
        self._python = lambda_venv.location().resolve() / "bin" / "python"
        self._code = code
        self._environment = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(scratch),
            "PYTHONPATH": str(code),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAMBDA_TASK_ROOT": str(code),
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_ENDPOINT_URL": endpoint_url,
            **config["stages"]["local"]["environment_variables"],
            **config["stages"]["local"]["lambda_functions"]["api_handler"]["environment_variables"],
        }

    def run(self, kind: str, handler: str, given: Any) -> dict[str, Any]:
        done = subprocess.run(
            [str(self._python), str(INSIDE), kind, handler],
            cwd=self._code,
            env=self._environment,
            input=json.dumps(given),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"the Lambda-like process failed:\n{done.stderr}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def measure(starts: int) -> dict[str, Any]:
    """Measure all figures."""
    events = proxy_events()
    with tempfile.TemporaryDirectory(prefix="tugboat-collect-") as name, firehose() as endpoint_url:
        folder = Path(name)
        archive = deployment.package(folder) / "deployment.zip"
        code = folder / "task"
        with zipfile.ZipFile(archive) as file:
            file.extractall(code)
        (code / "empty_handler.py").write_text(EMPTY_HANDLER)
        runtime = Runtime(code, folder, endpoint_url)
        runtime.run("cold", "app.app", events["1"])  # loads the files into the system's cache
        ours, bare = [], []
        for _ in range(starts):
            ours.append(runtime.run("cold", "app.app", events["1"]))
            bare.append(runtime.run("cold", "empty_handler.app", None))
        warm = runtime.run("warm", "app.app", events)
        size_bytes = archive.stat().st_size

    def over_bare(figure: str) -> float:
        return float(median(one[figure] for one in ours) - median(one[figure] for one in bare))

    further_us = (warm["500"] - warm["1"]) * 1000 / 499
    return {
        "starts": starts,
        "cold_import_ms": round(over_bare("import_ms"), 1),
        "cold_import_cpu_ms": round(over_bare("import_cpu_ms"), 1),
        "modules_of_the_import": ours[0]["modules"] - bare[0]["modules"],
        "first_event_ms": round(median(one["first_event_ms"] for one in ours), 1),
        "first_event_cpu_ms": round(median(one["first_event_cpu_ms"] for one in ours), 1),
        "warm_cpu_ms": {
            "gif": round(warm["gif"], 3),
            **{f"batch_of_{size}": round(warm[str(size)], 3) for size in BATCHES},
        },
        "one_event_ms": round(warm["1"], 3),
        "further_event_us": round(further_us, 1),
        "reference_json_us_per_event": round(warm["json_us_per_event"], 1),
        "further_event_over_json": round(further_us / warm["json_us_per_event"], 2),
        "zip_bytes": size_bytes,
        "aims": AIMS,
    }


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON line; return 1 if a figure misses its target."""
    command = parser(
        "collect",
        "Measure cold start, processor time per request and size of the collector's Lambda.",
        "--starts 31 > benchmarks/results/collect.json",
    )
    command.add_argument(
        "--starts", type=int, default=15, help="number of new processes (default %(default)s)"
    )
    options = command.parse_args(arguments)
    about = conditions("collect", data="events of one product's page", seed=None)
    figures = measure(options.starts)
    missed = [name for name, aim in AIMS.items() if figures[name] > aim]
    print(json.dumps({**about, **figures, "missed": missed}))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
