"""/recommend always answers, with the source of its items."""

import dataclasses
import json
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from msgspec import structs

from deploy.lambdas import named
from deploy.stages import read_stage
from functions.platform.errors import Reason, RequestRefused
from functions.platform.http import ApiRequest
from functions.platform.receipt_keys import ReceiptKeys
from functions.platform.refreshed import RETRY_S, Refreshed
from functions.platform.s3_keys import current_key, fallback_key
from functions.platform.settings import RecommendSettings, read_settings
from functions.platform.time_box import Deadline
from functions.recommend.fallback import stored_fallback
from functions.recommend.recommend import Recommender, recommend
from functions.recommend.recommendation import Recommendation
from functions.recommend.request import RecommendRequest, Session, from_body, from_query
from functions.recommend.routes import answer_recommend
from functions.recommend.served import REFRESH_S, Served, served_release
from functions.recommend.shops import Recommenders
from testing.fakes import FakeEndpoint, FakeS3, FakeSecrets, client_error
from testing.threads import at_once

LOCAL = read_stage("local")
# A setting that these tests do not concern has the value of the local stage.
SETTINGS = structs.replace(
    read_settings(
        RecommendSettings,
        {"TUGBOAT_STAGE": "test", **named("api_handler").environment(LOCAL, LOCAL.account_id)},
    ),
    prefix="tugboat-test",
    endpoint_timeout_ms=300,
    models_bucket="models",
    receipts_secret="receipts",
)


def environment(endpoint: Any, s3: FakeS3) -> Recommender:
    """A new execution environment."""
    return Recommender(
        SETTINGS,
        "demo",
        endpoint,
        served_release(s3, "models", "demo"),
        stored_fallback(s3, "models", "demo"),
    )


def only(recommender: Recommender) -> Recommenders:
    """The recommenders of a stage that serves one shop."""
    return Recommenders(recommender.settings, lambda _: recommender)


def ask(request: RecommendRequest, endpoint: Any, s3: FakeS3) -> Recommendation:
    """Ask a new execution environment."""
    return recommend(request, environment(endpoint, s3), Deadline.after(20))


def published() -> FakeS3:
    s3 = FakeS3()
    popular = ", ".join(f'"p{n}"' for n in range(30))
    s3.objects["models", fallback_key("demo")] = (
        f'{{"popular": [{popular}], "related": {{"a": ["r1", "b", "r2"]}}, "model_version": "m1"}}'.encode()
    )
    return s3


def good_answer(question: dict[str, Any]) -> dict[str, Any]:
    items = [{"item_id": f"m{n}", "score": 1.0 / (n + 1)} for n in range(question["k"])]
    return {"items": items, "model_version": "m1", "source": "session", "reason": "3 items known"}


def test_the_model_answers_with_its_version_and_reason() -> None:
    found = ask(RecommendRequest(["a", "b"], 3, ["x"]), FakeEndpoint(good_answer), FakeS3())
    assert [item["item_id"] for item in found.items] == ["m0", "m1", "m2"]
    assert (found.source, found.reason, found.model_version) == ("model", "3 items known", "m1")
    assert found.variant == "all-traffic"


def test_the_session_s_ids_are_not_sent_to_the_endpoint() -> None:
    endpoint = FakeEndpoint(good_answer)
    question = RecommendRequest(["a"], 3, [], Session("demo", "s1"))
    ask(question, endpoint, FakeS3())
    assert endpoint.questions == [{"items": ["a"], "k": 3, "exclude": []}]


def test_what_brought_an_item_is_passed_on_only_if_it_is_asked() -> None:
    def answer(question: dict[str, Any]) -> dict[str, Any]:
        items = [{"item_id": "m0", "score": 1.0}, {"item_id": "m1", "score": 0.5}]
        if question.get("because"):
            items[0]["because"] = {"kind": "viewed", "item_id": "a"}
        return {"items": items, "model_version": "m1", "reason": "known"}

    plain = ask(RecommendRequest(["a"], 2, []), FakeEndpoint(answer), FakeS3())
    asked = ask(RecommendRequest(["a"], 2, [], because=True), FakeEndpoint(answer), FakeS3())
    assert all(item.keys() == {"item_id", "score"} for item in plain.items)
    assert [item.get("because") for item in asked.items] == [{"kind": "viewed", "item_id": "a"}, None]


