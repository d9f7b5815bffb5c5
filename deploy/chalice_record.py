"""Chalice's record of a stage, kept in the models bucket.

Chalice finds the stage's API by this file alone. Without it, a second engineer's deployment would make a second API at another
address, while the shop's pages go on to send to the first.
"""

import json
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from deploy.chalice_cli import record_file
from deploy.stages import Stage

KEY = "deployed/chalice.json"


def fetch(stage: Stage, bucket: str, s3: Any) -> Path | None:
    """Write the bucket's record to where Chalice reads it, and return its path. Without one, keep the file that is there.

    Returns:
        None if there is no record at all: Chalice has not deployed the stage.
    """
    path = record_file(stage)
    try:
        body = s3.get_object(Bucket=bucket, Key=KEY)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "NoSuchBucket"):
            raise
        return path if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def keep(stage: Stage, bucket: str, s3: Any) -> None:
    """Copy Chalice's record to the bucket."""
    s3.put_object(Bucket=bucket, Key=KEY, Body=record_file(stage).read_bytes())


def remove(stage: Stage, bucket: str, s3: Any) -> None:
    """Delete the record here and in the bucket. A bucket that does not exist holds none."""
    record_file(stage).unlink(missing_ok=True)
    try:
        s3.delete_object(Bucket=bucket, Key=KEY)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise


def api_of(record: Path) -> dict[str, str] | None:
    """Return the entry of the API (`rest_api_id`, `rest_api_url`) in a record, None if it has none."""
    resources = json.loads(record.read_text())["resources"]
    return next((resource for resource in resources if "rest_api_id" in resource), None)
