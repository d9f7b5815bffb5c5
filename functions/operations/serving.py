"""The release on record, and what the endpoint serves."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from functions.operations.model import ReleaseRow, Serving
from functions.platform.endpoint import find
from functions.platform.releases import Release, read_record


def read_serving(s3: Any, sagemaker: Any, bucket: str, endpoint: str) -> Serving:
    """Return the releases on record and the state of their endpoint. Before the first release, of the stage's endpoint."""
    record = read_record(s3, bucket)
    canary = record.canary
    places = (
        ("current", record.current),
        ("canary", canary.release if canary else None),
        ("previous", record.previous),
    )
    rows = [_row(place, one) for place, one in places if one]
    name = record.current.endpoint if record.current else endpoint
    described = find(sagemaker.describe_endpoint, EndpointName=name)
    return Serving(
        rows,
        name,
        str(described["EndpointStatus"]) if described else "",
        # Until a move ends, this is the configuration that still answers.
        str(described["EndpointConfigName"]) if described else "",
        canary.share if canary else 0,
    )


def _row(place: str, release: Release) -> ReleaseRow:
    values = asdict(release)
    return ReleaseRow(
        place=place,
        config=values.pop("endpoint_config"),
        published_at=datetime.fromisoformat(release.published_at),
        **{
            name: values[name]
            for name in ("model_version", "endpoint", "run_id", "snapshot_id", "model_data_uri")
        },
    )
