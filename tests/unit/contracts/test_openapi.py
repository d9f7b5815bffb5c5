"""The OpenAPI document: valid, complete, and what the API does."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate

from app import app
from contracts import openapi
from functions.catalogue.batch import parse_batch as parse_changes
from functions.platform.errors import Reason, RequestRefused, http_status
from functions.platform.events.batch import parse_batch
from functions.recommend.request import from_body
from functions.scripts import scripts
from local.aws.proxy_event import Request
from testing.api import invoke
from tests.unit.contracts.test_document import Shop, examples, shop  # noqa: F401
from tests.unit.functions.platform.events.test_contract import changed_events, refusal
from tests.unit.functions.recommend.test_recommend import Api as Recommendations

DOCUMENT = openapi.description()


def validator(schema: str) -> Any:
    """Return the validator of one of the document's schemas."""
    return jsonschema.Draft202012Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]}
    )


EVENT, BATCH, QUESTION = validator("Event"), validator("Batch"), validator("Question")
CHANGE = validator("Change")


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)


def test_every_route_of_the_app_is_described_and_no_other() -> None:
    served = {(path, method.lower()) for path, methods in app.routes.items() for method in methods}
    described = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == served


def test_every_reason_is_described_under_its_status_or_refuses_events_with_a_status_of_200() -> None:
    told = {reason.value for reason in openapi.OF_EVENTS | openapi.OF_LINES | openapi.OF_PRIVACY}
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                named = [
                    reason for reason in Reason if f" {reason.value} " in f"{answer['description'][:-1]} "
                ]
                assert all(http_status(reason) == int(status) for reason in named)
                told |= {reason.value for reason in named}
    assert told == {reason.value for reason in Reason}


def test_the_document_is_served_as_generated_and_cached() -> None:
    request = Request("GET", "/openapi.json", "", [], b"", "203.0.113.9")
    answer = json.loads(invoke(request, "/openapi.json"))
    assert json.loads(answer["body"]) == DOCUMENT
    assert answer["headers"]["Content-Type"] == "application/json"
    assert answer["headers"]["ETag"]
    assert answer["headers"]["Access-Control-Allow-Origin"] == "*"
    assert scripts.DESCRIPTION.read_text("utf-8") == openapi.openapi_text()


def test_its_examples_are_valid_and_accepted() -> None:
    assert EVENT.is_valid(openapi.EXAMPLE_EVENT)
    assert refusal(openapi.EXAMPLE_EVENT) is None
    for change in openapi.EXAMPLE_CHANGES:
        assert CHANGE.is_valid(change)
        assert parse_changes(json.dumps(change).encode(), "demo").accepted == 1
    assert QUESTION.is_valid(openapi.EXAMPLE_QUESTION)
    assert from_body(json.dumps(openapi.EXAMPLE_QUESTION).encode()).session


@given(changed_events)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_event_that_the_document_allows_is_accepted_and_no_other(event: Any) -> None:
    assert EVENT.is_valid(event) == (refusal(event) is None)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "events": st.lists(st.just(openapi.EXAMPLE_EVENT), max_size=3) | st.none() | st.just([{}] * 501),
            "sent_at_ms": st.integers(-1, 5_000_000_000_000) | st.booleans() | st.text(max_size=3),
        },
    )
)
@settings(deadline=None)
def test_a_body_that_the_document_allows_is_read(body: dict[str, Any]) -> None:
    if BATCH.is_valid(body):
        assert parse_batch(json.dumps(body).encode()).events


# In Python, and not in JavaScript, the end of a pattern is also before a last line break.
ids = (
    st.text(max_size=3).filter(lambda text: not text.endswith("\n"))
    | st.just("x" * 64)
    | st.just("x" * 65)
    | st.integers(0, 9)
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "items": st.lists(ids, max_size=3) | ids,
            "k": st.integers(-1, 102) | st.booleans() | st.floats(1, 5),
            "exclude": st.lists(ids, max_size=3) | st.just(["x"] * 501),
            "shop": ids,
            "session": ids,
        },
    )
)
@settings(deadline=None)
def test_a_question_that_the_document_allows_is_answered(question: dict[str, Any]) -> None:
    if not QUESTION.is_valid(question) or not isinstance(question.get("k", 1), int):
        return  # JSON Schema's integers include 1.0
    try:
        from_body(json.dumps(question).encode())
    except RequestRefused as refused:
        pytest.fail(f"{question}: {refused}")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "item_id": ids,
            "title": ids | st.none(),
            "price": st.none() | st.floats(-1, 2e9) | ids,
            "availability": st.sampled_from(["in_stock", "soon", None]),
            "sale_starts_at_ms": st.none() | st.integers(946_684_799_999, 946_684_800_001) | st.booleans(),
            "currency": st.sampled_from(["EUR", "eur", None]),
            "category": st.none() | st.sampled_from(["", "a/b", "x" * 501]),
            "attributes": st.none() | st.dictionaries(ids, ids, max_size=2),
            "delete": st.booleans(),
            "stock": ids,
        },
    )
)
@settings(deadline=None)
def test_a_change_that_the_document_allows_is_accepted_and_no_other(change: dict[str, Any]) -> None:
    is_accepted = parse_changes(json.dumps(change).encode(), "demo").accepted == 1
    # The schema has no words for "delete stands alone".
    alone = not change.get("delete") or len(change) == 2
    assert is_accepted == (CHANGE.is_valid(change) and alone)


@pytest.mark.parametrize(
    "example",
    [one for one in examples() if "events" in one.command],
    ids=lambda example: example.command[:60],
)
def test_an_answer_of_the_collector_has_the_documented_form(example: Any, shop: Shop) -> None:  # noqa: F811
    answer = shop.curl(example.command)
    responses = DOCUMENT["paths"]["/events"]["post"]["responses"]
    schema = responses[str(answer.status)]["content"]["application/json"]["schema"]["$ref"]
    validator(schema.rpartition("/")[2]).validate(answer.json)


def test_a_recommendation_has_the_documented_form() -> None:
    answer = Recommendations().get(items="a", k="3", shop="demo", session="s1")
    validator("Recommendation").validate(answer)
