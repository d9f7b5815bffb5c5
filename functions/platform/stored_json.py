"""Objects on S3 that may not exist yet."""

import json
from collections.abc import Collection
from typing import Any

from functions.platform.log import get_logger

log = get_logger(__name__)

MISSING = ("NoSuchKey", "404")
# Without s3:ListBucket, S3 answers 403 for a key that does not exist:
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
ABSENT = (*MISSING, "AccessDenied", "403")
# The object has the ETag of `IfNoneMatch`. botocore makes an error of it.
NOT_MODIFIED = "304"


def find_object(
    s3: Any, bucket: str, key: str, absent: Collection[str] = ABSENT, **options: str
) -> dict[str, Any] | None:
    """Return S3's answer with the object, or None if there is none.

    Args:
        s3: an S3 client.
        bucket: the bucket.
        key: the key.
        absent: the codes of errors that say so. With `MISSING`, a refusal is an error.
        options: other fields of GetObject, such as `Range`.

    Raises:
        BotoCoreError, ClientError: S3 did not answer, or refused.
    """
    from botocore.exceptions import ClientError

    try:
        found: dict[str, Any] = s3.get_object(Bucket=bucket, Key=key, **options)
    except ClientError as error:
        if error.response["Error"]["Code"] in absent:
            return None
        raise
    return found


def find_bytes(s3: Any, bucket: str, key: str, absent: Collection[str] = ABSENT) -> bytes | None:
    """Return the content of an object, or None if there is none. It raises what `find_object` raises."""
    found = find_object(s3, bucket, key, absent)
    return None if found is None else bytes(found["Body"].read())


def read_json(s3: Any, bucket: str, key: str) -> Any | None:
    """Return a parsed object, or None if there is none.

    Raises:
        BotoCoreError, ClientError: S3 did not answer, or refused.
        ValueError: the object is not JSON.
    """
    found = find_bytes(s3, bucket, key)
    if found is None:
        log.info("nothing stored", bucket=bucket, key=key)
        return None
    stored = json.loads(found)
    if stored is None:
        raise ValueError(f"{key} is null")
    return stored
