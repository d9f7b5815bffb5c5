"""Write a feed's products to the events bucket: one file per state of a shop's catalogue, and none for the present one."""

import gzip
import json
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from msgspec import to_builtins
from msgspec.json import encode

from catalogue.formats import Format, Options
from catalogue.products import Content, Counts, products
from catalogue.rows import FeedUnreadable, Outcomes, Reject
from functions.platform.catalogue_files import files_since, new_key
from functions.platform.contract import (
    CATALOGUE_PREFIX,
    CATALOGUE_REJECTED_ROW_MAX_CHARACTERS,
    REJECTED_CATALOGUE_PREFIX,
)
from functions.platform.product import Product

SHOWN_REJECTS = 5
# An export that broke off looks like a shorter catalogue.
SMALLEST_REMAINING_SHARE = 0.5


class FeedRefused(Exception):
    """The feed can be read, but is not imported. The message says why, and what to do next."""


@dataclass(frozen=True)
class Feed:
    """A feed that is to be imported as the whole catalogue of a shop."""

    path: Path
    format: Format
    shop_id: str
    item_id: str
    options: Options
    imported_at: datetime

    @property
    def imported_at_ms(self) -> int:
        """Return the time of the import in milliseconds."""
        return int(self.imported_at.timestamp() * 1000)


@dataclass
class Imported:
    """The outcome of an import. `key` is the file that holds this state; `is_new` is False if it was there before."""

    counts: Counts = field(default_factory=Counts)
    first_rejects: list[Reject] = field(default_factory=list)
    fingerprint: str = ""
    key: str | None = None
    is_new: bool = False
    rejects_key: str | None = None


@dataclass(frozen=True)
class Files:
    """The two files that an import writes, before they are sent."""

    products: IO[bytes]
    rejects: IO[bytes]


def import_feed(
    feed: Feed, largest_rejected_share: float, s3: Any | None, bucket: str, *, allow_removals: bool = False
) -> Imported:
    """Read the feed, and write its products and rejected rows unless `s3` is None.

    Nothing is written if the newest file of the shop holds the same products. A batch of changes after it is newer.

    Raises:
        FeedUnreadable: the file cannot be read.
        FeedRefused: too many rows are rejected, none is a product, or most products of the state before are missing.
    """
    with tempfile.TemporaryFile() as accepted, tempfile.TemporaryFile() as refused:
        files = Files(accepted, refused)
        imported = _read(feed, files)
        _judge(feed, imported, largest_rejected_share)
        if s3 is not None:
            _send(feed, imported, files, s3, bucket, allow_removals)
    return imported


def outcomes(feed: Feed) -> Outcomes:
    """Return the rows of the feed.

    Raises:
        FeedUnreadable: the file cannot be read, or its prices need a currency.
    """
    if not feed.format.has_currency and not feed.options.currency:
        raise FeedUnreadable(
            f"a {feed.format.name} feed does not name the currency of its prices: add --currency EUR"
        )
    return feed.format.read(feed.path, feed.options)


def _read(feed: Feed, files: Files) -> Imported:
    """Write the two files, and return the counts."""
    imported, content = Imported(), Content()
    stamp = {
        "feed_id": f"{feed.imported_at_ms}-{feed.path.name}"[:200],
        "imported_at_ms": feed.imported_at_ms,
        "complete": True,
        "format": feed.format.name,
    }
    with _packed(files.products) as accepted, _packed(files.rejects) as refused:
        for made in products(outcomes(feed), feed.shop_id, feed.item_id, imported.counts):
            if isinstance(made, Product):
                content.add(made)
                accepted.write(_line({**to_builtins(made), "feed": stamp}))
                continue
            refused.write(_line(_rejected(made)))
            if len(imported.first_rejects) < SHOWN_REJECTS:
                imported.first_rejects.append(made)
    imported.fingerprint = content.fingerprint()
    return imported


def _packed(file: IO[bytes]) -> closing[gzip.GzipFile]:
    """Return a gzip file. mtime=0: the same products give the same bytes. Level 6 is three times as fast as 9."""
    return closing(gzip.GzipFile(fileobj=file, mode="wb", mtime=0, compresslevel=6))


def _line(value: dict[str, Any]) -> bytes:
    return encode(value) + b"\n"


def _rejected(row: Reject) -> dict[str, Any]:
    text = json.dumps(row.row, ensure_ascii=False)
    return {
        "line": row.line,
        "reason": row.reason,
        "detail": row.detail,
        "row": text[:CATALOGUE_REJECTED_ROW_MAX_CHARACTERS],
    }


def _judge(feed: Feed, imported: Imported, largest_rejected_share: float) -> None:
    counts = imported.counts
    if not counts.products:
        raise FeedRefused(
            f"{feed.path} has no valid product in {counts.rows} rows. It is not imported, because the whole catalogue of "
            f"{feed.shop_id} would count as removed.{_shown(imported)}"
        )
    if counts.rejected > largest_rejected_share * counts.rows:
        raise FeedRefused(
            f"{counts.rejected} of {counts.rows} rows of {feed.path} are rejected, {largest_rejected_share:.0%} are allowed. "
            "It is not imported, because rejected products would count as removed. Correct the rows, choose another "
            f"--item-id, or raise --max-rejects.{_shown(imported)}"
        )


def _shown(imported: Imported) -> str:
    return "".join(f"\n  line {row.line}: {row.reason}: {row.detail}" for row in imported.first_rejects)


def _send(feed: Feed, imported: Imported, files: Files, s3: Any, bucket: str, allow_removals: bool) -> None:
    known = files_since(s3, bucket, feed.shop_id, 0)
    before = next((file for file in reversed(known) if not file.is_changes), None)
    count = imported.counts.products
    if before and before is known[-1] and before.fingerprint == imported.fingerprint:
        imported.key = before.key
        return
    if before and count < SMALLEST_REMAINING_SHARE * before.lines and not allow_removals:
        raise FeedRefused(
            f"{feed.path} has {count:,} products, the state before has {before.lines:,} ({before.key}). It is not "
            "imported, because the missing ones would count as removed. Export the feed again, or add --allow-removals."
        )
    key = new_key(feed.shop_id, feed.imported_at, count, imported.fingerprint)
    if imported.counts.rejected:
        # The rejected rows first: products without them would look like a feed without faults.
        imported.rejects_key = REJECTED_CATALOGUE_PREFIX + key.removeprefix(CATALOGUE_PREFIX)
        _put(s3, bucket, imported.rejects_key, files.rejects)
    imported.key, imported.is_new = key, True
    _put(s3, bucket, imported.key, files.products)


def _put(s3: Any, bucket: str, key: str, file: IO[bytes]) -> None:
    file.seek(0)
    s3.upload_fileobj(file, bucket, key, ExtraArgs={"ContentType": "application/gzip"})


def ids_by_choice(feed: Feed) -> dict[str, set[str]]:
    """Return the ids of the feed under each choice of `--item-id`.

    Raises:
        FeedUnreadable: the file cannot be read.
    """
    found: dict[str, set[str]] = {name: set() for name in feed.format.item_ids}
    for outcome in outcomes(feed):
        for name, value in getattr(outcome, "ids", {}).items():
            if value:
                found[name].add(value)
    return found
