"""Google Merchant Center's feeds: text with tabs or commas, RSS 2.0 and Atom.

Attributes: https://support.google.com/merchants/answer/7052112
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from catalogue import tables, values
from catalogue.rows import BadRow, Draft, FeedUnreadable, Outcomes, Reject, Row

NAMESPACE = "{http://base.google.com/ns/1.0}"
ATOM = "{http://www.w3.org/2005/Atom}"
ITEMS = ("item", f"{ATOM}entry", "entry")
ATTRIBUTES = (
    "color", "size", "gender", "age_group", "material", "pattern", "mpn", "size_type", "size_system",
    "custom_label_0", "custom_label_1", "custom_label_2", "custom_label_3", "custom_label_4",
)  # fmt: skip


def read_text(path: Path, encoding: str | None, currency: str | None) -> Outcomes:
    """Yield the outcome of each row of a text feed."""
    for row in tables.rows(path, encoding):
        if isinstance(row, Reject):
            yield row
        else:
            named = {_name(column): cell for column, cell in row.cells.items()}
            yield _outcome(Row(row.line, named), currency)


def read_xml(path: Path, currency: str | None) -> Outcomes:
    """Yield the outcome of each item of an RSS or Atom feed. The line of an item is its number in the feed.

    Raises:
        FeedUnreadable: the XML is malformed, or it declares entities or a DTD.
    """
    with tables.open_bytes(path) as file:
        try:
            for place, element in enumerate(_items(file), start=1):
                yield _outcome(Row(place, _cells(element)), currency)
        except ParseError as error:
            line, column = error.position
            raise FeedUnreadable(
                f"{path}, line {line}, column {column + 1}: {str(error).split(':')[0]}. Repair or export the feed again"
            ) from error
        except DefusedXmlException as error:
            raise FeedUnreadable(
                f"{path} declares a DTD or entities, which can read other files or exhaust memory ({error}): "
                "remove the declaration"
            ) from error
        except (ValueError, LookupError) as error:
            # expat cannot decode multi-byte encodings other than UTF-8 and UTF-16.
            raise FeedUnreadable(
                f"{path} has an encoding that XML readers lack ({error}): export it as UTF-8"
            ) from error


def _items(file: Any) -> Iterator[Element]:
    """Yield each item, and forget it afterwards, so that memory does not grow with the feed."""
    parents: list[Element] = []
    for event, element in iterparse(file, events=("start", "end"), forbid_dtd=True):
        if event == "start":
            parents.append(element)
            continue
        parents.pop()
        if element.tag in ITEMS:
            yield element
            if parents:
                parents[-1].clear()


def _cells(item: Element) -> dict[str, str]:
    """Return the first value of each attribute. A `g:` attribute goes before one of RSS or Atom."""
    cells: dict[str, str] = {}
    for own in (True, False):
        for child in item:
            tag = child.tag
            if tag.startswith(NAMESPACE) is own:
                value = "".join(child.itertext()).strip() or child.get("href", "")
                cells.setdefault(_name(tag.rsplit("}", 1)[-1]), value)
    return cells


@lru_cache(maxsize=1000)
def _name(column: str) -> str:
    """Return an attribute's name: feeds write `image link`, `Image_Link` and `g:image_link`."""
    return column.strip().lower().removeprefix("g:").replace(" ", "_")


def _outcome(row: Row, currency: str | None) -> Draft | Reject:
    try:
        return _draft(row, currency)
    except BadRow as error:
        return row.reject(error)


def _draft(row: Row, currency: str | None) -> Draft:
    cells = {name: cell.strip() for name, cell in row.cells.items() if cell and cell.strip()}
    prices: dict[str, float] = {}
    for name, field in (("price", "price"), ("sale_price", "sale_price"), ("cost_of_goods_sold", "cost")):
        if name in cells:
            amount, code = values.price(cells[name], currency)
            if currency and prices and code != currency:
                raise BadRow("currencies_differ", f"{name} is in {code}, the price before it in {currency}")
            prices[field], currency = amount, code
    starts_at_ms, ends_at_ms = _sale(cells.get("sale_price_effective_date"))
    product_id = cells.get("id", "")
    group = cells.get("item_group_id")
    fields = values.given(
        title=values.text(cells.get("title", "")),
        url=values.address(cells.get("link", "")),
        image_url=values.address(cells.get("image_link", "")),
        **prices,
        sale_starts_at_ms=starts_at_ms,
        sale_ends_at_ms=ends_at_ms,
        currency=currency if prices else None,
        availability=values.availability(cells["availability"]) if "availability" in cells else None,
        category=_category(cells),
        brand=values.text(cells.get("brand", "")),
        gtin=cells.get("gtin"),
        item_group_id=group,
        condition=values.condition(cells["condition"]) if "condition" in cells else None,
        attributes={name: values.text(cells[name]) for name in ATTRIBUTES if name in cells},
    )
    return Draft(row.line, {"id": product_id, "group": group or product_id}, fields, row.cells)


def _category(cells: dict[str, str]) -> str:
    """Return the shop's own category, else Google's, which may be a number without a name."""
    own, of_google = cells.get("product_type", ""), cells.get("google_product_category", "")
    # A text feed lists several categories with commas, each a path.
    first = own.split(",")[0] if ">" in own else own
    return values.category(first or ("" if of_google.isdigit() else of_google))


def _sale(period: str | None) -> tuple[int | None, int | None]:
    """Return start and end of `2026-11-27T00:00Z/2026-11-30T23:59Z`."""
    if period is None:
        return None, None
    start, slash, end = period.partition("/")
    if not slash:
        raise BadRow("time_invalid", f"{period!r} is no period such as 2026-11-27T00:00Z/2026-11-30T23:59Z")
    return values.time_ms(start), values.time_ms(end, end_of_day=True)
