"""Changes of products in a file of JSON Lines, stored as PUT /catalogue stores those of a shop's back end."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catalogue.rows import FeedUnreadable
from catalogue.tables import open_bytes
from functions.catalogue.batch import Batch, Refused, parse_batch
from functions.catalogue.intake import Intake, store
from functions.platform.contract import (
    CATALOGUE_BATCH_LINES_MAX,
    CATALOGUE_BATCH_MAX_BYTES,
    CATALOGUE_LINE_MAX_BYTES,
)

SHOWN_REFUSED = 100


def is_changes(path: Path) -> bool:
    """Return True if the file begins with a JSON object."""
    with open_bytes(path) as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def read_changes(path: Path, shop_id: str) -> Iterator[Batch]:
    """Yield the batches of a file, each within the limits of a request. Blank lines count as lines.

    Raises:
        FeedUnreadable: a line is larger than any line may be.
    """
    with open_bytes(path) as file:
        lines: list[bytes] = []
        size = 0
        for number, line in enumerate(file, 1):
            if len(line) > CATALOGUE_LINE_MAX_BYTES:
                raise FeedUnreadable(
                    f"{path}, line {number}: {len(line):,} bytes, at most {CATALOGUE_LINE_MAX_BYTES:,} are taken"
                )
            if len(lines) == CATALOGUE_BATCH_LINES_MAX or size + len(line) > CATALOGUE_BATCH_MAX_BYTES:
                yield _parsed(lines, shop_id, number - len(lines))
                lines, size = [], 0
            lines.append(line)
            size += len(line)
        if lines:
            yield _parsed(lines, shop_id, number - len(lines) + 1)


def _parsed(lines: list[bytes], shop_id: str, first: int) -> Batch:
    batch = parse_batch(b"".join(lines), shop_id)
    refused = [one._replace(line=one.line + first - 1) for one in batch.refused]
    return batch._replace(refused=refused)


def import_changes(path: Path, shop_id: str, s3: Any | None, bucket: str) -> tuple[list[str], int]:
    """Store the changes of a file unless `s3` is None.

    Returns:
        The outcome in lines for a person, and the number of refused lines.

    Raises:
        FeedUnreadable: the file cannot be read.
    """
    accepted, refused = 0, list[Refused]()
    products = set[str]()
    for batch in read_changes(path, shop_id):
        if s3 is not None and batch.changes:
            store(batch, shop_id, time.time_ns() // 1_000_000, None, Intake(s3, bucket))
        accepted += batch.accepted
        refused += batch.refused
        products |= batch.changes.keys()
    lines = [f"{path}: {accepted:,} changes of {len(products):,} products, {len(refused):,} lines refused"]
    lines += [f"  line {one.line}: {one.reason}: {one.message}" for one in refused[:SHOWN_REFUSED]]
    if len(refused) > SHOWN_REFUSED:
        lines.append(f"  ... and {len(refused) - SHOWN_REFUSED:,} more")
    lines.append("dry run: nothing was written" if s3 is None else "recommendations follow within 5 minutes")
    return lines, len(refused)
