"""A shop without a model answers from its catalogue, and without a catalogue it says what to do."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_state import CatalogueState, state_key
from functions.platform.errors import Reason, RequestRefused
from functions.platform.s3_keys import fallback_key
from functions.recommend.first_day import LIST_MAX, FirstDay
from functions.recommend.recommend import FIRST_DAY, recommend
from functions.recommend.recommendation import Recommendation
from functions.recommend.request import RecommendRequest
from functions.recommend.rules.model import Rule, Selector
from testing.fakes import FakeEndpoint, FakeS3, client_error
from tests.unit.functions.recommend.rules import shops
from tests.unit.functions.recommend.test_steering import NOW_S, SOON, catalogue, steered, stored

PRODUCTS = {
    "tent": {"category": "camping/tents", "brand": "Anchor", "price": 200.0, "item_group_id": "t"},
    "tent-red": {"category": "camping/tents", "brand": "Anchor", "price": 200.0, "item_group_id": "t"},
    "tarp": {"category": "camping/tents", "brand": "Buoy", "price": 60.0},
    "big-tent": {"category": "camping/tents", "brand": "Buoy", "price": 260.0},
    "stove": {"category": "camping/stoves", "brand": "Anchor", "price": 40.0},
    "lamp": {"category": "camping/lamps", "brand": "Buoy", "price": 20.0},
    "jacket": {"category": "clothes/jackets", "brand": "Anchor", "price": 150.0},
    "sock": {"category": "clothes/socks", "brand": "Buoy", "price": 9.0},
    "gone": {"category": "camping/tents", "brand": "Anchor", "price": 210.0, "availability": "out_of_stock"},
}


def missing(_: Any) -> Any:
    """Answer as SageMaker does where there is no endpoint."""
    raise client_error("ValidationError")


def ask(s3: FakeS3, **changes: Any) -> Recommendation:
    request = RecommendRequest(["tent"], 10, [], None, "product", True, "demo")._replace(**changes)
    return recommend(request, steered(FakeEndpoint(missing), s3), SOON, clock=lambda: NOW_S)


def ids(found: Recommendation) -> list[str]:
    return [item["item_id"] for item in found.items]


def test_similar_products_come_first_and_no_variant_nor_sold_out_one() -> None:
    found = ask(catalogue(FakeS3(), **PRODUCTS), k=6)
    assert ids(found)[:5] == ["big-tent", "tarp", "stove", "lamp", "jacket"]
    assert (found.source, found.model_version) == ("related", "none")
    assert found.items[0]["because"] == {"kind": "related", "item_id": "tent"}
    assert "gone" not in ids(ask(catalogue(FakeS3(), **PRODUCTS), k=20))


def test_without_a_known_view_the_newest_of_each_category_come_first() -> None:
    editor = CatalogueEditor()
    for at_ms, (name, fields) in enumerate(PRODUCTS.items(), start=1):
        editor.add_known(name, {"availability": "in_stock", **fields}, True, at_ms)
    s3 = FakeS3()
    s3.put_object(Bucket="models", Key=state_key("demo"), Body=editor.packed(1))
    for items in ([], ["never-seen"]):
        found = ask(s3, items=items, k=8)
        assert ids(found) == ["sock", "jacket", "lamp", "stove", "big-tent", "tarp", "tent-red", "tent"]
        assert found.source == "new"
        assert {item["because"]["kind"] for item in found.items} == {"new"}


def test_the_rules_of_the_shop_hold() -> None:
    s3 = stored(
        catalogue(FakeS3(), **PRODUCTS), Rule("no-camping", remove=Selector(category="camping/stoves"))
    )
    found = ask(s3, exclude=["lamp"], k=3)
    assert ids(found) == ["big-tent", "tarp", "jacket"]
    assert found.rules == [{"id": "no-camping", "removed": 1}]


@pytest.mark.parametrize("placement", ["product", "home", "similar", "popular", "bought_together"])
def test_every_placement_that_needs_a_model_has_items(placement: str) -> None:
    found = ask(catalogue(FakeS3(), **PRODUCTS), placement=placement, k=3)
    assert len(found.items) == 3
    assert found.model_version == "none"


@pytest.mark.parametrize("more", [{"k": 3}, {"placement": "rerank", "candidates": ["lamp", "sock"], "k": 2}])
def test_a_first_day_is_no_fallback_in_the_figures_and_no_warning_in_the_log(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    counted: list[Any] = []
    monkeypatch.setattr("functions.recommend.recommend.log.warning", pytest.fail)
    monkeypatch.setattr(
        "functions.recommend.recommend.metrics.write",
        lambda _, values, reason, **__: counted.append((values["Fallbacks"], reason)),
    )
    found = ask(catalogue(FakeS3(), **PRODUCTS), **more)
    assert counted == [(0, None)]
    assert found.reason == FIRST_DAY


def test_without_a_catalogue_the_shop_is_told_what_to_do() -> None:
    with pytest.raises(RequestRefused, match=r"make run SHOP=demo.*PUT /catalogue") as refused:
        ask(FakeS3())
    assert refused.value.reason is Reason.NO_MODEL_YET


def test_lists_that_cannot_be_read_are_no_first_day() -> None:
    s3 = catalogue(FakeS3(), **PRODUCTS)
    s3.objects["models", fallback_key("demo")] = b"{broken"
    with pytest.raises(RequestRefused) as refused:
        ask(s3)
    assert refused.value.reason is Reason.MODEL_UNAVAILABLE


def test_a_published_model_ends_the_first_day() -> None:
    s3 = catalogue(FakeS3(), **PRODUCTS)
    lists = {"popular": ["lamp", "sock"], "related": {}, "model_version": "m1"}
    s3.objects["models", fallback_key("demo")] = json.dumps(lists).encode()
    found = ask(s3, k=2)
    assert (ids(found), found.model_version) == (["lamp", "sock"], "m1")


@settings(max_examples=50)
@given(state=shops.catalogues, items=st.lists(shops.ids, max_size=4))
def test_lists_have_distinct_products_that_can_be_bought(state: CatalogueState, items: list[str]) -> None:
    found = FirstDay(state).lists(items)
    for listed in (found.popular, *found.related.values()):
        assert len(listed) == len(set(listed)) <= LIST_MAX
        assert all(state.find(item) is not None and state.is_available(item) for item in listed)
    assert set(found.related) <= set(items)
    assert all(anchor not in related for anchor, related in found.related.items())
    assert set(found.popular) == {item for item in state.items() if state.is_available(item)}
