"""The request of a job from a laptop: the state Train of the definition, evaluated for a run's snapshot."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy import template
from deploy.training_request import TrainError, latest_snapshots, read_manifest, training_request
from testing.fakes import FakeS3

DEFINITION: dict[str, Any] = json.loads(template.PIPELINE_FILE.read_text())
MANIFEST = {
    "snapshot_id": "s1",
    "interactions_uri": "s3://b/exports/s1/i/",
    "items_uri": "s3://b/exports/s1/x/",
}


def with_runs(*run_ids: str) -> FakeS3:
    """Return a bucket with these snapshots, oldest first."""
    s3 = FakeS3()
    for number, run_id in enumerate(run_ids):
        key = ("models", f"exports/{run_id}/manifest.json")
        s3.objects[key] = json.dumps({"run_id": run_id, "shop_id": "demo", "interactions": 1200}).encode()
        s3.objects["models", f"exports/{run_id}/items/a.parquet"] = b""
        s3.stored_at[key] = datetime(2026, 11, 1 + number, 4, 5, tzinfo=UTC)
    return s3


def text_of(definition: dict[str, Any]) -> dict[str, Any]:
    """Return the definition as it is deployed with spot instances."""
    text = json.dumps(definition).replace("${UseSpot}", "true").replace("${Prefix}", "tugboat-dev")
    deployed: dict[str, Any] = json.loads(text)
    return deployed


def test_the_request_has_the_snapshot_the_settings_and_a_name_of_its_own() -> None:
    request = training_request(text_of(DEFINITION), "adhoc-1", MANIFEST, {"epochs": "3"})
    assert request["TrainingJobName"] == "tugboat-dev-adhoc-1-0-0"
    assert request["HyperParameters"]["epochs"] == "3"
    assert request["HyperParameters"]["snapshot_id"] == "s1"
    channels = [channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in request["InputDataConfig"]]
    assert channels == [MANIFEST["interactions_uri"], MANIFEST["items_uri"]]
    assert request["CheckpointConfig"]["S3Uri"].endswith("/checkpoints/adhoc-1/")
    assert request["EnableManagedSpotTraining"] is True
    assert request["StoppingCondition"].keys() == {"MaxRuntimeInSeconds", "MaxWaitTimeInSeconds"}


def test_a_hyperparameter_cannot_replace_the_snapshot_or_the_code() -> None:
    mine = {"snapshot_id": "other", "sagemaker_program": "other.py"}
    request = training_request(text_of(DEFINITION), "adhoc-1", MANIFEST, mine)
    assert request["HyperParameters"]["snapshot_id"] == "s1"
    assert request["HyperParameters"]["sagemaker_program"] == "train.py"


def test_no_expression_is_left_in_the_request() -> None:
    request = training_request(text_of(DEFINITION), "adhoc-1", MANIFEST, {})
    assert "{%" not in json.dumps(request)


def test_an_expression_that_needs_more_than_a_snapshot_is_refused() -> None:
    changed = text_of(DEFINITION)
    changed["States"]["Train"]["Arguments"]["RoleArn"] = "{% $evaluation.role %}"
    with pytest.raises(TrainError, match=r"\$evaluation\.role.*make deploy"):
        training_request(changed, "adhoc-1", MANIFEST, {})


def test_the_latest_snapshots_come_first() -> None:
    found = latest_snapshots(with_runs("a", "b", "c"), "models", limit=2)
    assert [one.run_id for one in found] == ["c", "b"]
    assert f"{found[0]}" == "c  shop demo, 1,200 interactions, 2026-11-03 04:05 UTC"


def test_an_unknown_run_is_refused_with_the_latest_ones() -> None:
    with pytest.raises(
        TrainError, match=r"(?s)exports/x/manifest\.json does not exist.*\n  b  shop.*\n  a  shop"
    ):
        read_manifest(with_runs("a", "b"), "models", "x")


def test_a_stage_without_snapshots_is_told_how_to_get_one() -> None:
    with pytest.raises(TrainError, match="make run writes one"):
        read_manifest(FakeS3(), "models", "x")
