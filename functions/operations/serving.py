"""The releases on record of each shop, and what its endpoint serves."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from functions.operations.model import ReleaseRow, Serving
from functions.platform.endpoint import find
from functions.platform.releases import Release, read_record, served_shops


def read_serving(s3: Any, sagemaker: Any, bucket: str, endpoints: dict[str, str]) -> list[Serving]:
    """Return the releases and the endpoint of each trained shop, and of each other shop that has a release.

    `endpoints` has the endpoint of each trained shop, which has none on record before its first release.
    """
    others = (shop for shop in served_shops(s3, bucket) if shop not in endpoints)
    return [_read(s3, sagemaker, bucket, shop, endpoints.get(shop, "")) for shop in (*endpoints, *others)]


def endpoints_of(serving: Iterable[Serving]) -> dict[str, str]:
    """Return the endpoint of each shop."""
    return {one.shop_id: one.endpoint for one in serving}


def _read(s3: Any, sagemaker: Any, bucket: str, shop: str, endpoint: str) -> Serving:
    record = read_record(s3, bucket, shop)
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
        shop,
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
