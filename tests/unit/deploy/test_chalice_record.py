"""Chalice's record travels through the models bucket, so that a second clone finds the API of the first."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from deploy import chalice_cli, chalice_record
from deploy.stages import read_stage

DEV = read_stage("dev")
BUCKET = DEV.models_bucket("123456789012")
RECORD = {
    "resources": [{"name": "load"}, {"name": "rest_api", "rest_api_id": "abc", "rest_api_url": "https://x/"}]
}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def _clone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in another clone of the repository; return the path of its record."""
    monkeypatch.setattr(chalice_cli, "DEPLOYED", folder)
    return chalice_cli.record_file(DEV)


def test_a_second_clone_gets_the_record_of_the_first(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _clone(tmp_path / "first", monkeypatch)
    first.parent.mkdir()
    first.write_text(json.dumps(RECORD))
    chalice_record.keep(DEV, BUCKET, s3)
    second = _clone(tmp_path / "second", monkeypatch)
    assert chalice_record.fetch(DEV, BUCKET, s3) == second
    api = chalice_record.api_of(second)
    assert api is not None
    assert api["rest_api_id"] == "abc"


def test_the_buckets_record_replaces_an_old_one(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = _clone(tmp_path, monkeypatch)
    record.write_text(json.dumps(RECORD))
    chalice_record.keep(DEV, BUCKET, s3)
    record.write_text(json.dumps({"resources": []}))
    chalice_record.fetch(DEV, BUCKET, s3)
    assert json.loads(record.read_text()) == RECORD


def test_without_a_record_in_the_bucket_the_one_of_this_clone_counts(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = _clone(tmp_path, monkeypatch)
    assert chalice_record.fetch(DEV, BUCKET, s3) is None
    assert chalice_record.fetch(DEV, "tugboat-dev-models-999999999999", s3) is None
    record.write_text(json.dumps(RECORD))
    assert chalice_record.fetch(DEV, BUCKET, s3) == record


def test_a_destroyed_stage_leaves_no_record(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = _clone(tmp_path, monkeypatch)
    record.write_text(json.dumps(RECORD))
    chalice_record.keep(DEV, BUCKET, s3)
    chalice_record.remove(DEV, BUCKET, s3)
    assert chalice_record.fetch(DEV, BUCKET, s3) is None
    chalice_record.remove(DEV, "tugboat-dev-models-999999999999", s3)


def test_a_record_without_an_api_has_none(tmp_path: Path) -> None:
    record = tmp_path / "dev.json"
    record.write_text(json.dumps({"resources": [{"name": "load"}]}))
    assert chalice_record.api_of(record) is None
