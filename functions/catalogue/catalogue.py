"""Fold new files of catalogue/ into the current state of their shop, each exactly once.

Every change says what is so from now on, so the log's last files can be applied again, in their order, without an effect.
A call therefore applies the first file that the state lacks and all files after it. A repeated, late or lost event, a killed
call and two calls at once all lead to the same state: docs/decisions/0067-catalogue-at-the-edge.md.
"""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_files import CatalogueFile, files_since, parsed_key
from functions.platform.catalogue_store import LATE_MS, Stored, folded, folded_names, replace_state
from functions.platform.contract import CatalogueResult
from functions.platform.log import get_logger
from functions.platform.settings import CatalogueSettings

log = get_logger(__name__)


def catalogue(
    event: dict[str, Any],
    settings: CatalogueSettings,
    s3: Any,
    wait: Callable[[float], None] = time.sleep,
) -> CatalogueResult:
    """Bring the state of a shop up to date, after the file `key` of the event was written.

    Raises:
        StorageUnavailable: other calls replaced the state each time. EventBridge's event is tried again.
    """
    arrived = parsed_key(event["key"])
    if arrived is None:
        log.warning(
            "not a file of an import or of PUT /catalogue: only the nightly run reads it", key=event["key"]
        )
        return {"shop_id": None, "files": 0, "products": 0}
    result: CatalogueResult = {"shop_id": arrived.shop_id, "files": 0, "products": 0}
    if arrived.name in folded_names(s3, settings.models_bucket, arrived.shop_id):
        return result

    def build(stored: Stored) -> bytes | None:
        files = _unfolded(arrived, stored, s3, settings.events_bucket)
        if not files:
            return None
        editor = CatalogueEditor(stored.state)
        packed = folded(editor, files, stored.state, s3, settings.events_bucket)
        result["files"], result["products"] = len(files), len(editor)
        return packed

    replace_state(arrived.shop_id, s3, settings.models_bucket, build, wait)
    now_ms = time.time_ns() // 1_000_000
    log.info("folded", shop_id=arrived.shop_id, files=result["files"], products=result["products"],
             ms_after_receipt=now_ms - arrived.received_at_ms)  # fmt: skip
    return result


def _unfolded(arrived: CatalogueFile, stored: Stored, s3: Any, bucket: str) -> Sequence[CatalogueFile]:
    """Return the first file that the state lacks, and all files after it. Without a state, that is the whole log."""
    if stored.state is None:
        return files_since(s3, bucket, arrived.shop_id, 0)
    # A state of a shop without files, made by Export, has the time 0.
    since_ms = max(0, min(arrived.received_at_ms, stored.state.changed_at_ms - LATE_MS))
    files = files_since(s3, bucket, arrived.shop_id, since_ms)
    return after_the_first_unfolded(files, stored.state.folded)


def after_the_first_unfolded(
    files: Sequence[CatalogueFile], names: Collection[str]
) -> Sequence[CatalogueFile]:
    """Return the files from the first one on whose name is not listed."""
    known = frozenset(names)
    first = next((number for number, file in enumerate(files) if file.name not in known), len(files))
    return files[first:]
