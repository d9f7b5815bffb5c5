"""Store a batch of changes below catalogue/, once per idempotency key."""

import gzip
import hashlib
import json
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from functions.catalogue.batch import Batch
from functions.platform.catalogue_files import new_key
from functions.platform.contract import CATALOGUE_CLAIMS_PREFIX
from functions.platform.errors import Reason, RequestRefused, StorageUnavailable

PRESENT = "PreconditionFailed"


class Intake(NamedTuple):
    """An S3 client, and the bucket of events and catalogues."""

    s3: Any
    bucket: str


def store(
    batch: Batch, shop_id: str, received_at_ms: int, idempotency_key: str | None, intake: Intake
) -> int:
    """Write the changes of a batch to a file of their own, and return the time of their receipt.

    A repeated request has the time of the first one, so it writes the same file, and changes that came between the two stay.

    Raises:
        RequestRefused: the idempotency key came with other changes before.
        StorageUnavailable: S3 did not answer. Send the batch again.
    """
    content = _digest(batch)
    if idempotency_key is not None:
        received_at_ms = _claimed(idempotency_key, shop_id, received_at_ms, content, intake)
    lines = (change.stored(shop_id, item_id, received_at_ms) for item_id, change in batch.changes.items())
    body = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    received_at = datetime.fromtimestamp(received_at_ms / 1000, UTC)
    key = new_key(shop_id, received_at, len(batch.changes), content[:16], is_changes=True)
    # mtime=0: the same changes give the same bytes.
    _put_new(key, gzip.compress(body, compresslevel=6, mtime=0), "application/gzip", intake)
    return received_at_ms


def _digest(batch: Batch) -> str:
    content = {item_id: [change.fields, change.is_deleted] for item_id, change in batch.changes.items()}
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def _claimed(idempotency_key: str, shop_id: str, received_at_ms: int, content: str, intake: Intake) -> int:
    """Return the time of the first request with this key. The first one to write the claim is the first."""
    name = hashlib.sha256(idempotency_key.encode("utf-8", "surrogatepass")).hexdigest()
    key = f"{CATALOGUE_CLAIMS_PREFIX}{quote(shop_id, safe='')}/{name}.json"
    claim = {"received_at_ms": received_at_ms, "content": content}
    if _put_new(key, json.dumps(claim).encode(), "application/json", intake):
        return received_at_ms
    found = _read(key, intake)
    if found["content"] != content:
        raise RequestRefused(
            Reason.IDEMPOTENCY_KEY_REUSED,
            "this Idempotency-Key came with another batch before: give each batch a key of its own",
        )
    return int(found["received_at_ms"])


def _put_new(key: str, body: bytes, content_type: str, intake: Intake) -> bool:
    """Write an object unless the key has one. Return True if it was written."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        intake.s3.put_object(
            Bucket=intake.bucket, Key=key, Body=body, ContentType=content_type, IfNoneMatch="*"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == PRESENT:
            return False
        raise StorageUnavailable(f"s3://{intake.bucket}/{key}: {error}") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"s3://{intake.bucket}/{key}: {error}") from error
    return True


def _read(key: str, intake: Intake) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        body = intake.s3.get_object(Bucket=intake.bucket, Key=key)["Body"].read()
    except (BotoCoreError, ClientError) as error:
        raise StorageUnavailable(f"s3://{intake.bucket}/{key}: {error}") from error
    found: dict[str, Any] = json.loads(body)
    return found
