"""The feed formats: how each is recognized and read, and which of its ids can be the products' id."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from catalogue import merchant_center, shopify, tables, woocommerce
from catalogue.rows import FeedUnreadable, Outcomes

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
    if _is_xml(path):
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
        FeedUnreadable: the header is of no known format.
    """
    if _is_xml(path):
        return FORMATS["merchant-center"]
    header = {column.strip().lower() for column in tables.first_row(path, encoding)}
    if "title" in header and header & {"handle", "url handle"}:
        return FORMATS["shopify"]
    if {"type", "sku", "name", "regular price"} <= header:
        return FORMATS["woocommerce"]
    if {"id", "title"} <= {name.removeprefix("g:") for name in header}:
        return FORMATS["merchant-center"]
    raise FeedUnreadable(
        f"{path} has the header of no known feed. Needed are: id and title (Merchant Center), Handle and Title (Shopify), "
        "or Type, SKU, Name and Regular price (WooCommerce, exported in English)"
    )


def _is_xml(path: Path) -> bool:
    """Return True if the first character is `<`, in whatever encoding."""
    with tables.open_bytes(path) as file:
        start = file.read(64)
    return start.lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").startswith(b"<")
