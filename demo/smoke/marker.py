"""The models that smoke tests have published on a stage. Only these may be replaced by another smoke test."""

import json
from typing import Any

from botocore.exceptions import ClientError

from deploy.stages import Stage
from functions.platform.releases import Release

KEY = "smoke/models.json"


def is_ours(stage: Stage, account_id: str, release: Release, s3: Any) -> bool:
    """Return True if a smoke test published the release."""
    return release.model_version in _read(stage, account_id, s3)


def add(stage: Stage, account_id: str, release: Release, s3: Any) -> None:
    """Note the release as a smoke test's."""
    versions = sorted({*_read(stage, account_id, s3), release.model_version})
    s3.put_object(Bucket=stage.models_bucket(account_id), Key=KEY, Body=json.dumps(versions).encode())


def _read(stage: Stage, account_id: str, s3: Any) -> list[str]:
    try:
        stored = s3.get_object(Bucket=stage.models_bucket(account_id), Key=KEY)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return []
    versions: list[str] = json.loads(stored)
    return versions
