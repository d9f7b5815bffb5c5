"""WooCommerce's product CSV. A variation is a row that names its parent by SKU or by `id:<ID>`.

Columns: https://github.com/woocommerce/woocommerce/wiki/Product-CSV-Import-Schema
"""

import re
from collections.abc import Mapping
from pathlib import Path

from catalogue import tables, values
from catalogue.rows import BadRow, Draft, Outcomes, Reject, Row

# The exporter puts an apostrophe before a value that a spreadsheet would take for a formula.
ESCAPED = re.compile(r"'(?=[=+\-@])")
SEPARATOR = re.compile(r"(?<!\\),")
ATTRIBUTE = re.compile(r"attribute (\d+) name")
INHERITED = ("name", "categories", "images", "brands", "published", "tags")


def read(path: Path, encoding: str | None, currency: str | None) -> Outcomes:
    """Yield the outcome of each row. The file is read twice, because a variation may stand before its parent."""
    parents = _parents(path, encoding)
    for row in tables.rows(path, encoding):
        if isinstance(row, Reject):
            yield row
            continue
        try:
            yield _draft(row, _cells(row), parents, currency)
        except BadRow as error:
            yield row.reject(error)


def _cells(row: Row) -> dict[str, str]:
    return {column.strip().lower(): ESCAPED.sub("", cell.strip(), 1) for column, cell in row.cells.items()}


def _parents(path: Path, encoding: str | None) -> dict[str, dict[str, str]]:
    """Return the values of variable products that their variations inherit, by SKU and by `id:<ID>`."""
    found: dict[str, dict[str, str]] = {}
    for row in tables.rows(path, encoding):
        if isinstance(row, Reject):
            continue
        cells = _cells(row)
        if "variable" in _types(cells):
            inherited = {name: cells.get(name, "") for name in (*INHERITED, "id", "sku")}
            for reference in (f"id:{cells.get('id')}", cells.get("sku", "")):
                if reference not in ("", "id:"):
                    found[reference] = inherited
    return found


def _types(cells: Mapping[str, str]) -> list[str]:
    return [kind.strip().lower() for kind in cells.get("type", "").split(",")]


def _draft(
    row: Row, cells: dict[str, str], parents: Mapping[str, Mapping[str, str]], currency: str | None
) -> Draft:
    parent: Mapping[str, str] = {}
    reference = cells.get("parent", "")
    is_variation = "variation" in _types(cells)
    if is_variation:
        if reference not in parents:
            raise BadRow("parent_missing", f"the feed has no variable product {reference!r}")
        parent = parents[reference]
        cells = {**cells, **{name: cells.get(name) or parent.get(name, "") for name in INHERITED}}
    regular, sale = (
        values.number(cells[name]) if cells.get(name) else None for name in ("regular price", "sale price")
    )
    starts, ends = cells.get("date sale price starts"), cells.get("date sale price ends")
    group = parent.get("id") or cells.get("id", "")
    fields = values.given(
        title=values.text(cells.get("name", "")),
        url=values.address(cells.get("external url", "")),
        image_url=values.address(cells.get("images", "").split(",")[0]),
        price=regular,
        sale_price=sale,
        sale_starts_at_ms=values.time_ms(starts) if starts and sale is not None else None,
        sale_ends_at_ms=values.time_ms(ends, end_of_day=True) if ends and sale is not None else None,
        currency=currency if regular is not None or sale is not None else None,
        availability=_availability(cells, parent),
        category=_category(cells.get("categories", "")),
        brand=values.text(_first(cells.get("brands", ""))),
        gtin=cells.get("gtin, upc, ean, or isbn"),
        item_group_id=group if is_variation or "variable" in _types(cells) else None,
        # A variable product lists the values of all its variations.
        attributes={} if "variable" in _types(cells) else _attributes(cells),
    )
    ids = {"id": cells.get("id", ""), "sku": cells.get("sku", ""), "parent": group}
    return Draft(row.line, ids, fields, row.cells)


def _availability(cells: Mapping[str, str], parent: Mapping[str, str]) -> str | None:
    """Return the stock status. A product that is not published cannot be bought; a variation needs its parent too."""
    if cells.get("published", "1") not in ("1", "") or parent.get("published", "1") not in ("1", ""):
        return "out_of_stock"
    match cells.get("in stock?", "").lower():
        case "1" | "instock" | "yes":
            return "in_stock"
        case "0" | "outofstock" | "no":
            return "out_of_stock"
        case "backorder" | "onbackorder":
            return "backorder"
        case "":
            return None
        case other:
            raise BadRow("availability_unknown", f"{other!r} under `In stock?` is not 1, 0 or backorder")


def _first(listed: str) -> str:
    return SEPARATOR.split(listed)[0].replace("\\,", ",")


def _category(listed: str) -> str:
    """Return the deepest of the product's categories, the first of several."""
    paths = [values.category(path.replace("\\,", ",")) for path in SEPARATOR.split(listed)]
    return max(paths, key=lambda path: path.count("/") + bool(path))


def _attributes(cells: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for column, name in cells.items():
        numbered = ATTRIBUTE.fullmatch(column)
        value = cells.get(f"attribute {numbered[1]} value(s)", "") if numbered else ""
        if name and value:
            found[values.text(name)] = values.text(value.replace("\\,", ","))
    return found
