"""Any content: every row becomes a product, a part of one, or a reject, and nothing else is raised than FeedUnreadable."""

import csv
import io
import json
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import to_builtins

import contracts
from catalogue.products import Counts, products
from catalogue.rows import FeedUnreadable, Reject
from functions.platform.product import Product
from tests.unit.catalogue.feeds import feed_of, read, written

COLUMNS = {
    "merchant-center": ["id", "title", "link", "image_link", "price", "sale_price", "availability", "product_type",
                        "item_group_id"],
    "shopify": ["Handle", "Title", "Type", "Variant SKU", "Variant Price", "Variant Compare At Price",
                "Variant Inventory Tracker",
                "Variant Inventory Qty", "Image Src", "Option1 Name", "Option1 Value", "Cost per item"],
    "woocommerce": ["ID", "Type", "SKU", "Name", "Regular price", "Sale price", "In stock?", "Categories", "Parent",
                    "Date sale price ends"],
}  # fmt: skip
CHOICES = {
    "merchant-center": ["id", "group"],
    "shopify": ["sku", "handle", "variant-id"],
    "woocommerce": ["id", "sku", "parent"],
}
likely = st.sampled_from(
    ["", "a", "b", "12.50", "12.50 EUR", "1,5", "-1", "in stock", "0", "1", "variable", "variation", "simple", "id:a", "shopify",
     "https://shop.example/a", "A > B", "&#0; &amp;", "2026-01-01", "9" * 30, "x" * 600]
)  # fmt: skip
cell = likely | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(data=st.data(), name=st.sampled_from(sorted(COLUMNS)))
def test_every_row_of_a_table_is_counted_once(tmp_path: Path, data: st.DataObject, name: str) -> None:
    width = len(COLUMNS[name])
    rows = data.draw(st.lists(st.lists(cell, min_size=width, max_size=width + 1), max_size=12))
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS[name], *rows])
    path = written(tmp_path, text.getvalue())
    for item_id in CHOICES[name]:
        _, _, counts = read(path, item_id, currency="EUR")
        assert counts.rows == sum(any(one.strip() for one in row) for row in rows)


@few
@given(
    items=st.lists(st.dictionaries(st.sampled_from(COLUMNS["merchant-center"]), cell, max_size=9), max_size=8)
)
def test_every_item_of_an_xml_feed_is_counted_once(tmp_path: Path, items: list[dict[str, str]]) -> None:
    allowed = [
        {name: "".join(c for c in value if c.isprintable()) for name, value in item.items()} for item in items
    ]
    body = "".join(
        "<item>"
        + "".join(f"<g:{name}>{escape(value)}</g:{name}>" for name, value in item.items())
        + "</item>"
        for item in allowed
    )
    path = written(tmp_path, f'<rss xmlns:g="http://base.google.com/ns/1.0"><channel>{body}</channel></rss>')
    _, _, counts = read(path, currency="EUR")
    assert counts.rows == len(items)


@few
@given(
    content=st.binary(max_size=200),
    start=st.sampled_from([b"", b"<rss><item>", b"id\ttitle\n", b"Handle,Title\n", b"\xff\xfe", b"\x1f\x8b"]),
)
def test_no_bytes_end_the_reader_otherwise_than_with_a_message(
    tmp_path: Path, content: bytes, start: bytes
) -> None:
    path = written(tmp_path, start + content)
    assert str(path) in refusal(path)


def refusal(path: Path) -> str:
    """Return the message that refuses the feed, or the path if it is read."""
    try:
        read(path, currency="EUR")
    except FeedUnreadable as error:
        return str(error)
    return str(path)


@few
@given(rows=st.lists(st.lists(cell, min_size=9, max_size=9), max_size=10))
def test_every_product_keeps_to_the_contract(tmp_path: Path, rows: list[list[str]]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS["merchant-center"], *rows])
    feed = feed_of(written(tmp_path, text.getvalue()), currency="EUR")
    for made in products(feed.format.read(feed.path, feed.options), "demo", "id", Counts()):
        if isinstance(made, Product):
            product = to_builtins(made)
            jsonschema.validate(json.loads(json.dumps(product)), contracts.read("product.schema"))
        else:
            assert isinstance(made, Reject)
