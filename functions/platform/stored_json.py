"""JSON objects on S3 that may not exist yet."""

import json
from typing import Any

from functions.platform.log import get_logger

log = get_logger(__name__)

# Without s3:ListBucket, S3 answers 403 for a key that does not exist:
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
ABSENT = ("NoSuchKey", "AccessDenied", "404", "403")


def read_json(s3: Any, bucket: str, key: str) -> Any | None:
    """Return a parsed object, or None if there is none.

    Raises:
        BotoCoreError, ClientError: S3 did not answer, or refused.
        ValueError: the object is not JSON.
    """
    from botocore.exceptions import ClientError

    try:
        stored = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] in ABSENT:
            log.info("nothing stored", bucket=bucket, key=key)
            return None
        raise
    if stored is None:
        raise ValueError(f"{key} is null")
    return stored