def test_the_fallback_says_which_view_its_items_are_related_to() -> None:
    request = RecommendRequest(["z", "a", "b"], 4, [], because=True)
    found = ask(request, failing(client_error("ModelError")), published())
    related, popular = {"kind": "related", "item_id": "a"}, {"kind": "popular"}
    assert [item["because"] for item in found.items] == [related, related, popular, popular]


@pytest.mark.parametrize(
    ("given", "read"), [({}, False), ({"because": "true"}, True), ({"because": "false"}, False)]
)
def test_because_is_read_from_a_query(given: dict[str, str], read: bool) -> None:
    assert from_query({"items": "a", **given}).because is read


@pytest.mark.parametrize("because", ["1", "yes", ""])
def test_another_value_of_because_is_refused(because: str) -> None:
    with pytest.raises(RequestRefused, match="because is true or false"):
        from_query({"items": "a", "because": because})
    with pytest.raises(RequestRefused, match="because is true or false"):
        from_body(json.dumps({"items": ["a"], "because": because}).encode())
    assert from_body(b'{"items": ["a"], "because": true}').because


def failing(error: Exception) -> FakeEndpoint:
    def answer(question: dict[str, Any]) -> dict[str, Any]:
        raise error

    return FakeEndpoint(answer)


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        (failing(ReadTimeoutError(endpoint_url="x")), "ReadTimeoutError"),
        (failing(client_error("ModelError")), "ModelError"),
        (failing(client_error("ValidationError", "Endpoint not found")), "ValidationError"),
        (FakeEndpoint(lambda question: {"items": []}), "unreadable answer"),
        (FakeEndpoint(lambda question: {"other": 1}), "unreadable answer"),
    ],
)
def test_a_dead_slow_or_broken_endpoint_falls_back_and_says_why(endpoint: FakeEndpoint, why: str) -> None:
    found = ask(RecommendRequest(["z", "a", "b"], 5, ["r2"]), endpoint, published())
    assert [item["item_id"] for item in found.items] == ["r1", "p0", "p1", "p2", "p3"]
    assert (found.source, found.variant) == ("related", "fallback")
    assert why in found.reason


