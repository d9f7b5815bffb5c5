"""A stage with one release in fakes: its archive is a real one, trained on the small shop."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.explain.explanation import Explanation, explain
from deploy.explain.model import Clients
from deploy.explain.trace import Trace, from_raw_files
from functions.platform.releases import Release
from functions.platform.s3_keys import current_key
from testing.fakes import FakeS3, client_error
from tests.unit.training_jobs.conftest import Trained
from training_jobs.serving.model_files import load_recommender

EVENTS, MODELS = "events", "models"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:tugboat-dev-pipeline"
EXECUTION = MACHINE.replace("stateMachine", "execution") + ":nightly"
RUN_ID = "20261129-7a6d5f4e3c2b"
NOW = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)
ISSUED_MS = int(datetime(2026, 11, 29, 12, 0, tzinfo=UTC).timestamp() * 1000)
KEY = "raw/2026/11/29/12/a.gz"
ARCHIVE = f"s3://{MODELS}/serving/releases/r/model.tar.gz"


def event(number: int, name: str, *items: str, after_ms: int = 0, **more: Any) -> dict[str, Any]:
    """Return an event of the session s-1, `after_ms` the answer."""
    server = {"event_time_ms": ISSUED_MS + after_ms, **more.pop("server", {})}
    return {
        "event_id": f"e{number}",
        "event_name": name,
        "shop_id": "shop",
        "client_id": "client-7",
        "session_id": "s-1",
        "items": [{"item_id": item} for item in items],
        **more,
        "server": server,
    }


def stamp(*items: tuple[str, int], verdict: str = "valid", **more: Any) -> dict[str, Any]:
    """Return the field `server` of an event with a receipt of the answer r-1."""
    document = {
        "verdict": verdict,
        "recommendation_id": "r-1",
        "model_version": "m1",
        "variant": "AllTraffic",
        "issued_at_ms": ISSUED_MS,
        "items": [{"item_id": item, "slot": slot} for item, slot in items],
    }
    return {"receipts": [{**document, **more}]}


class FakeSageMaker:
    """One training job and one model."""

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        if TrainingJobName != "m1":
            raise client_error("ValidationException", "Requested resource not found.")
        return {
            "TrainingJobStatus": "Completed",
            "AlgorithmSpecification": {"TrainingImage": "image:1"},
            "HyperParameters": {
                "sagemaker_submit_directory": f'"s3://{MODELS}/code/abc/sourcedir.tar.gz"',
                "snapshot_id": RUN_ID,
                "epochs": "3",
            },
            "ModelArtifacts": {"S3ModelArtifacts": f"s3://{MODELS}/training/m1/output/model.tar.gz"},
            "CreationTime": NOW,
        }

    def describe_model(self, ModelName: str) -> dict[str, Any]:
        return {"PrimaryContainer": {"Image": "serving:1"}}


class FakeStepFunctions:
    """One execution, whose ARN does not give the run id: as if its history were gone."""

    def get_paginator(self, operation: str) -> "FakeStepFunctions":
        assert operation == "list_executions"
        return self

    def paginate(self, stateMachineArn: str) -> list[dict[str, Any]]:
        return [
            {"executions": [{"executionArn": EXECUTION, "status": "SUCCEEDED", "startDate": NOW}]},
        ]


@pytest.fixture(scope="session")
def packed_archive(trained: Trained) -> bytes:
    """The archive of the small shop's model as SageMaker packs it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        tar.add(trained.model_dir, ".", filter=_without_bytecode)
    return out.getvalue()


def _without_bytecode(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in entry.name else entry


@pytest.fixture(scope="session")
def answer(trained: Trained) -> list[str]:
    """The model's answer after sku-020, sku-021."""
    return load_recommender(trained.model_dir)[0].recommend(["sku-020", "sku-021"], 10).items


@dataclass
class World:
    """The fakes, and what explain makes of them."""

    s3: FakeS3

    def store(self, *events: dict[str, Any], key: str = KEY) -> None:
        """Store events as a raw file."""
        lines = b"".join(json.dumps(one).encode() + b"\n" for one in events)
        self.s3.objects[EVENTS, key] = gzip.compress(lines)

    def trace(self, recommendation_id: str = "r-1") -> Trace | None:
        return from_raw_files(self.s3, EVENTS, recommendation_id, 3, NOW)

    def explanation(self, trace: Trace | None = None) -> Explanation:
        trace = trace or self.trace()
        assert trace is not None
        clients = Clients(self.s3, FakeSageMaker(), FakeStepFunctions())
        return explain("dev", trace, clients, (EVENTS, MODELS), MACHINE)


@pytest.fixture
def world(packed_archive: bytes) -> World:
    s3 = FakeS3()
    s3.objects[MODELS, "serving/releases/r/model.tar.gz"] = packed_archive
    release = Release("e", "c", "n", "m1", ARCHIVE, RUN_ID, RUN_ID, "2026-11-29T03:00:00+00:00", "shop")
    stored = {"release": asdict(release), "previous": None}
    s3.objects[MODELS, current_key("shop")] = json.dumps(stored).encode()
    manifest = {
        "run_id": RUN_ID,
        "snapshot_id": RUN_ID,
        "interactions": 5,
        "sessions": 2,
        "items": 3,
        "manifest_uri": f"s3://{MODELS}/exports/{RUN_ID}/manifest.json",
    }
    s3.objects[MODELS, f"exports/{RUN_ID}/manifest.json"] = json.dumps(manifest).encode()
    evaluation = {
        "passed": True,
        "failures": [],
        "override_reason": None,
        "checks": [1, 2],
        "champion": "none",
    }
    s3.objects[MODELS, f"evaluation/{RUN_ID}/evaluation.json"] = json.dumps(evaluation).encode()
    s3.objects[MODELS, f"reports/validation/{RUN_ID}.html"] = b"<html>"
    return World(s3)


@pytest.fixture
def seen(world: World, answer: list[str]) -> Callable[..., World]:
    """A session of two views, an answer, and a look at its first two items."""

    def make(shown: list[str] | None = None, **more: Any) -> World:
        first, second = (shown or answer)[:2]
        world.store(
            event(1, "view_item", "sku-020", after_ms=-60_000),
            event(2, "page_view", after_ms=-30_000),
            event(3, "view_item", "sku-021", after_ms=-5_000),
            event(
                4,
                "recommendation_impression",
                first,
                second,
                after_ms=2_000,
                recommendation_id="r-1",
                server=stamp((first, 0), (second, 1), **more),
            ),
            event(5, "view_item", first, after_ms=4_000),
        )
        return world

    return make
