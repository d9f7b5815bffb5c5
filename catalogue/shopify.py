"""Shopify's product CSV, with the column names of both its templates.

A product has several rows: one per variant, and one per further picture. Its own values are in its first row.
Columns: https://help.shopify.com/en/manual/products/import-export/using-csv
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from catalogue import tables, values
from catalogue.rows import BadRow, Draft, Outcome, Outcomes, Part, Reject, Row

# The name of each column in the template of 2025, by the name in the older one.
RENAMED = {
    "handle": "url handle",
    "body (html)": "description",
    "product category": "product category",
    "published": "published on online store",
    "variant sku": "sku",
    "variant barcode": "barcode",
    "variant price": "price",
    "variant compare at price": "compare-at price",
    "variant inventory tracker": "inventory tracker",
    "variant inventory qty": "inventory quantity",
    "variant inventory policy": "continue selling when out of stock",
    "image src": "product image url",
    "variant image": "variant image url",
}
OPTIONS = ("option1", "option2", "option3")
# Only variants have these.
OF_VARIANT = ("sku", "price", "option1 value", "barcode", "inventory quantity", "variant id")
# Shopify's own names for a product without options.
NO_OPTION = ("Title", "Default Title")


def read(path: Path, encoding: str | None, currency: str | None, shop_url: str | None) -> Outcomes:
    """Yield the outcome of each row."""
    product: dict[str, str] = {}
    for row in tables.rows(path, encoding):
        if isinstance(row, Reject):
            yield row
            continue
        cells = {_name(column): cell.strip() for column, cell in row.cells.items()}
        if cells.get("url handle", "") != product.get("url handle") or not product:
            product = cells
        yield _outcome(row, cells, product, currency, shop_url)


@lru_cache(maxsize=1000)
def _name(column: str) -> str:
    name = column.strip().lower()
    return RENAMED.get(name, name)


def _outcome(
    row: Row, cells: Mapping[str, str], product: Mapping[str, str], currency: str | None, shop_url: str | None
) -> Outcome:
    is_first = cells is product
    if not is_first and not any(cells.get(name) for name in OF_VARIANT):
        return Part(row.line)
    try:
        return _draft(row, cells, product, currency, shop_url)
    except BadRow as error:
        return row.reject(error)


def _draft(
    row: Row, cells: Mapping[str, str], product: Mapping[str, str], currency: str | None, shop_url: str | None
) -> Draft:
    handle = product.get("url handle", "")
    price, sale_price = _prices(cells)
    cost = cells.get("cost per item")
    fields = values.given(
        title=values.text(product.get("title", "")),
        url=f"{shop_url.rstrip('/')}/products/{handle}" if shop_url and handle else None,
        image_url=values.address(cells.get("variant image url") or product.get("product image url", "")),
        price=price,
        sale_price=sale_price,
        currency=currency,
        availability=_availability(cells, product),
        category=values.category(product.get("type") or product.get("product category", "")),
        brand=values.text(product.get("vendor", "")),
        gtin=cells.get("barcode", "").lstrip("'"),
        item_group_id=handle,
        cost=values.number(cost) if cost else None,
        attributes=_options(cells, product),
    )
    ids = {
        "sku": cells.get("sku", "").lstrip("'"),
        "handle": handle,
        "variant-id": cells.get("variant id", ""),
    }
    return Draft(row.line, ids, fields, row.cells)


def _prices(cells: Mapping[str, str]) -> tuple[float | None, float | None]:
    """Return the regular price and the price of the sale. Shopify's price is the current one."""
    current = values.number(cells["price"]) if cells.get("price") else None
    before = values.number(cells["compare-at price"]) if cells.get("compare-at price") else None
    if current is not None and before is not None and before > current:
        return before, current
    return current, None


def _availability(cells: Mapping[str, str], product: Mapping[str, str]) -> str | None:
    """Return what the stock says, or None if the feed has no stock: that of several locations is in another file."""
    if product.get("status", "").lower() in ("draft", "archived", "unlisted"):
        return "out_of_stock"
    if product.get("published on online store", "").lower() == "false":
        return "out_of_stock"
    if not cells.get("inventory tracker"):
        return "in_stock"
    quantity = cells.get("inventory quantity", "")
    if not quantity.removeprefix("-").isdigit():
        return None
    if int(quantity) > 0:
        return "in_stock"
    goes_on = cells.get("continue selling when out of stock", "").lower() in ("continue", "true")
    return "backorder" if goes_on else "out_of_stock"


def _options(cells: Mapping[str, str], product: Mapping[str, str]) -> dict[str, str]:
    """Return the options by name; the names are in the product's first row."""
    found = {}
    for option in OPTIONS:
        name, value = product.get(f"{option} name", ""), cells.get(f"{option} value", "")
        if name and value and (name, value) != NO_OPTION:
            found[values.text(name)] = values.text(value)
    return found
