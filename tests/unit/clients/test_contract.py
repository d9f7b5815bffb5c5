"""The generated types of the Python SDK agree with the OpenAPI document."""

import ast
import typing
from typing import Any

import pytest

import contracts
from contracts import openapi, python_sdk
from functions.collect.origin import origin
from tugboat_events import EventName, Fields, Item, Recommendation, RecommendedItem
from tugboat_events.contract import EVENT_FIELDS, ITEM_FIELDS
from tugboat_events.transport import USER_AGENT

SCHEMAS = openapi.description()["components"]["schemas"]
PACKAGE = contracts.REPOSITORY / "clients" / "python" / "src" / "tugboat_events"


def test_the_event_names_and_fields_are_those_of_the_document() -> None:
    event = SCHEMAS["Event"]
    assert list(typing.get_args(EventName)) == event["properties"]["event_name"]["enum"]
    assert {*typing.get_type_hints(Fields), *python_sdk.STAMPED, *python_sdk.OF_THE_BROWSER} == event[
        "properties"
    ].keys()
    assert Fields.__required_keys__ == {*event["required"]} - {*python_sdk.STAMPED, *python_sdk.DEFAULTED}
    assert EVENT_FIELDS.keys() == typing.get_type_hints(Fields).keys()
    assert ITEM_FIELDS.keys() == typing.get_type_hints(Item).keys()


@pytest.mark.parametrize(
    ("types", "schema"),
    [
        (Item, SCHEMAS["Item"]),
        (Recommendation, SCHEMAS["Recommendation"]),
        (RecommendedItem, SCHEMAS["Recommendation"]["properties"]["items"]["items"]),
    ],
)
def test_a_type_has_the_keys_of_its_schema(types: Any, schema: dict[str, Any]) -> None:
    assert types.__required_keys__ == {*schema["required"]}
    assert types.__required_keys__ | types.__optional_keys__ == schema["properties"].keys()


def test_the_bot_filter_takes_the_sdk_for_a_back_end() -> None:
    assert not origin("203.0.113.9", USER_AGENT).is_bot
    assert origin("203.0.113.9", "python-requests/2.32.5").is_bot


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_the_source_is_python_3_9(path: Any) -> None:
    ast.parse(path.read_text(), feature_version=(3, 9))
