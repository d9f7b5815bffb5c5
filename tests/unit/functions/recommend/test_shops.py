"""Shops of one stage: each is answered by its own release, and one that is not served is refused."""

import json
from typing import Any

import pytest
from msgspec import structs

from functions.platform.errors import Reason, RequestRefused
from functions.platform.http import ApiRequest
from functions.platform.refreshed import Refreshed
from functions.platform.s3_keys import current_key, fallback_key, placements_key
from functions.platform.settings import ShopIds
from functions.platform.time_box import Deadline
from functions.recommend.fallback import stored_fallback
from functions.recommend.recommend import Recommendation, Recommender, recommend
from functions.recommend.request import RecommendRequest
from functions.recommend.routes import answer_recommend
from functions.recommend.served import served_release
from functions.recommend.shops import Recommenders
from functions.recommend.steering import PerShop
from functions.recommend.tables import stored_tables
from testing.fakes import FakeEndpoint, FakeS3, client_error
from testing.threads import at_once
from tests.unit.functions.recommend.test_recommend import SETTINGS, Api, Clock, good_answer, published

SOON = Deadline.after(3600)
TWO = structs.replace(
    SETTINGS, shops=ShopIds(("demo", "second", "third")), trained_shops=ShopIds(("demo", "second"))
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Move the clock of what is read again in the background, which is then read at once."""
    moved = Clock()
    monkeypatch.setattr(Refreshed.__init__, "__defaults__", (moved, at_once))
    return moved


def recorded(s3: FakeS3, *shops: str) -> FakeS3:
    """Put a release of each shop on record, with an endpoint and a fallback of its own."""
    for shop in shops:
        record = {"release": {"endpoint": f"endpoint-of-{shop}", "shop_id": shop}}
        s3.put_object(Bucket="models", Key=current_key(shop), Body=json.dumps(record).encode())
        lists = {"popular": [f"{shop}-{n}" for n in range(20)], "related": {}, "model_version": f"m-{shop}"}
        s3.put_object(Bucket="models", Key=fallback_key(shop), Body=json.dumps(lists).encode())
    return s3


def stage(s3: FakeS3, endpoint: Any = None, settings: Any = TWO) -> Recommenders:
    """A new execution environment."""
    asked = endpoint or FakeEndpoint(good_answer)

    def of(shop: str) -> Recommender:
        served, fallback = served_release(s3, "models", shop), stored_fallback(s3, "models", shop)
        tables = PerShop(lambda shop_id: stored_tables(s3, "models", shop_id))
        return Recommender(settings, shop, asked, served, fallback, tables=tables)

    return Recommenders(settings, of)


def ask(recommenders: Recommenders, shop: str | None, **more: Any) -> Recommendation:
    return recommend(RecommendRequest(["a"], 3, [], shop=shop, **more), recommenders.of(shop), SOON)


def test_each_shop_is_answered_by_its_own_endpoint() -> None:
    endpoint = FakeEndpoint(good_answer)
    recommenders = stage(recorded(FakeS3(), "demo", "second"), endpoint)
    for shop in ("demo", "second", "demo"):
        assert ask(recommenders, shop).source == "model"
    assert endpoint.asked == ["endpoint-of-demo", "endpoint-of-second", "endpoint-of-demo"]


def test_each_shop_has_its_own_fallback() -> None:
    def failing(_: Any) -> Any:
        raise client_error("ModelError")

    recommenders = stage(recorded(FakeS3(), "demo", "second"), FakeEndpoint(failing))
    for shop in ("demo", "second"):
        found = ask(recommenders, shop)
        assert found.model_version == f"m-{shop}"
        assert [one["item_id"] for one in found.items] == [f"{shop}-{n}" for n in range(3)]


def test_each_shop_has_its_own_tables_of_placements() -> None:
    s3 = recorded(FakeS3(), "demo", "second")
    for shop in ("demo", "second"):
        tables = {"popular": {"": [f"{shop}-top"]}, "rising": {}, "bought_together": {}, "again": {}}
        body = json.dumps({**tables, "model_version": f"m-{shop}"}).encode()
        s3.put_object(Bucket="models", Key=placements_key(shop), Body=body)
    recommenders = stage(s3)
    for shop in ("demo", "second", "demo"):
        found = ask(recommenders, shop, placement="popular")
        assert (found.items[0]["item_id"], found.model_version) == (f"{shop}-top", f"m-{shop}")


def test_a_shop_whose_record_is_missing_does_not_disturb_the_others() -> None:
    recommenders = stage(recorded(FakeS3(), "demo"), FakeEndpoint(good_answer))
    assert ask(recommenders, "demo").source == "model"
    # The stage trains for it, so its endpoint may exist a moment before its record.
    assert ask(recommenders, "second").source == "model"


def test_a_trained_shop_without_a_model_has_none_yet() -> None:
    def failing(_: Any) -> Any:
        raise client_error("ValidationError", "Endpoint not found")

    with pytest.raises(RequestRefused, match=r"no model of shop second is .*make run SHOP=second") as refused:
        ask(stage(recorded(FakeS3(), "demo"), FakeEndpoint(failing)), "second")
    assert refused.value.reason is Reason.NO_MODEL_YET


@pytest.mark.parametrize(
    ("shop", "advice"), [("third", "make run SHOP=third"), ("unknown", "add it to the stage's shops")]
)
def test_a_shop_that_is_not_served_is_refused(shop: str, advice: str) -> None:
    endpoint = FakeEndpoint(good_answer)
    recommenders = stage(recorded(published(), "demo", "second"), endpoint)
    with pytest.raises(RequestRefused, match=f"no model of the shop {shop}: .*{advice}") as refused:
        ask(recommenders, shop)
    assert refused.value.reason is Reason.SHOP_NOT_SERVED
    assert endpoint.asked == []


def test_unknown_shops_cost_no_reading_and_no_memory() -> None:
    s3 = recorded(FakeS3(), "demo")
    made: list[str] = []
    recommenders = Recommenders(TWO, lambda shop: made.append(shop) or stage(s3).of(shop))  # type: ignore[func-returns-value]
    for number in range(50):
        with pytest.raises(RequestRefused):
            recommenders.of(f"shop-{number}")
    assert recommenders.of("demo") is recommenders.of("demo")
    assert made == ["demo"]


def test_a_first_run_for_a_shop_that_ended_a_moment_ago_is_followed_at_once(clock: Clock) -> None:
    s3 = recorded(FakeS3(), "demo")
    recommenders = stage(s3)
    with pytest.raises(RequestRefused):
        ask(recommenders, "third")
    recorded(s3, "third")
    clock.now_s += 2
    assert ask(recommenders, "third").source == "model"


def test_while_s3_does_not_answer_a_shop_is_not_called_unserved() -> None:
    s3 = FakeS3()
    s3.down = True
    assert ask(stage(s3), "third").source == "model"


def test_a_request_without_a_shop_is_for_the_only_one_and_refused_where_there_are_several() -> None:
    s3 = recorded(FakeS3(), "demo", "second")
    assert ask(stage(s3, settings=SETTINGS), None).source == "model"
    with pytest.raises(RequestRefused, match="shop is missing: stage test serves several shops") as refused:
        ask(stage(s3), None)
    assert refused.value.reason is Reason.PARAMETER_INVALID


def test_a_refused_shop_gets_400_and_the_reason() -> None:
    api = Api()
    request = ApiRequest("r", "GET", {"items": "a", "shop": "other", "session": "s"}, b"")
    answer = answer_recommend(request, stage(recorded(FakeS3(), "demo")), api.keys, SOON)
    assert (answer.status_code, answer.body["error"]["reason"]) == (400, "shop_not_served")
