"""Rules and products reach every path of /recommend, a bad set never breaks an answer, and another shop is refused."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from msgspec import json as struct_json

from functions.platform import metrics
from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_state import state_key
from functions.platform.contract import RECOMMEND_K_MAX
from functions.platform.refreshed import Refreshed
from functions.platform.s3_keys import rules_key
from functions.platform.time_box import Deadline
from functions.recommend.experiments import Assigned
from functions.recommend.recommend import recommend
from functions.recommend.recommendation import Recommendation
from functions.recommend.request import RecommendRequest
from functions.recommend.rules.model import Boost, Limit, Pin, Rule, RuleSet, Selector
from functions.recommend.steering import REFRESH_S, STALE_S, Products, sources, stored_products
from testing.fakes import FakeEndpoint, FakeS3, client_error
from testing.threads import at_once
from tests.unit.functions.recommend.test_experiments import AB, shop, with_experiments
from tests.unit.functions.recommend.test_recommend import (
    Api,
    Clock,
    environment,
    failing,
    good_answer,
    published,
)

NOW_S = 1_780_000_000.0
SOON = Deadline.after(3600)


def stored(s3: FakeS3, *rules: Rule, shop_id: str = "demo") -> FakeS3:
    """Store rules as `make rules` does."""
    rule_set = RuleSet(shop_id, "r1", rules)
    s3.put_object(Bucket="models", Key=rules_key(shop_id), Body=struct_json.encode(rule_set))
    return s3


def catalogue(s3: FakeS3, **products: dict[str, Any]) -> FakeS3:
    """Store the products of the shop demo."""
    editor = CatalogueEditor()
    for item_id, fields in products.items():
        editor.change(item_id, {"availability": "in_stock", **fields})
    s3.put_object(Bucket="models", Key=state_key("demo"), Body=editor.packed(1))
    return s3


def steered(endpoint: Any, s3: FakeS3) -> Any:
    """Return a new execution environment that reads rules and products."""
    return dataclasses.replace(environment(endpoint, s3), sources=sources(s3, "models"))


def ask(s3: FakeS3, endpoint: Any = None, now_s: float = NOW_S, **changes: Any) -> Recommendation:
    request = RecommendRequest(["z", "a"], 5, [], shop="demo")._replace(**changes)
    recommender = steered(endpoint or FakeEndpoint(good_answer), s3)
    return recommend(request, recommender, SOON, clock=lambda: now_s)


def ids(found: Recommendation) -> list[str]:
    return [item["item_id"] for item in found.items]


HERO = Rule("hero", pin=Pin(2, "p7"))
NOT_THESE = Rule("not-these", remove=Selector(items=("m0", "r1", "p0")))
PATHS = {
    "model": (FakeEndpoint(good_answer), {}, "model"),
    "empty session": (FakeEndpoint(good_answer), {"items": []}, "model"),
    "related": (failing(client_error("ModelError")), {}, "related"),
    "popular": (failing(client_error("ModelError")), {"items": []}, "popular"),
}


@pytest.mark.parametrize("path", PATHS)
def test_rules_hold_on_every_path_and_k_items_come_back(path: str) -> None:
    endpoint, changes, source = PATHS[path]
    found = ask(stored(published(), NOT_THESE, HERO), endpoint, **changes)
    assert found.source == source
    assert len(ids(found)) == len({*ids(found)}) == 5
    assert not {*ids(found)} & {"m0", "r1", "p0", "a"}
    assert found.items[1] == {"item_id": "p7", "score": 0.0, "pinned_by": "hero"}
    assert found.rules is not None
    effects = {one["id"]: one for one in found.rules}
    assert effects["hero"] == {"id": "hero", "pinned": 1}
    assert effects["not-these"]["removed"] >= 1


@pytest.mark.parametrize(
    ("treatment", "source"), [("model", "model"), ("related", "related"), ("popular", "popular")]
)
def test_rules_hold_in_every_arm_of_an_experiment(tmp_path: Path, treatment: str, source: str) -> None:
    api = Api()
    two = AB.replace("model", treatment).replace("popular", treatment)
    s3 = stored(published(), NOT_THESE, HERO)
    api.recommender = with_experiments(steered(FakeEndpoint(good_answer), s3), shop(tmp_path, two))
    answer = api.get(items="z,a", k="5", shop="demo", session="s1", client="c1")
    shown = [item["item_id"] for item in answer["items"]]
    assert (answer["source"], shown[1], len(shown)) == (source, "p7", 5)
    assert not {*shown} & {"m0", "r1", "p0"}
    receipt = api.keys.read(answer["receipt"])
    assert receipt is not None
    assert receipt.rules == "r1"
    assert [receipt.slot_of(item) for item in shown] == [0, 1, 2, 3, 4]


def test_the_holdout_stays_empty() -> None:
    request = RecommendRequest(["a"], 5, [], shop="demo")
    held = Assigned((), "none")
    recommender = steered(FakeEndpoint(good_answer), stored(published(), HERO))
    held = held._replace(assignments=(_assignment(),))
    assert recommend(request, recommender, SOON, held).items == []


def _assignment() -> Any:
    from functions.platform.receipt import Assignment

    return Assignment("holdout", "holdout", 200, "holdout")


def test_the_answer_names_each_rule_with_its_counts_and_a_shop_without_any_has_no_such_key() -> None:
    api = Api()
    query = {"items": "z,a", "k": "3", "shop": "demo"}
    assert "rules" not in api.get(**query)
    api.recommender = steered(FakeEndpoint(good_answer), stored(published(), NOT_THESE))
    answer = api.get(**query)
    assert answer["rules"] == [{"id": "not-these", "removed": 1}]
    assert answer["rules_revision"] == "r1"
    assert [item["item_id"] for item in answer["items"]] == ["m1", "m2", "m3"]


def test_a_product_that_is_sold_out_is_in_no_answer_without_any_rule() -> None:
    s3 = catalogue(
        published(), m0={"availability": "out_of_stock"}, m1={}, p0={"availability": "out_of_stock"}
    )
    found = ask(s3)
    assert ids(found) == ["m1", "m2", "m3", "m4", "m5"]
    assert found.rules == [{"id": "out-of-stock", "removed": 1}]
    assert "p0" not in ids(ask(s3, failing(client_error("ModelError")), items=[]))


def test_without_rules_and_catalogue_the_endpoint_is_asked_for_k_items_only() -> None:
    endpoint = FakeEndpoint(good_answer)
    ask(published(), endpoint)
    ask(stored(published(), HERO), endpoint)
    ask(catalogue(published(), m0={}), endpoint)
    assert [question["k"] for question in endpoint.questions] == [5, RECOMMEND_K_MAX, 25]


def test_a_narrow_filter_is_filled_from_the_popular_items_and_then_from_the_whole_catalogue() -> None:
    described = {name: {"brand": "Anchor"} for name in ("m3", "p2", "p9", "new1", "new2")}
    s3 = catalogue(published(), **described, other={"brand": "Buoy"})
    found = ask(stored(s3, Rule("anchors", only=Selector(brand="Anchor"), unknown="remove")))
    assert ids(found)[:3] == ["m3", "p2", "p9"]
    assert {*ids(found)[3:]} == {"new1", "new2"}
    assert [item["score"] for item in found.items][1:] == [0.0, 0.0, 0.0, 0.0]


def test_a_sale_begins_at_its_time_by_itself() -> None:
    noon_ms = round(NOW_S * 1000)
    sale = Rule("sale", from_ms=noon_ms, until_ms=noon_ms + 1000, pin=Pin(1, "p3"))
    s3 = stored(published(), sale)
    firsts = [ids(ask(s3, now_s=NOW_S + after))[0] for after in (-0.001, 0, 0.999, 1)]
    assert firsts == ["m0", "p3", "p3", "m0"]


def test_an_answer_that_rules_leave_empty_says_so_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    monkeypatch.setattr(metrics, "write", lambda *given, **of: written.append((*given, of)))
    found = ask(stored(published(), Rule("nothing", only=Selector(items="none-such"))))
    assert (found.items, found.reason) == ([], "the shop's rules leave no item")
    assert found.rules == [{"id": "nothing", "removed": 133}]
    [(_, values, _, of)] = written
    assert of == {"shop": "demo"}
    assert values["EmptyAnswers"] == 1


def test_each_item_says_what_brought_it_if_asked() -> None:
    def with_reasons(question: dict[str, Any]) -> dict[str, Any]:
        answer = good_answer(question)
        for item in answer["items"]:
            item["because"] = {"kind": "viewed", "item_id": "a"}
        return answer

    found = ask(stored(published(), HERO), FakeEndpoint(with_reasons), because=True, k=2)
    assert [item["because"] for item in found.items] == [
        {"kind": "viewed", "item_id": "a"},
        {"kind": "pinned"},
    ]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(Refreshed.__init__, "__defaults__", (moved, at_once))
    return moved


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"null", b'{"shop": "demo", "revision": 1}'])
def test_a_bad_stored_set_never_breaks_an_answer(clock: Clock, garbage: bytes) -> None:
    s3 = published()
    s3.put_object(Bucket="models", Key=rules_key("demo"), Body=garbage)
    recommender = steered(FakeEndpoint(good_answer), s3)
    request = RecommendRequest(["a"], 3, [], shop="demo")
    assert ids(recommend(request, recommender, SOON)) == ["m0", "m1", "m2"]
    stored(s3, HERO)
    clock.now_s += REFRESH_S
    assert ids(recommend(request, recommender, SOON)) == ["m0", "p7", "m1"]
    s3.put_object(Bucket="models", Key=rules_key("demo"), Body=garbage)
    clock.now_s += REFRESH_S
    assert ids(recommend(request, recommender, SOON)) == ["m0", "p7", "m1"], "the last good set"


def test_a_damaged_catalogue_never_breaks_an_answer(clock: Clock) -> None:
    s3 = catalogue(published(), m0={"availability": "out_of_stock"})
    recommender = steered(FakeEndpoint(good_answer), s3)
    request = RecommendRequest(["a"], 3, [], shop="demo")
    assert ids(recommend(request, recommender, SOON)) == ["m1", "m2", "m3"]
    s3.put_object(Bucket="models", Key=state_key("demo"), Body=b"TUGCAT01 damaged")
    clock.now_s += REFRESH_S
    assert ids(recommend(request, recommender, SOON)) == ["m1", "m2", "m3"]


def test_an_environment_that_was_idle_waits_for_the_new_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = Clock()
    monkeypatch.setattr(Refreshed.__init__, "__defaults__", (moved, Refreshed.__init__.__defaults__[1]))  # type: ignore[index]
    s3 = stored(published(), NOT_THESE)
    recommender = steered(FakeEndpoint(good_answer), s3)
    request = RecommendRequest(["a"], 3, [], shop="demo")
    recommend(request, recommender, SOON)
    stored(s3, HERO)
    moved.now_s += STALE_S + 1
    assert ids(recommend(request, recommender, SOON))[1] == "p7"


def test_s3_that_is_away_costs_the_rules_and_not_the_answer() -> None:
    s3 = stored(published(), HERO)
    s3.down = True
    found = ask(s3)
    assert (len(found.items), found.rules) == (5, None)


def test_a_limit_and_a_boost_change_the_order_of_the_models_items() -> None:
    s3 = catalogue(published(), m0={"brand": "A"}, m1={"brand": "A"}, m2={"brand": "B"}, m3={"brand": "C"})
    limited = ask(stored(s3, Rule("two", limit=Limit(1, "brand"))), k=3)
    assert ids(limited) == ["m0", "m2", "m3"]
    assert limited.rules == [{"id": "two", "removed": 1}]
    boosted = ask(stored(s3, Rule("c", boost=Boost(Selector(brand="C"), 1000))), k=3)
    assert ids(boosted) == ["m3", "m0", "m1"]


def test_the_products_are_loaded_again_only_if_they_changed() -> None:
    s3 = catalogue(FakeS3(), a={"price": 1.0})
    kept = stored_products(s3, "models", "demo")

    def read() -> Products:
        kept.forget()
        found = kept.get(SOON)
        assert found is not None
        assert not kept.failure
        return found

    first = read()
    assert read() is first
    catalogue(s3, a={"price": 2.0})
    second = read()
    assert second is not first
    assert second.catalogue is not None
    assert getattr(second.catalogue.product("a", 0), "price", None) == 2.0
    s3.objects.clear()
    assert read() == Products(None, None)
    catalogue(s3, a={"price": 2.0})
    assert read().catalogue is not None
