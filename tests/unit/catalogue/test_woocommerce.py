"""WooCommerce's product CSV, of our own making."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.catalogue.feeds import read, written

FEED = """\
ID,Type,SKU,"GTIN, UPC, EAN, or ISBN",Name,Published,"Date sale price starts","Date sale price ends","In stock?","Sale price",\
"Regular price",Categories,Images,Parent,"Attribute 1 name","Attribute 1 value(s)",Brands
11,variation,TEE-S,,Tee - S,1,,,1,,19.00,,,id:10,Size,S,
10,variable,TEE,,Tee,1,,,1,,,"Clothing, Clothing > Shirts &amp; tees","https://cdn.example/t.jpg, https://cdn.example/t2.jpg",,Size,"S, M",Bramwell
12,variation,TEE-M,,,1,2026-11-27,2026-11-30,0,15.00,19.00,,https://cdn.example/m.jpg,TEE,Size,M,
20,"simple, downloadable",'-MAP,400638,"Map, north",1,,,backorder,,4.50,"Books\\, maps > North",,,,,
30,simple,OLD,,Old map,-1,,,1,,3.00,,,,,,
40,variation,LOST,,Lost,1,,,1,,3.00,,,id:99,,,
"""  # noqa: E501


def products(folder: Path, text: str = FEED, item_id: str | None = None) -> Any:
    return read(written(folder, text), item_id, currency="USD")


def test_a_variation_inherits_from_its_parent_wherever_that_stands(tmp_path: Path) -> None:
    found, _, counts = products(tmp_path)
    assert counts.rows == 6
    assert found["11"] == {
        "shop_id": "demo", "item_id": "11", "title": "Tee - S", "image_url": "https://cdn.example/t.jpg", "price": 19.0,
        "currency": "USD", "availability": "in_stock", "category": "Clothing/Shirts & tees", "brand": "Bramwell",
        "item_group_id": "10", "attributes": {"Size": "S"},
    }  # fmt: skip
    assert (found["12"]["title"], found["12"]["image_url"]) == ("Tee", "https://cdn.example/m.jpg")


def test_a_sale_lasts_until_the_end_of_its_last_day(tmp_path: Path) -> None:
    found, _, _ = products(tmp_path)
    variation = found["12"]
    assert (variation["price"], variation["sale_price"], variation["availability"]) == (
        19.0,
        15.0,
        "out_of_stock",
    )
    day_ms = 86_400_000
    assert variation["sale_ends_at_ms"] - variation["sale_starts_at_ms"] == 4 * day_ms


def test_a_variable_product_is_a_product_without_a_price(tmp_path: Path) -> None:
    found, _, _ = products(tmp_path)
    assert "price" not in found["10"]
    assert found["10"]["item_group_id"] == "10"
    assert "attributes" not in found["10"]


def test_escaped_cells_are_read_as_the_shop_wrote_them(tmp_path: Path) -> None:
    found, _, _ = products(tmp_path, item_id="sku")
    assert (found["-MAP"]["category"], found["-MAP"]["title"]) == ("Books, maps/North", "Map, north")
    assert (found["-MAP"]["availability"], found["-MAP"]["gtin"]) == ("backorder", "400638")


def test_an_unpublished_product_is_out_of_stock_and_a_variation_without_parent_is_rejected(
    tmp_path: Path,
) -> None:
    found, [reject], _ = products(tmp_path)
    assert found["30"]["availability"] == "out_of_stock"
    assert (reject.reason, reject.line) == ("parent_missing", 7)


def test_by_parent_the_variations_are_one_product_with_the_lowest_price(tmp_path: Path) -> None:
    found, _, counts = products(tmp_path, item_id="parent")
    assert (counts.products, counts.merged) == (3, 2)
    assert (found["10"]["price"], found["10"]["sale_price"], found["10"]["availability"]) == (
        19.0,
        15.0,
        "in_stock",
    )


@pytest.mark.parametrize("text", [FEED.replace(",backorder,", ",perhaps,")])
def test_an_unknown_stock_status_is_rejected(tmp_path: Path, text: str) -> None:
    _, rejects, _ = products(tmp_path, text)
    assert "availability_unknown" in {reject.reason for reject in rejects}
