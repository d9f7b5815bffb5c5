"""Shopify's product CSV in both its templates, of our own making."""

from pathlib import Path
from typing import Any

import pytest

from catalogue.rows import FeedUnreadable
from tests.unit.catalogue.feeds import feed_of, read, written

OLD = """\
Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,Variant SKU,Variant Inventory Tracker,\
Variant Inventory Qty,Variant Inventory Policy,Variant Price,Variant Compare At Price,Variant Barcode,Image Src,Image Position,\
Variant Image,Cost per item,Status
dry-bag,Dry bag,"<p>Keeps, as
they say, ""dry""</p>",Tidewater,Water > Bags,,TRUE,Size,5 l,DB-5,shopify,3,deny,25.00,30.00,'4006381,https://cdn.example/1.jpg,1,,11.50,active
dry-bag,,,,,,,,10 l,DB-10,shopify,0,deny,35.00,,,https://cdn.example/2.jpg,2,https://cdn.example/10.jpg,,
dry-bag,,,,,,,,20 l,DB-20,shopify,-2,continue,45.00,,,,,,,
dry-bag,,,,,,,,,,,,,,,,https://cdn.example/3.jpg,3,,,
mug,Mug,,Ohmroad,,,TRUE,Title,Default Title,MUG,,,deny,9.00,,,https://cdn.example/m.jpg,1,,,draft
"""
NEW = """\
Title,URL handle,Vendor,Type,Published on online store,Status,SKU,Option1 name,Option1 value,Price,Compare-at price,Inventory tracker,\
Inventory quantity,Continue selling when out of stock,Product image URL,Variant image URL
Dry bag,dry-bag,Tidewater,Bags,TRUE,active,DB-5,Size,5 l,25.00,30.00,shopify,3,FALSE,https://cdn.example/1.jpg,
,dry-bag,,,,,DB-10,,10 l,35.00,,shopify,0,TRUE,,
"""  # noqa: E501


def products(folder: Path, text: str, item_id: str | None = None, **options: Any) -> Any:
    return read(written(folder, text), item_id, currency="EUR", **options)


def test_variants_are_products_that_inherit_from_the_first_row_and_a_picture_row_is_merged(
    tmp_path: Path,
) -> None:
    found, rejects, counts = products(tmp_path, OLD, shop_url="https://shop.example/")
    assert rejects == []
    assert (counts.rows, counts.products, counts.merged) == (5, 4, 1)
    assert found["DB-5"] == {
        "shop_id": "demo", "item_id": "DB-5", "title": "Dry bag", "url": "https://shop.example/products/dry-bag",
        "image_url": "https://cdn.example/1.jpg", "price": 30.0, "sale_price": 25.0, "currency": "EUR",
        "availability": "in_stock", "category": "Water/Bags", "brand": "Tidewater", "gtin": "4006381",
        "item_group_id": "dry-bag", "cost": 11.5, "attributes": {"Size": "5 l"},
    }  # fmt: skip
    assert (found["DB-10"]["title"], found["DB-10"]["image_url"]) == ("Dry bag", "https://cdn.example/10.jpg")
    assert found["DB-10"]["attributes"] == {"Size": "10 l"}


def test_stock_and_policy_and_status_decide_the_availability(tmp_path: Path) -> None:
    found, _, _ = products(tmp_path, OLD)
    assert {item: product["availability"] for item, product in found.items()} == {
        "DB-5": "in_stock",
        "DB-10": "out_of_stock",
        "DB-20": "backorder",
        "MUG": "out_of_stock",
    }
    assert "attributes" not in found["MUG"]


def test_a_shop_with_several_locations_states_no_availability(tmp_path: Path) -> None:
    text = "Handle,Title,Variant SKU,Variant Inventory Tracker,Variant Price\na,A,A-1,shopify,3.00\n"
    found, _, _ = products(tmp_path, text)
    assert "availability" not in found["A-1"]


def test_the_new_column_names_give_the_same_products(tmp_path: Path) -> None:
    found, _, _ = products(tmp_path, NEW)
    assert (found["DB-5"]["price"], found["DB-5"]["sale_price"]) == (30.0, 25.0)
    assert found["DB-10"] == {
        "shop_id": "demo", "item_id": "DB-10", "title": "Dry bag", "image_url": "https://cdn.example/1.jpg", "price": 35.0,
        "currency": "EUR", "availability": "backorder", "category": "Bags", "brand": "Tidewater", "item_group_id": "dry-bag",
        "attributes": {"Size": "10 l"},
    }  # fmt: skip


def test_by_handle_a_product_has_the_lowest_price_and_the_best_availability(tmp_path: Path) -> None:
    found, _, counts = products(tmp_path, OLD, "handle")
    assert (counts.products, counts.merged) == (2, 3)
    bag = found["dry-bag"]
    assert (bag["price"], bag["sale_price"], bag["availability"]) == (30.0, 25.0, "in_stock")
    assert "attributes" not in bag
    assert "gtin" not in bag


def test_a_variant_without_sku_is_rejected_with_the_choice_that_would_take_it(tmp_path: Path) -> None:
    _, [reject], _ = products(tmp_path, "Handle,Title,Variant SKU,Variant Price\na,A,,3.00\n")
    assert (reject.reason, reject.detail) == (
        "id_missing",
        "the row has no sku; the row has an id for --item-id handle",
    )


def test_a_handle_may_be_longer_than_an_id(tmp_path: Path) -> None:
    found, _, _ = products(tmp_path, f"Handle,Title,Variant SKU,Variant Price\n{'a' * 90},A,A-1,3.00\n")
    assert found["A-1"]["item_group_id"] == "a" * 90


def test_a_feed_without_currency_is_refused(tmp_path: Path) -> None:
    from catalogue.imports import import_feed

    with pytest.raises(FeedUnreadable, match="add --currency EUR"):
        import_feed(feed_of(written(tmp_path, OLD)), 0.1, None, "")
