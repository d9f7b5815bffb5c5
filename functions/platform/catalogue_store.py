"""The stored state of a shop's catalogue: read with its ETag, and replaced only if nobody replaced it meanwhile."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_files import CatalogueFile, apply_file
from functions.platform.catalogue_state import CatalogueState, read_header, state_key, unpack
from functions.platform.errors import StorageUnavailable
from functions.platform.log import get_logger
from functions.platform.stored_json import find_object

log = get_logger(__name__)

# 412: the object differs. 409: another request was faster. 404: the object was deleted in between.
REPLACED = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")
# The states that list the last files are read often, so their names come first in the file.
HEADER_BYTES = 65_536
# A file can be listed after later ones: its Lambda has up to 29 s for it, and the clocks of machines differ.
LATE_MS = 300_000
TRIES = 8
WAIT_S = 0.2


class Stored(NamedTuple):
    """A state and its ETag; neither, if the shop has none. A damaged state is only its ETag."""

    state: CatalogueState | None
    etag: str | None


def read_state(s3: Any, bucket: str, shop_id: str) -> Stored:
    """Return the state of a shop."""
    found = _get(s3, bucket, shop_id)
    if found is None:
        return Stored(None, None)
    etag = str(found["ETag"])
    try:
        return Stored(unpack(found["Body"].read()), etag)
    except (KeyError, ValueError) as error:
        log.exception("the catalogue state is damaged, and is built anew", shop_id=shop_id, cause=str(error))
        return Stored(None, etag)


def folded_names(s3: Any, bucket: str, shop_id: str) -> frozenset[str]:
    """Return the names of the files that the state certainly contains, by its first bytes."""
    found = _get(s3, bucket, shop_id, Range=f"bytes=0-{HEADER_BYTES - 1}")
    if found is None:
        return frozenset()
    try:
        header, _ = read_header(found["Body"].read())
        return frozenset(header["folded"])
    except (KeyError, ValueError):  # a longer header, or a damaged file: the caller reads all of it
        return frozenset()


def _get(s3: Any, bucket: str, shop_id: str, **options: str) -> dict[str, Any] | None:
    # Not to be allowed to read looks alike. Then no write is lost: it has the condition that there is no object.
    return find_object(s3, bucket, state_key(shop_id), **options)


def replace_state(
    shop_id: str,
    s3: Any,
    bucket: str,
    build: Callable[[Stored], bytes | None],
    wait: Callable[[float], None] = time.sleep,
) -> bool:
    """Replace the state by what `build` returns for the present one, and build again if another call was faster.

    Returns:
        False if `build` returned None, so that nothing was written.

    Raises:
        StorageUnavailable: other calls were faster each time.
    """
    for attempt in range(TRIES):
        stored = read_state(s3, bucket, shop_id)
        packed = build(stored)
        if packed is None:
            return False
        if _put(s3, bucket, shop_id, packed, stored.etag):
            return True
        # Random: two calls that failed together must not meet again.
        wait(WAIT_S * 2**attempt * random.uniform(0.5, 1.5))
    raise StorageUnavailable(
        f"the catalogue state of {shop_id} was replaced by others {TRIES} times: run the call again"
    )


def _put(s3: Any, bucket: str, shop_id: str, packed: bytes, etag: str | None) -> bool:
    from botocore.exceptions import ClientError

    condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    try:
        s3.put_object(
            Bucket=bucket,
            Key=state_key(shop_id),
            Body=packed,
            ContentType="application/octet-stream",
            **condition,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in REPLACED:
            return False
        raise
    return True


def folded(
    editor: CatalogueEditor,
    files: Sequence[CatalogueFile],
    before: CatalogueState | None,
    s3: Any,
    bucket: str,
) -> bytes:
    """Apply files to an editor, and return the packed state, which lists the files of the last minutes.

    `bucket` has the files. `before` is the state that the editor began with, if it began with one.
    """
    for file in files:
        apply_file(editor, file, s3, bucket)
    names = {file.name for file in files} | set(before.folded if before else ())
    newest_ms = max([int(name[:13]) for name in names], default=0)
    kept = sorted(name for name in names if int(name[:13]) >= newest_ms - LATE_MS)
    changed_at_ms = max(newest_ms, before.changed_at_ms if before else 0)
    return editor.packed(changed_at_ms, kept)
