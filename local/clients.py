"""boto3 clients of the local AWS."""

from __future__ import annotations

from typing import Any

from local.environment import ACCESS_KEY, REGION, SECRET_KEY


def aws_client(service: str, endpoint_url: str, **options: Any) -> Any:
    """Return a client of one service at `endpoint_url`, of the administrator unless `options` for boto3 have other keys."""
    import boto3

    keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
    return boto3.client(service, endpoint_url=endpoint_url, region_name=REGION, **{**keys, **options})
