"""The imports of a cold start of the API's Lambda. benchmarks.collect measures their time."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.aws.proxy_event import Request, build_event

REPOSITORY = Path(__file__).resolve().parents[2]
CODE = """
import json, sys
from types import SimpleNamespace
before = set(sys.modules)
import app
imported = set(sys.modules) - before

class TakesAll:
    def put_record_batch(self, DeliveryStreamName, Records):
        return {"FailedPutCount": 0}

app.wiring.time_boxed_client = lambda *_: TakesAll()
context = SimpleNamespace(get_remaining_time_in_millis=lambda: 29_000)
answer = app.app(json.loads(sys.argv[1]), context)
print(json.dumps([sorted(imported), sorted(set(sys.modules) - before), answer["body"]]))
"""
# Packages of other Lambdas, of training, or of a later request.
NEVER = {
    "agate",
    "awswrangler",
    "dbt",
    "jinja2",
    "jsonschema",
    "numpy",
    "pandas",
    "pyarrow",
    "snowflake",
    "torch",
}
NOT_WITH_THE_HANDLER = {"aws_xray_sdk", "boto3", "botocore", "crawleruseragents", "urllib3"}


@pytest.fixture(scope="module")
def modules() -> tuple[set[str], set[str]]:
    """Return the modules that app.py loads at import, and those after its first batch of events."""
    body = json.dumps({"shop_id": "demo"}).encode()
    request = Request(
        "POST", "/events", "key=local-demo", [("Content-Type", "application/json")], body, "203.0.113.9"
    )
    event = build_event(
        request,
        api_id="test",
        stage="api",
        resource="/events",
        path="/events",
        path_parameters={},
        binary_types=[],
        trace="Root=1",
    )
    config = json.loads((REPOSITORY / ".chalice" / "config.json").read_text())["stages"]["local"]
    own: dict[str, Any] = config["lambda_functions"]["api_handler"]["environment_variables"]
    settings = {**config["environment_variables"], **own}
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(event)],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    imported, used, answer = json.loads(done.stdout.splitlines()[-1])
    assert json.loads(answer)["accepted"] == 0
    return set(imported), set(used)


def is_of_a_step(name: str) -> bool:
    return name.startswith("functions.") and name.split(".")[1] not in ("platform", "wiring")


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_importing_the_handler_loads_only_our_routes_and_chalice(
    modules: tuple[set[str], set[str]],
) -> None:
    imported, _ = modules
    assert packages(imported) & (NEVER | NOT_WITH_THE_HANDLER) == set()
    # A step is imported by the request that needs it.
    steps = {name for name in imported if is_of_a_step(name)}
    assert steps == set()


def test_taking_events_loads_nothing_of_the_pipeline(modules: tuple[set[str], set[str]]) -> None:
    _, used = modules
    assert packages(used) & NEVER == set()
    steps = {name.split(".")[1] for name in used if is_of_a_step(name)}
    assert steps == {"collect"}


def test_recommending_with_rules_loads_no_yaml_and_no_time_zones() -> None:
    """`make rules` compiles them: /recommend reads JSON with times in milliseconds."""
    code = "import sys, functions.recommend.recommend, functions.recommend.steering; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    loaded = packages(set(done.stdout.split()))
    assert loaded & {*NEVER, *NOT_WITH_THE_HANDLER, "yaml", "zoneinfo", "statistics"} == set()
