"""The endpoint's handlers: what SageMaker's container calls with each request."""

import json
import threading
from typing import Any

import pytest

from tests.unit.training_jobs.conftest import Trained
from training_jobs.serving import inference
from training_jobs.serving.model_files import load_golden


@pytest.fixture(scope="module")
def model(trained: Trained) -> inference.Model:
    return inference.model_fn(str(trained.model_dir))


def ask(model: inference.Model, body: Any) -> Any:
    raw = body if isinstance(body, str | bytes) else json.dumps(body)
    answer, content_type = inference.output_fn(
        inference.predict_fn(inference.input_fn(raw, "application/json"), model), "application/json"
    )
    assert content_type == "application/json"
    return json.loads(answer)


def ids(answer: Any) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_golden_sessions_are_answered_as_in_training(model: inference.Model, trained: Trained) -> None:
    for session in load_golden(trained.model_dir):
        answer = ask(model, {"items": session["items"], "k": session["k"]})
        assert ids(answer) == session["expected"]


def test_an_answer_names_its_model_source_and_reason(model: inference.Model) -> None:
    answer = ask(model, {"items": ["sku-020", "gone", "sku-021"], "k": 3})
    assert (answer["model_version"], answer["source"]) == ("m1", "session")
    assert answer["reason"] == "2 of 3 items of the session are known"
    scores = [item["score"] for item in answer["items"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("items", [[], ["gone", "never was"], None])
def test_a_session_that_says_nothing_gets_popular_items_and_says_so(
    model: inference.Model, items: Any
) -> None:
    answer = ask(model, {"items": items, "k": 4})
    assert len(set(ids(answer))) == 4
    assert answer["source"] == "popularity"


def test_excluded_items_and_the_one_being_looked_at_are_not_shown(model: inference.Model) -> None:
    first = ids(ask(model, {"items": ["sku-020"], "k": 5}))
    second = ids(ask(model, {"items": ["sku-020"], "k": 5, "exclude": [*first, "never was"]}))
    assert not {*first, "sku-020"} & set(second)
    assert len(second) == 5


def test_more_than_the_catalogue_holds_gives_the_catalogue(model: inference.Model) -> None:
    assert len(ids(ask(model, {"items": ["sku-020"], "k": 100}))) == 80


def test_k_is_twenty_where_it_is_not_given(model: inference.Model) -> None:
    assert len(ids(ask(model, {"items": ["sku-020"]}))) == 20


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "must be an object"),
        ("null", "must be an object"),
        ({"items": "sku-020"}, "items must be a list"),
        ({"items": [1]}, "items must be a list of item ids"),
        ({"items": [""]}, "items contains an id that is empty"),
        ({"items": ["x" * 257]}, "longer than 256"),
        ({"items": ["a"] * 201}, "at most 200"),
        ({"exclude": {"a": 1}}, "exclude must be a list"),
        ({"k": 0}, "k must be a whole number from 1 to 100"),
        ({"k": 101}, "k must be"),
        ({"k": -3}, "k must be"),
        ({"k": True}, "k must be"),
        ({"k": 2.5}, "k must be"),
        ({"k": "5"}, "k must be"),
        ({"k": None}, "k must be"),
    ],
)
def test_a_request_that_cannot_be_read_is_the_caller_s_mistake(
    model: inference.Model, body: Any, says: str
) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        ask(model, body)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "", None])
def test_json_is_read_under_any_of_its_names(content_type: str | None) -> None:
    assert inference.input_fn('{"items": ["a"]}', content_type).items == ["a"]


def test_another_content_type_is_refused_with_the_right_one() -> None:
    with pytest.raises(ValueError, match="send application/json"):
        inference.input_fn("items=a", "application/x-www-form-urlencoded")


def test_threads_that_ask_at_once_get_what_they_would_get_alone(model: inference.Model) -> None:
    questions = [{"items": [f"sku-{at:03}", f"sku-{at + 1:03}"], "k": 10} for at in range(20)]
    alone = [ids(ask(model, question)) for question in questions]
    found: dict[int, list[str]] = {}

    def work(at: int) -> None:
        found[at] = ids(ask(model, questions[at]))

    threads = [threading.Thread(target=work, args=(at,)) for at in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[at] for at in range(20)] == alone