def test_an_unknown_session_gets_popular_items_and_never_an_empty_answer() -> None:
    found = ask(RecommendRequest(["never seen"], 10, []), failing(client_error("ModelError")), published())
    assert len(found.items) == 10
    assert found.source == "popular"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Move the clock of what is read again in the background, which is then read at once."""
    moved = Clock()
    monkeypatch.setattr(Refreshed.__init__, "__defaults__", (moved, at_once))
    return moved


SOON = Deadline.after(3600)


def test_the_fallback_survives_an_s3_failure(clock: Clock) -> None:
    s3 = published()
    fallback = stored_fallback(s3, "models", "demo")
    assert fallback.get(SOON) is not None
    s3.down = True
    clock.now_s += 301
    assert fallback.get(SOON) is not None
    assert fallback.failure == "InternalError"


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"popular": "abc", "related": {}, "model_version": "m"}',
        b'{"popular": [1]}',
    ],
)
def test_a_broken_fallback_leaves_the_old_one_and_is_read_again_only_later(
    clock: Clock, garbage: bytes
) -> None:
    s3 = published()
    fallback = stored_fallback(s3, "models", "demo")
    old = fallback.get(SOON)
    s3.objects["models", fallback_key("demo")] = garbage
    clock.now_s += 301
    reads = []
    s3.before_request = lambda: reads.append(1)
    for _ in range(5):
        assert fallback.get(SOON) == old
    assert len(reads) == 1
    clock.now_s += RETRY_S
    fallback.get(SOON)
    assert len(reads) == 2


def test_a_cold_environment_without_endpoint_and_s3_says_so_and_later_requests_do_not_wait() -> None:
    s3 = published()
    s3.down = True
    cold = environment(failing(client_error("ModelError")), s3)
    for _ in range(2):
        with pytest.raises(RequestRefused, match="InternalError") as caught:
            recommend(RecommendRequest(["a"], 3, []), cold, Deadline.after(20))
        assert caught.value.reason == Reason.MODEL_UNAVAILABLE


def test_before_the_first_model_the_refusal_names_the_next_step() -> None:
    with pytest.raises(RequestRefused, match="make run") as caught:
        ask(RecommendRequest([], 5, []), failing(client_error("ModelError")), FakeS3())
    assert caught.value.reason == Reason.NO_MODEL_YET


def test_a_query_is_read_with_its_defaults() -> None:
    assert from_query({"items": "a,b,,c"}) == RecommendRequest(["a", "b", "c"], 10, [])
    assert from_query({}) == RecommendRequest([], 10, [])
    assert from_query({"items": "a", "k": "7", "exclude": "x,y"}) == RecommendRequest(["a"], 7, ["x", "y"])


def test_a_long_session_keeps_its_latest_items() -> None:
    assert from_body(b'{"items": [%s]}' % b",".join(b'"i%d"' % n for n in range(80))).items[0] == "i30"


@pytest.mark.parametrize(
    "query",
    [
        {"k": "0"},
        {"k": "101"},
        {"k": "ten"},
        {"k": " 5 "},
        {"k": "5\n"},
        {"k": "1_0"},
        {"k": "\u0665"},
        {"k": "-5"},
        {"items": "x" * 65},
        {"exclude": ",".join("x" * 501)},
        {"shop": "", "session": "s1"},
        {"shop": "demo", "session": "x" * 65},
        {"session": "a\tb"},
    ],
)
def test_an_invalid_parameter_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(RequestRefused):
        from_query(query)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"items": "a"}',
        b'{"items": [1]}',
        b'{"k": true}',
        b'{"k": 1.5}',
        b"[" * 70_000,
        b'{"shop": 1, "session": "s1"}',
        b'{"shop": "demo", "session": "\\ud800"}',
    ],
)
def test_an_invalid_body_is_refused(body: bytes) -> None:
    with pytest.raises(RequestRefused):
        from_body(body)


def test_a_session_is_read_when_both_of_its_ids_are_given() -> None:
    assert from_query({"shop": "demo", "session": "s1"}).session == Session("demo", "s1")
    assert from_body('{"shop": "dé", "session": "s1"}'.encode()).session == Session("dé", "s1")
    assert from_query({"session": "s1"}).session is None
    assert from_body(b'{"shop": "demo", "session": null}').session is None


class Api:
    """The routes of /recommend with a model that answers, and a secret that can fail."""

    def __init__(self) -> None:
        self.secrets = FakeSecrets()
        self.keys = ReceiptKeys("receipts", lambda: self.secrets)
        self.recommender = environment(FakeEndpoint(good_answer), FakeS3())

    def get(self, **query: str) -> dict[str, Any]:
        return self.ask(ApiRequest("rec-1", "GET", query, b""))

    def post(self, body: bytes) -> dict[str, Any]:
        return self.ask(ApiRequest("rec-1", "POST", {}, body))

    def ask(self, request: ApiRequest) -> dict[str, Any]:
        answer = answer_recommend(request, only(self.recommender), self.keys, Deadline.after(20))
        assert answer.status_code == 200
        return dict(answer.body)


def test_a_request_with_shop_and_session_gets_a_receipt_for_its_items() -> None:
    api = Api()
    answers = [
        api.get(items="a", k="2", shop="demo", session="s1"),
        api.post(b'{"items": ["a"], "k": 2, "shop": "demo", "session": "s1"}'),
    ]
    for answer in answers:
        receipt = api.keys.read(answer["receipt"])
        assert receipt is not None
        assert receipt[:5] == (answer["request_id"], "demo", "s1", "m1", "all-traffic")
        assert [receipt.slot_of(item["item_id"]) for item in answer["items"]] == [0, 1]


def test_the_receipt_carries_the_placement_of_the_request() -> None:
    api = Api()
    answers = {
        "product": api.get(items="a", shop="demo", session="s1"),
        "cart": api.get(items="a", shop="demo", session="s1", placement="cart"),
        "search": api.post(b'{"items": ["a"], "shop": "demo", "session": "s1", "placement": "search"}'),
    }
    for placement, answer in answers.items():
        receipt = api.keys.read(answer["receipt"])
        assert receipt is not None
        assert receipt.placement == placement


@pytest.mark.parametrize("placement", ["basket", "", "Cart", 3, ["cart"], False, {}])
def test_an_unknown_placement_is_refused_with_the_list(placement: Any) -> None:
    with pytest.raises(RequestRefused, match="placement is one of product, home, cart, category, search"):
        from_body(json.dumps({"items": ["a"], "placement": placement}).encode())


def test_without_shop_and_session_there_is_no_receipt_and_no_key_is_read() -> None:
    api = Api()
    assert "receipt" not in api.get(items="a")
    assert "receipt" not in api.get(items="a", shop="demo")
    assert api.secrets.calls == 0


def test_without_a_key_the_answer_has_no_receipt() -> None:
    api = Api()
    api.secrets.down = True
    answer = api.get(items="a", shop="demo", session="s1")
    assert len(answer["items"]) == 10
    assert "receipt" not in answer


def test_a_person_who_opted_out_gets_items_and_no_receipt() -> None:
    api = Api()
    request = ApiRequest(
        "rec-1", "GET", {"items": "a", "shop": "demo", "session": "s1"}, b"", privacy_control=True
    )
    answer = api.ask(request)
    assert len(answer["items"]) == 10
    assert "receipt" not in answer
    ignoring = structs.replace(api.recommender.settings, global_privacy_control="ignore")
    api.recommender = dataclasses.replace(api.recommender, settings=ignoring)
    assert "receipt" in api.ask(request)


def recorded(s3: FakeS3, endpoint: str) -> FakeS3:
    s3.put_object(
        Bucket="models",
        Key=current_key("demo"),
        Body=json.dumps({"release": {"endpoint": endpoint}}).encode(),
    )
    return s3


def test_the_endpoint_of_the_release_on_record_is_asked_and_the_shops_own_before_the_first() -> None:
    s3 = FakeS3()
    endpoint = FakeEndpoint(good_answer)
    recommender = environment(endpoint, s3)
    for _ in range(2):
        recommend(RecommendRequest(["a"], 3, []), recommender, SOON)
        recorded(s3, "other")
    assert endpoint.asked == ["tugboat-test-demo", "other"], "the record is read again at once"


def test_the_record_is_read_once_a_minute_and_the_last_name_survives_an_s3_failure(clock: Clock) -> None:
    s3 = recorded(FakeS3(), "first")
    served = served_release(s3, "models", "demo")
    assert served.get(SOON) == Served("first")
    recorded(s3, "second")
    assert served.get(SOON) == Served("first")
    clock.now_s += 61
    assert served.get(SOON) == Served("second")
    s3.down = True
    clock.now_s += 61
    assert served.get(SOON) == Served("second")


def test_an_endpoint_that_does_not_exist_any_more_makes_the_next_request_read_the_record() -> None:
    s3 = recorded(published(), "gone")
    recommender = environment(failing(client_error("ValidationError", "Endpoint gone not found.")), s3)
    assert recommend(RecommendRequest(["a"], 3, []), recommender, SOON).items
    recorded(s3, "new")
    assert recommender.served.get(SOON) == Served("new")


@pytest.mark.parametrize("score", ["NaN", "Infinity"])
def test_a_score_that_json_cannot_express_is_an_unreadable_answer(score: str) -> None:
    endpoint = FakeEndpoint(lambda _: {"items": [{"item_id": "m", "score": float(score)}]})
    assert "unreadable" in ask(RecommendRequest(["a"], 3, []), endpoint, published()).reason


CANARY = {
    "shop_id": "demo",
    "endpoint": "candidate",
    "endpoint_config": "tugboat-test-demo--r2",
    "model_version": "m2",
}


def comparing(s3: FakeS3, share: int) -> FakeS3:
    """Put a canary on record."""
    stored = {"release": {"endpoint": "current"}, "canary": {"release": CANARY, "share": share}}
    s3.put_object(Bucket="models", Key=current_key("demo"), Body=json.dumps(stored).encode())
    return s3


class TwoModels(FakeEndpoint):
    """The endpoints of both releases. `candidate` answers for the candidate's."""

    def __init__(self, candidate: Any = None, version: str = "m2") -> None:
        super().__init__(good_answer)
        self._candidate = candidate or (lambda question: {**good_answer(question), "model_version": version})

    def invoke_endpoint(self, EndpointName: str, Body: bytes, **rest: Any) -> dict[str, Any]:
        self.answer = self._candidate if EndpointName == "candidate" else good_answer
        return super().invoke_endpoint(EndpointName, Body, **rest)


