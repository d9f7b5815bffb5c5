"""Helpers: write a feed, read it, and import it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from catalogue.formats import FORMATS, Options, recognized
from catalogue.imports import Feed
from catalogue.products import Counts, products
from catalogue.rows import Reject
from functions.platform.product import Product

IMPORTED_AT = datetime(2026, 11, 28, 6, 30, tzinfo=UTC)


def written(folder: Path, content: str | bytes, name: str = "feed") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def feed_of(path: Path, item_id: str | None = None, **options: Any) -> Feed:
    form = recognized(path, options.get("encoding"))
    return Feed(path, form, "demo", item_id or form.item_ids[0], Options(**options), IMPORTED_AT)


def read(
    path: Path, item_id: str | None = None, **options: Any
) -> tuple[dict[str, Mapping[str, Any]], list[Reject], Counts]:
    """Return the products by id, the rejected rows and the counts, which must add up."""
    feed, counts = feed_of(path, item_id, **options), Counts()
    made = list(products(feed.format.read(path, feed.options), feed.shop_id, feed.item_id, counts))
    found = {one.item_id: to_builtins(one) for one in made if isinstance(one, Product)}
    rejects = [one for one in made if isinstance(one, Reject)]
    assert counts.rows == counts.products + counts.merged + counts.rejected
    assert (len(found), len(rejects)) == (counts.products, counts.rejected)
    return found, rejects, counts


__all__ = ["FORMATS", "IMPORTED_AT", "feed_of", "read", "written"]
