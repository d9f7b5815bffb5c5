"""The feed formats: how each is recognized and read, and which of its ids can be the products' id."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from catalogue import merchant_center, shopify, tables, woocommerce
from catalogue.rows import FeedUnreadable, Outcomes

ZIP = b"PK\x03\x04"
# Choices of `--item-id` that several rows share: these rows become one product.
SHARED_IDS = ("group", "handle", "parent")


@dataclass(frozen=True)
class Options:
    """How a feed is read beyond its own content."""

    encoding: str | None = None
    currency: str | None = None
    shop_url: str | None = None


@dataclass(frozen=True)
class Format:
    """A feed format. The first of its `item_ids` is the default; `has_currency`: its prices name their currency."""

    name: str
    item_ids: tuple[str, ...]
    has_currency: bool
    read: Callable[[Path, Options], Outcomes]


def _read_merchant_center(path: Path, options: Options) -> Outcomes:
    if _is_xml(_start(path)):
        return merchant_center.read_xml(path, options.currency)
    return merchant_center.read_text(path, options.encoding, options.currency)


FORMATS = {
    one.name: one
    for one in (
        Format("merchant-center", ("id", "group"), True, _read_merchant_center),
        Format(
            "shopify",
            ("sku", "handle", "variant-id"),
            False,
            lambda path, options: shopify.read(path, options.encoding, options.currency, options.shop_url),
        ),
        Format(
            "woocommerce",
            ("id", "sku", "parent"),
            False,
            lambda path, options: woocommerce.read(path, options.encoding, options.currency),
        ),
    )
}


def recognized(path: Path, encoding: str | None) -> Format:
    """Return the format of a file, by its first bytes and its header.

    Raises:
        FeedUnreadable: the file is empty or a workbook, or the header is of no known format.
    """
    start = _start(path)
    if not start:
        raise FeedUnreadable(f"{path} is empty: export the feed again")
    if start.startswith(ZIP):
        raise FeedUnreadable(
            f"{path} is a zip archive or an Excel workbook: unpack it, or save the sheet as CSV in UTF-8"
        )
    if _is_xml(start):
        return FORMATS["merchant-center"]
    columns = [column.strip() for column in tables.first_row(path, encoding)]
    header = {column.lower() for column in columns}
    if "title" in header and header & {"handle", "url handle"}:
        return FORMATS["shopify"]
    if {"type", "sku", "name", "regular price"} <= header:
        return FORMATS["woocommerce"]
    if {"id", "title"} <= {name.removeprefix("g:") for name in header}:
        return FORMATS["merchant-center"]
    raise FeedUnreadable(
        f"{path} has the header of no known feed: {', '.join(columns)[:120]!r}. Needed are, separated by commas or tabs: "
        "id and title (Merchant Center), Handle and Title (Shopify), or Type, SKU, Name and Regular price (WooCommerce, "
        "exported in English)"
    )


def _start(path: Path) -> bytes:
    with tables.open_bytes(path) as file:
        return file.read(64)


def _is_xml(start: bytes) -> bool:
    """Return True if the first character is `<`, in whatever encoding."""
    return start.lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").startswith(b"<")
