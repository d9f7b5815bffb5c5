"""Each placement of /recommend: what it shows, what stands in for it, and that rules, arms and receipts hold there."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from functions.platform.contract import (
    PLACEMENT_ANSWERS,
    PLACEMENTS,
    RECOMMEND_BOUGHT_MAX,
    RECOMMEND_CANDIDATES_MAX,
    RECOMMEND_HISTORY_MAX,
)
from functions.platform.errors import Reason, RequestRefused
from functions.platform.s3_keys import placements_key
from functions.recommend.lists import OWN_LISTS
from functions.recommend.recommend import TASKS, recommend
from functions.recommend.recommendation import Recommendation
from functions.recommend.request import RecommendRequest, from_body, from_query
from functions.recommend.rules.model import Limit, Pin, Rule, Selector
from functions.recommend.steering import PerShop
from functions.recommend.tables import stored_tables
from testing.fakes import FakeEndpoint, FakeS3, client_error
from tests.unit.functions.recommend.test_experiments import AB, shop, with_experiments
from tests.unit.functions.recommend.test_recommend import Api, environment, failing, good_answer, published
from tests.unit.functions.recommend.test_steering import SOON, catalogue, steered, stored

TABLES = {
    "model_version": "m1",
    "popular": {"": ["t1", "t2", "p0"], "gear": ["g1", "t1"], "gear/tents": ["t1", "a"]},
    "rising": {"": ["u1"], "gear": ["u2"]},
    "bought_together": {"a": [["b1", 3.0], ["b2", 2.0]], "z": [["b2", 2.5], ["a", 9.0]]},
    "again": {"": 0.1, "soap": 0.5, "tent": 0.01},
}
OTHERS = {"candidates": ("c1", "c2"), "history": ("h1",), "bought": ("soap",)}


def with_tables(s3: FakeS3) -> FakeS3:
    s3.put_object(Bucket="models", Key=placements_key("demo"), Body=json.dumps(TABLES).encode())
    return s3


def of_placements(question: dict[str, Any]) -> dict[str, Any]:
    """Answer as the endpoint: a list in reverse, similar items with a name of their own."""
    task = question.get("task", "next")
    if task == "rerank":
        items = [{"item_id": item, "score": 0.5} for item in reversed(question["candidates"])]
    else:
        name = {"next": "m", "similar": "s"}[task]
        items = [{"item_id": f"{name}{n}", "score": 1 / (n + 1)} for n in range(question["k"])]
    return {"items": items, "task": task, "model_version": "m1", "reason": task}


def new_environment(endpoint: Any, s3: FakeS3) -> Any:
    tables = PerShop(lambda shop_id: stored_tables(s3, "models", shop_id))
    return dataclasses.replace(steered(endpoint, s3), tables=tables)


def ask(placement: str, s3: FakeS3 | None = None, endpoint: Any = None, **changes: Any) -> Recommendation:
    request = RecommendRequest(["z", "a"], 3, [], placement=placement, shop="demo")._replace(**changes)
    s3 = with_tables(published()) if s3 is None else s3
    return recommend(request, new_environment(endpoint or FakeEndpoint(of_placements), s3), SOON)


def ids(found: Recommendation) -> list[str]:
    return [item["item_id"] for item in found.items]


BROKEN = failing(client_error("ModelError"))


def test_every_placement_is_answered_and_the_model_is_asked_only_where_it_is_needed() -> None:
    for placement in PLACEMENTS:
        endpoint = FakeEndpoint(of_placements)
        found = ask(placement, endpoint=endpoint, **OTHERS)
        assert found.items
        needs_model = PLACEMENT_ANSWERS[placement] in ("next", "home", *TASKS)
        assert len(endpoint.questions) == needs_model, placement


def test_a_placement_of_what_comes_next_is_answered_as_the_default() -> None:
    default = ask("product")
    assert [ask(placement) for placement in ("cart", "category", "search", "home")] == [default] * 4


def test_home_asks_the_model_with_the_views_of_earlier_sessions_before_those_of_this_one() -> None:
    endpoint = FakeEndpoint(of_placements)
    ask("home", endpoint=endpoint, history=("h1", "h2"))
    ask("home", endpoint=endpoint, history=("h1", "h2"), items=[])
    assert [question["items"] for question in endpoint.questions] == [["h1", "h2", "z", "a"], ["h1", "h2"]]
    found = ask("home", endpoint=BROKEN, history=("a",), items=[])
    assert (ids(found), found.source) == (["r1", "b", "r2"], "related")


def test_similar_asks_for_items_like_the_last_one() -> None:
    endpoint = FakeEndpoint(of_placements)
    found = ask("similar", endpoint=endpoint)
    assert (ids(found), found.source) == (["s0", "s1", "s2"], "model")
    assert endpoint.questions[0]["task"] == "similar"


def test_similar_falls_back_to_related_and_then_to_popular_items() -> None:
    found = ask("similar", endpoint=BROKEN)
    assert (ids(found), found.source, found.variant) == (["r1", "b", "r2"], "related", "fallback")
    nothing = ask("similar", items=[])
    assert (ids(nothing), nothing.source, nothing.variant) == (["p0", "p1", "p2"], "popular", "table")


@pytest.mark.parametrize("placement", ["similar", "rerank"])
def test_a_model_of_an_earlier_release_does_not_know_the_task_so_the_fallback_answers(placement: str) -> None:
    found = ask(placement, endpoint=FakeEndpoint(good_answer), **OTHERS)
    assert ids(found) == {"similar": ["r1", "b", "r2"], "rerank": ["c1", "c2"]}[placement]
    assert "EarlierModel" in found.reason


def test_bought_together_sums_the_strengths_of_the_basket_and_shows_none_of_it() -> None:
    found = ask("bought_together", because=True)
    assert ids(found) == ["b2", "b1", "r1"], "a is in the basket, and r1 is related to it"
    assert (found.source, found.variant, found.model_version) == ("bought_together", "table", "m1")
    assert [item["score"] for item in found.items] == [4.5, 3.0, 0.0]
    assert [item["because"] for item in found.items] == [
        {"kind": "bought_with", "item_id": "z"},
        {"kind": "bought_with", "item_id": "a"},
        {"kind": "related", "item_id": "a"},
    ]
    assert "z" not in ids(ask("bought_together", k=40))


def test_popular_has_the_items_of_the_category_then_those_above_it() -> None:
    assert ids(ask("popular", items=[], k=5)) == ["t1", "t2", "p0", "p1", "p2"]
    assert ids(ask("popular", items=[], k=4, category="gear/tents")) == ["t1", "a", "g1", "t2"]
    assert ids(ask("popular", items=[], k=2, category="never seen")) == ["t1", "t2"]
    rising = ask("popular", items=[], k=4, category="gear", rising=True)
    assert (ids(rising), rising.source) == (["u2", "g1", "t1", "u1"], "rising")


def test_recently_viewed_has_the_last_view_first_each_once_and_needs_no_model_and_no_s3() -> None:
    s3 = FakeS3()
    s3.down = True
    found = ask("recently_viewed", s3, BROKEN, history=("h1", "a", "h2"), exclude=["h1"], k=9)
    assert (ids(found), found.source, found.variant) == (["a", "z", "h2"], "viewed", "own")
    assert ask("recently_viewed", s3, BROKEN, items=[]).items == []


def test_buy_again_has_what_customers_buy_repeatedly_first_and_of_equals_the_newest() -> None:
    found = ask("buy_again", bought=("tent", "soap", "x", "y", "soap"), k=9)
    assert ids(found) == ["soap", "y", "x", "tent"]
    assert found.source == "bought"
    assert ids(ask("buy_again", published(), bought=("tent", "soap"))) == ["soap", "tent"]


def test_rerank_has_the_given_items_and_nothing_else_and_keeps_their_order_without_the_model() -> None:
    candidates = ("c1", "c2", "a", "c3")
    found = ask("rerank", candidates=candidates, k=4, exclude=["c2"])
    assert ids(found) == ["c3", "a", "c2", "c1"], "the model leaves out what is excluded"
    fallback = ask("rerank", endpoint=BROKEN, candidates=candidates, k=4, exclude=["c2"])
    assert (ids(fallback), fallback.source) == (["c1", "a", "c3"], "given")
    assert ids(ask("rerank", candidates=candidates, k=2)) == ["c3", "a"]


@pytest.mark.parametrize("placement", ["popular", "bought_together"])
def test_without_tables_the_lists_of_the_release_answer(placement: str) -> None:
    found = ask(placement, published())
    assert ids(found) == {"popular": ["p0", "p1", "p2"], "bought_together": ["r1", "b", "r2"]}[placement]
    assert "no table" in found.reason


@pytest.mark.parametrize("placement", ["popular", "bought_together", "similar", "home"])
def test_before_the_first_model_a_placement_that_needs_lists_is_refused_with_the_next_step(
    placement: str,
) -> None:
    with pytest.raises(RequestRefused, match="make run") as refused:
        ask(placement, FakeS3(), BROKEN)
    assert refused.value.reason == Reason.NO_MODEL_YET


NOT_THESE = Rule("not-these", remove=Selector(items=("m0", "s0", "t1", "b2", "c2", "h1", "soap")))
HERO = Rule("hero", pin=Pin(1, ("hero", "c1", "a")))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_rules_and_exclusions_hold_at_every_placement(placement: str) -> None:
    s3 = stored(with_tables(published()), NOT_THESE, HERO)
    more = {**OTHERS, "bought": ("soap", "c1", "x")}
    found = ask(placement, s3, exclude=["x"], **more)
    assert not {*ids(found)} & {"m0", "s0", "t1", "b2", "c2", "h1", "soap", "x"}
    first = {"rerank": "c1", "buy_again": "c1", "recently_viewed": "a"}.get(placement, "hero")
    assert found.items[0]["item_id"] == first, "a list of the shop or the visitor gets no item from elsewhere"
    assert found.items[0]["pinned_by"] == "hero"
    if PLACEMENT_ANSWERS[placement] not in OWN_LISTS:
        assert len(found.items) == 3


@pytest.mark.parametrize("placement", [one for one in PLACEMENTS if PLACEMENT_ANSWERS[one] not in OWN_LISTS])
def test_k_items_come_back_whenever_the_catalogue_allows(placement: str) -> None:
    """Every list is removed, so the products of the catalogue fill the answer, except those that are sold out."""
    own = Rule("own", only=Selector(brand="own"), unknown="remove")
    products = {f"own{n}": {"brand": "own"} for n in range(4)} | {"own9": {"availability": "out_of_stock"}}
    s3 = catalogue(stored(with_tables(published()), own), **products)
    assert len({*ids(ask(placement, s3))}) == 3
    assert {*ids(ask(placement, s3, k=9))} == {"own0", "own1", "own2", "own3"}


def test_sold_out_products_leave_the_lists_of_the_visitor() -> None:
    s3 = catalogue(with_tables(published()), h1={"availability": "out_of_stock"}, a={})
    found = ask("recently_viewed", s3, history=("h1", "h2"))
    assert ids(found) == ["a", "z", "h2"]


def test_a_limit_holds_for_a_list_too() -> None:
    s3 = stored(
        with_tables(published()), Rule("one", limit=Limit(1, None, None, Selector(items=("c1", "c2"))))
    )
    assert ids(ask("rerank", s3, candidates=("c1", "c2", "c3"))) == ["c3", "c2"]


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("treatment", ["model", "related", "popular", "none"])
def test_each_arm_is_answered_at_each_placement_and_the_receipt_says_so(
    tmp_path: Path, placement: str, treatment: str
) -> None:
    api = Api()
    two = AB.replace("model", treatment).replace("popular", treatment)
    api.recommender = with_experiments(
        new_environment(FakeEndpoint(of_placements), with_tables(published())), shop(tmp_path, two)
    )
    more = {name: ",".join(values) for name, values in OTHERS.items()}
    answer = api.get(items="z,a", placement=placement, shop="demo", session="s1", client="c1", **more)
    shown = [item["item_id"] for item in answer["items"]]
    assert bool(shown) == (treatment != "none")
    if PLACEMENT_ANSWERS[placement] == "rerank" and shown:
        assert shown == (["c2", "c1"] if treatment == "model" else ["c1", "c2"])
    receipt = api.keys.read(answer["receipt"])
    assert receipt is not None
    assert (receipt.placement, len(receipt.slots)) == (placement, len(shown))
    assert receipt.assignments[0].experiment == "spring"


def test_only_an_empty_list_of_the_visitor_is_no_empty_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[float] = []
    monkeypatch.setattr(
        "functions.recommend.recommend.metrics.write",
        lambda _, values, *__, **___: counted.append(values["EmptyAnswers"]),
    )
    ask("recently_viewed", items=[])
    ask("popular", stored(published(), Rule("none", only=Selector(items="none-such"))))
    assert counted == [0, 1]


def test_the_lists_of_a_request_are_read_from_a_query_and_from_a_body() -> None:
    query = {
        "placement": "rerank",
        "candidates": "a,b,a",
        "history": "h",
        "bought": "x,y",
        "category": "/gear/",
    }
    body = {**query, "candidates": ["a", "b", "a"], "history": ["h"], "bought": ["x", "y"], "rising": True}
    read = from_query({**query, "rising": "true"})
    assert read == from_body(json.dumps(body).encode())
    assert read[7:] == (("a", "b"), ("h",), ("x", "y"), "gear", True)
    assert read.k == 2, "the whole list is the default"
    assert from_query({**query, "k": "1"}).k == 1
    long = from_query({"history": ",".join(f"h{n}" for n in range(200)), "bought": ",".join("b" * 150)})
    assert (len(long.history), len(long.bought)) == (RECOMMEND_HISTORY_MAX, RECOMMEND_BOUGHT_MAX)
    assert long.history[-1] == "h199"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"placement": "rerank"}, "the placement rerank needs candidates"),
        ({"candidates": ["a"] * (RECOMMEND_CANDIDATES_MAX + 1)}, "candidates holds 101 ids, at most 100"),
        ({"history": "a"}, "history is a list of ids"),
        ({"bought": [1]}, "bought is a list of ids"),
        ({"category": 3}, "category is a path"),
        ({"category": "x" * 501}, "category is a path"),
        ({"rising": "yes"}, "rising is true or false"),
        ({"placement": "basket"}, f"placement is one of {', '.join(PLACEMENTS)}"),
    ],
)
def test_a_wrong_parameter_of_a_placement_is_refused_with_the_right_form(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestRefused, match=message) as refused:
        from_body(json.dumps(parameters).encode())
    assert refused.value.reason == Reason.PARAMETER_INVALID


@pytest.mark.parametrize(
    "garbage", [b"[]", b"{", b'{"popular": {"": "ab"}, "rising": {}, "bought_together": {}, "again": {}}']
)
def test_unreadable_tables_leave_the_lists_of_the_release(garbage: bytes) -> None:
    s3 = published()
    s3.objects["models", placements_key("demo")] = garbage
    assert ids(ask("popular", s3)) == ["p0", "p1", "p2"]


def test_tables_are_read_only_where_a_placement_needs_them() -> None:
    s3 = with_tables(published())
    keys: list[str] = []
    read = s3.get_object
    s3.get_object = lambda **asked: keys.append(asked["Key"]) or read(**asked)  # type: ignore[method-assign,func-returns-value]
    ask("product", s3)
    ask("recently_viewed", s3)
    assert placements_key("demo") not in keys
    assert environment(BROKEN, s3).tables is None, "an environment without tables answers too"
