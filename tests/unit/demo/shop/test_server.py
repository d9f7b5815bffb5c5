"""The demo shop's pages, without a browser."""

import json
import re
from xml.etree import ElementTree

import pytest

from demo import generator
from demo.catalogue import DEPARTMENTS
from demo.shop import pictures, server
from demo.shop.landing import Landing
from demo.shop.pages import Api, CatalogueIndex
from testing.fakes import FakeS3


@pytest.fixture(scope="module")
def shop() -> server.Shop:
    history = generator.History()
    return server.Shop(
        CatalogueIndex.of(generator.catalogue_of(history)),
        Api("https://api.example/api", "demo", "key-of-demo"),
    )


@pytest.mark.parametrize(
    "path", ["/", "/c/outdoor/tents", "/c/winter/safety", "/p/sku-00000", "/search", "/cart", "/done"]
)
def test_every_page_is_complete_and_links_only_to_pages_that_exist(shop: server.Shop, path: str) -> None:
    page = shop.answer(path, "q=tent")
    assert (page.status, page.kind) == (200, "text/html; charset=utf-8")
    assert "<style" not in page.body
    assert not re.search(r"<script(?![^>]*src=)", page.body)
    for address in set(re.findall(r'(?:href|src)="(/[^"]*)"', page.body)):
        assert shop.answer(address, "").status == 200, address


@pytest.mark.parametrize(
    "path", ["/c/outdoor", "/c/none/none", "/p/sku-99999", "/pictures/none.svg", "/../etc/passwd", "/x"]
)
def test_what_the_shop_does_not_have_is_a_page_that_says_so(shop: server.Shop, path: str) -> None:
    answer = shop.answer(path, "")
    assert answer.status == 404
    assert "No such page" in answer.body


def test_the_catalogue_is_the_one_that_the_generated_events_are_about(shop: server.Shop) -> None:
    events = generator.generate(generator.History(days=1))
    items = {item["item_id"]: item for event in events for item in event.get("items", ())}
    assert len(items) > 100
    for item_id, item in items.items():
        assert {name: item[name] for name in ("item_name", "price")}.items() <= shop.index.items[
            item_id
        ].items()


def test_what_somebody_searches_for_is_shown_as_text_and_never_as_markup(shop: server.Shop) -> None:
    body = shop.answer("/search", "q=%3Cscript%3Ealert(1)%3C/script%3E%22").body
    assert "<script>alert" not in body
    assert "&lt;script&gt;" in body


def test_a_search_finds_what_holds_every_word(shop: server.Shop) -> None:
    found = shop.index.search("tidewater TENT")
    assert found
    assert all("Tidewater" in shop.index.items[item_id]["item_name"] for item_id in found)
    assert shop.index.search("  ") == []


@pytest.mark.parametrize("path", ["/docs/../app.py", "/docs/operations.md", "/landed.json"])
def test_of_the_repository_only_the_pages_that_the_walk_links_to_are_shown(
    shop: server.Shop, path: str
) -> None:
    assert shop.answer("/docs/events.md", "").body.startswith("# ")
    assert shop.answer(path, "event_id=e").status == 404


def test_a_bucket_that_does_not_answer_is_an_error_that_the_drawer_understands(shop: server.Shop) -> None:
    s3 = FakeS3()
    watching = server.Shop(shop.index, shop.api, Landing(s3, "events"))
    assert watching.answer("/landed.json", "event_id=e") == (200, "application/json", '{"key": null}', 0)
    s3.down = True
    assert watching.answer("/landed.json", "event_id=e").status == 503


def test_cards_are_answered_for_known_items_only(shop: server.Shop) -> None:
    cards = json.loads(shop.answer("/cards.json", "ids=sku-00001,nothing,").body)
    assert list(cards) == ["sku-00001"]
    assert set(cards["sku-00001"]) == {"title", "url", "image", "price"}


def test_pictures_are_well_formed_the_same_each_time_and_different_for_each_item() -> None:
    leaves = [leaf for leaf_of in DEPARTMENTS.values() for leaf in leaf_of]
    drawn = [
        pictures.picture(f"sku-{n}", "Nothing known 1", f"x/{leaf}", "Bramwell")
        for n, leaf in enumerate([*leaves, "unheard of"])
    ]
    for svg in drawn:
        ElementTree.fromstring(svg)
    assert len(set(drawn)) == len(drawn)
    assert pictures.picture("sku-0", "Nothing known 1", f"x/{leaves[0]}", "Bramwell") == drawn[0]


def test_every_drawing_is_of_a_category_or_of_something_in_one() -> None:
    leaves = {leaf for leaf_of in DEPARTMENTS.values() for leaf in leaf_of}
    nouns = {
        noun.lower().replace(" ", "-")
        for leaf_of in DEPARTMENTS.values()
        for _, nouns in leaf_of.values()
        for noun in nouns
    }
    stems = {path.stem for path in pictures.DRAWINGS.glob("*.svg")}
    assert leaves | {"other"} <= stems <= leaves | nouns | {"other"}
    assert pictures.ALIKE.keys() <= nouns
    assert set(pictures.ALIKE.values()) <= stems


def test_a_mug_is_no_pot_and_a_splitboard_is_a_snowboard() -> None:
    def shapes(name: str, leaf: str) -> str:
        return re.sub(r"hsl\([^)]*\)", "", pictures._drawing(name, leaf))

    assert shapes("Bramwell Heritage Summit Mug 2", "cooking") != shapes(
        "Bramwell Heritage Swift Pot Set 1", "cooking"
    )
    assert shapes("Fjordsen Alpine Easy Splitboard 1", "skis") == shapes(
        "Fjordsen Alpine Easy Snowboard 1", "skis"
    )
    assert shapes("Fjordsen Alpine Storm Phone Case 3", "drybags") == shapes("Phone Case", "other")


def test_the_policy_allows_one_host_beside_the_shop_s_own(shop: server.Shop) -> None:
    policy = shop.headers()["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self' https://api.example;")
    assert "unsafe" not in policy


def test_a_taken_port_is_said_in_a_sentence(capsys: pytest.CaptureFixture[str], shop: server.Shop) -> None:
    taken = server.make_server(shop, 0)
    try:
        assert server.main(["--port", str(taken.server_port), "--api", "http://x/api"]) == 1
    finally:
        taken.server_close()
    assert "choose another with --port" in capsys.readouterr().err