def patient(endpoint: Any, s3: FakeS3) -> Recommender:
    """A new execution environment that waits for the endpoint also on a busy machine."""
    settings = structs.replace(SETTINGS, endpoint_timeout_ms=20_000)
    return dataclasses.replace(environment(endpoint, s3), settings=settings)


def visit(number: int) -> RecommendRequest:
    return RecommendRequest(["a"], 3, [], Session("demo", f"s{number}"))


def test_a_canary_has_its_share_of_the_sessions_and_each_keeps_its_release_while_the_share_grows() -> None:
    answers: dict[int, dict[int, Recommendation]] = {}
    for share in (5, 25):
        recommender = patient(TwoModels(), comparing(published(), share))
        answers[share] = {number: recommend(visit(number), recommender, SOON) for number in range(1000)}
        chosen = [one for one in answers[share].values() if one.variant == "candidate"]
        assert len(chosen) == pytest.approx(share * 10, rel=0.3)
        assert {one.model_version for one in chosen} == {"m2"}
        others = [one for one in answers[share].values() if one.variant != "candidate"]
        assert {(one.variant, one.model_version) for one in others} == {("current", "m1")}
        again = {number: recommend(visit(number), recommender, SOON) for number in range(50)}
        assert again.items() <= answers[share].items()
    assert all(
        answers[25][number].variant == "candidate"
        for number, one in answers[5].items()
        if one.variant == "candidate"
    )


