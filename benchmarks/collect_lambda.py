"""The program inside the Lambda-like process of benchmarks.collect: `collect_lambda.py cold|warm HANDLER`.

It runs under the bare Lambda runtime with the deployed bundle as its only code, so it imports nothing of this repository.
It reads proxy events as JSON from stdin and prints one JSON object.
"""

import io
import json
import sys
import time
from contextlib import redirect_stdout
from statistics import median
from typing import Any

from awslambdaric import bootstrap

REPEATS = {"gif": 300, "1": 300, "25": 200, "500": 60}


class Context:
    """The part of an invocation's context that handlers read."""

    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 29_000


class AcceptingFirehose:
    """A Firehose client without a network that acknowledges every record."""

    def put_record_batch(self, DeliveryStreamName: str, Records: list[Any]) -> dict[str, Any]:
        return {"FailedPutCount": 0, "RequestResponses": [{"RecordId": "r"} for _ in Records]}


def cold(handler_name: str, event: Any) -> dict[str, float]:
    """Measure the import of the handler, then its first event through the real clients."""
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    handler = bootstrap._get_handler(handler_name)
    imported_s, imported_cpu_s = time.perf_counter(), time.process_time()
    modules = len(sys.modules)
    with redirect_stdout(io.StringIO()):
        answer = handler(event, Context()) if event else {"statusCode": 200}
    ended_s, ended_cpu_s = time.perf_counter(), time.process_time()
    assert answer["statusCode"] == 200, answer
    return {
        "import_ms": (imported_s - started_s) * 1000,
        "import_cpu_ms": (imported_cpu_s - started_cpu_s) * 1000,
        "first_event_ms": (ended_s - imported_s) * 1000,
        "first_event_cpu_ms": (ended_cpu_s - imported_cpu_s) * 1000,
        "modules": modules,
    }


def warm(handler_name: str, events: Any) -> dict[str, float]:
    """Measure the median processor time of each event in milliseconds, without Firehose."""
    handler = bootstrap._get_handler(handler_name)
    from functions import wiring

    vars(wiring)["time_boxed_client"] = lambda *_: AcceptingFirehose()
    figures = {}
    with redirect_stdout(io.StringIO()):
        for name, event in events.items():
            times_ms = []
            for _ in range(REPEATS[name]):
                started_s = time.process_time()
                answer = handler(event, Context())
                times_ms.append((time.process_time() - started_s) * 1000)
                assert answer["statusCode"] == 200, answer
            figures[name] = median(times_ms)
    batch = json.loads(events["500"]["body"])
    times_ms = []
    for _ in range(REPEATS["500"]):
        started_s = time.process_time()
        for event in json.loads(events["500"]["body"])["events"]:
            json.dumps(event)
        times_ms.append((time.process_time() - started_s) * 1000)
    figures["json_us_per_event"] = median(times_ms) * 1000 / len(batch["events"])
    return figures


if __name__ == "__main__":
    _, kind, name = sys.argv
    given = json.load(sys.stdin)
    print(json.dumps(cold(name, given) if kind == "cold" else warm(name, given)))