def test_similar_items_are_of_the_neighbourhood_and_say_what_they_are_like(model: inference.Model) -> None:
    answer = ask(model, {"task": "similar", "items": ["sku-070", "sku-021"], "k": 6, "because": True})
    assert answer["task"] == "similar"
    assert {"sku-020", "sku-022"} <= {*ids(answer)}, "both neighbours, whatever the direction of the walk"
    assert not {"sku-021"} & {*ids(answer)}
    assert answer["items"][0]["because"] == {"kind": "related", "item_id": "sku-021"}
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    assert ids(ask(model, {"task": "similar", "items": ["sku-021"], "k": 6})) == ids(answer)
    short = ask(model, {"task": "similar", "items": ["sku-021"], "k": 3, "exclude": ids(answer)[:1]})
    assert ids(short) == ids(answer)[1:4]


def test_an_item_that_nobody_knows_is_like_popular_ones(model: inference.Model) -> None:
    answer = ask(model, {"task": "similar", "items": ["unknown"], "k": 3})
    assert answer["source"] == "popularity"
    assert ids(answer) == ids(ask(model, {"items": [], "k": 3}))


CANDIDATES = ["sku-050", "new-1", "sku-022", "sku-060", "sku-021", "new-2", "sku-023"]


def test_candidates_are_put_in_order_and_unknown_ones_keep_their_places(model: inference.Model) -> None:
    question = {"task": "rerank", "items": ["sku-020", "sku-021"], "candidates": CANDIDATES, "k": 7}
    answer = ask(model, question)
    found = ids(answer)
    assert sorted(found) == sorted(CANDIDATES)
    assert (found[1], found[4], found[5]) == ("new-1", "sku-021", "new-2"), "the viewed item stays too"
    assert {found[0], found[2]} == {"sku-022", "sku-023"}
    assert answer["source"] == "rerank"
    assert ids(ask(model, {**question, "k": 2})) == found[:2]
    assert "sku-022" not in ids(ask(model, {**question, "exclude": ["sku-022"]}))


def test_the_first_candidates_are_those_of_the_whole_ranking(model: inference.Model) -> None:
    session = ["sku-030", "sku-031"]
    whole = ids(ask(model, {"items": session, "k": 60}))
    mixed = whole[::-1][::3]
    answer = ids(ask(model, {"task": "rerank", "items": session, "candidates": mixed, "k": 60}))
    # The ranker compares the items with each other, so a list of others can order distant ones in another way.
    assert answer[:5] == sorted(mixed, key=whole.index)[:5]


@pytest.mark.parametrize("items", [[], ["unknown"]])
def test_a_session_that_says_nothing_leaves_the_list_as_it_is(
    model: inference.Model, items: list[str]
) -> None:
    answer = ask(model, {"task": "rerank", "items": items, "candidates": CANDIDATES, "k": 9})
    assert (ids(answer), answer["source"]) == (CANDIDATES, "given")


def test_the_reasons_of_a_list_are_measured_within_it(model: inference.Model) -> None:
    question = {"task": "rerank", "items": ["sku-060", "sku-020"], "candidates": CANDIDATES, "k": 7}
    answer = ask(model, {**question, "because": True})
    reasons = {item["item_id"]: item["because"] for item in answer["items"]}
    assert reasons["sku-022"] == {"kind": "viewed", "item_id": "sku-020"}
    assert reasons["sku-060"] == {"kind": "again"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"task": "sort"}, "task must be one of next, similar, rerank"),
        ({"task": ["next"]}, "task must be one of"),
        ({"task": "similar", "items": []}, "similar needs items"),
        ({"task": "rerank", "items": ["sku-001"]}, "rerank needs candidates"),
        ({"task": "rerank", "candidates": ["a"] * 101}, "candidates has 101 ids, at most 100"),
    ],
)
def test_a_wrong_task_is_the_caller_s_mistake(
    model: inference.Model, body: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        ask(model, body)