def test_a_candidate_of_another_shop_gets_no_session() -> None:
    s3 = comparing(published(), 100)
    stored = json.loads(s3.objects["models", current_key("demo")])
    for shop_id, variant in (("demo", "candidate"), ("other", "all-traffic")):
        stored["canary"]["release"]["shop_id"] = shop_id
        s3.objects["models", current_key("demo")] = json.dumps(stored).encode()
        assert recommend(visit(1), patient(TwoModels(), s3), SOON).variant == variant


def test_requests_without_a_session_are_divided_too() -> None:
    recommender = patient(TwoModels(), comparing(published(), 25))
    asked = [recommend(RecommendRequest(["a"], 3, []), recommender, SOON).variant for _ in range(400)]
    assert 50 < asked.count("candidate") < 150


def test_a_candidate_that_fails_costs_no_carousel() -> None:
    def broken(_: Any) -> Any:
        raise client_error("ModelError", "out of memory")

    def empty(_: Any) -> Any:
        return {"items": []}

    for candidate in (broken, empty):
        endpoint = TwoModels(candidate)
        found = recommend(visit(1), patient(endpoint, comparing(published(), 100)), SOON)
        assert endpoint.asked == ["candidate", "current"]
        assert (found.source, found.model_version, found.variant) == ("model", "m1", "all-traffic")


def test_an_endpoint_that_serves_another_model_than_the_proved_one_answers_no_shopper() -> None:
    endpoint = TwoModels(version="m3")
    found = recommend(visit(1), patient(endpoint, comparing(published(), 100)), SOON)
    assert endpoint.asked == ["candidate", "current"]
    assert found.model_version == "m1"


def test_a_withdrawn_canary_is_asked_for_seconds_only(clock: Clock) -> None:
    s3 = comparing(published(), 100)
    recommender = patient(TwoModels(), s3)
    assert recommend(visit(1), recommender, SOON).variant == "candidate"
    recorded(s3, "current")
    clock.now_s += REFRESH_S + 1
    assert recommend(visit(1), recommender, SOON).variant == "all-traffic"


@pytest.mark.parametrize(
    "canary", [5, {}, {"release": CANARY}, {"release": {}, "share": 5}, {"release": CANARY, "share": "x"}]
)
def test_a_canary_that_nobody_can_read_costs_nothing(canary: Any) -> None:
    s3 = published()
    stored = {"release": {"endpoint": "current"}, "canary": canary}
    s3.put_object(Bucket="models", Key=current_key("demo"), Body=json.dumps(stored).encode())
    assert ask(visit(1), TwoModels(), s3).variant == "all-traffic"
