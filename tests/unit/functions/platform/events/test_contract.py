"""The contract: the generated structs decide as the reference implementation of JSON Schema does."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import contracts
from functions.platform.errors import Reason, RequestRefused
from functions.platform.events.contract import Timing, accept, line

SCHEMA = contracts.read("event.schema")
REFERENCE = jsonschema.Draft7Validator(SCHEMA)
NOW_MS = 1_592_337_718_000

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
item_names = st.sampled_from(sorted(SCHEMA["properties"]["items"]["items"]["properties"]))
items = st.lists(st.dictionaries(item_names, json_values, max_size=3) | json_values, max_size=3)
# Values near the limits of each field, which arbitrary JSON hardly ever meets.
likely_values = json_values | st.sampled_from(
    [
        1,
        1.0,
        1.5,
        2,
        True,
        "EUR",
        "eur",
        "x" * 64,
        "x" * 65,
        "x" * 501,
        "x" * 2001,
        "",
        "a\tb",
        1e9,
        1e9 + 1,
    ]
)
fields = st.sampled_from(sorted(SCHEMA["properties"]))
good = {
    "schema_version": 1,
    "event_id": "e",
    "event_name": "purchase",
    "shop_id": "demo",
    "client_id": "c",
    "session_id": "s",
    "client_time_ms": NOW_MS,
}


def refusal(event: dict[str, Any]) -> RequestRefused | None:
    """Return the refusal of an event, or None if the event satisfies the contract."""
    try:
        accept(event, frozenset({str(event.get("shop_id"))}), Timing(4_102_444_800_000))
    except RequestRefused as refused:
        return refused
    return None


def changed(changes: dict[str, Any], listed: list[Any] | None, removed: set[str]) -> dict[str, Any]:
    """Return the good event with changes, with these items, and without some fields."""
    event = {**good, **changes, **({} if listed is None else {"items": listed})}
    return {name: value for name, value in event.items() if name not in removed}


changed_events = st.builds(
    changed,
    st.dictionaries(fields, likely_values, max_size=4),
    st.none() | items,
    st.sets(st.sampled_from(sorted(good)), max_size=1),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(changed_events)
def test_the_structs_decide_as_the_reference_does(event: dict[str, Any]) -> None:
    before = json.dumps(event)
    assert (refusal(event) is None) == REFERENCE.is_valid(event)
    assert json.dumps(event) == before


@pytest.mark.parametrize(
    ("changes", "reason", "beginning"),
    [
        ({"schema_version": 1.5}, Reason.UNKNOWN_SCHEMA_VERSION, "schema_version: Expected `int`"),
        ({"event_name": "dance"}, Reason.UNKNOWN_EVENT_NAME, "event_name: Invalid enum value 'dance'; docs/"),
        ({"currency": "USD\n"}, Reason.FIELD_INVALID, "currency: Expected `str` matching regex '^[A-Z]{3}"),
        ({"value": 1e300}, Reason.FIELD_INVALID, "value: Expected `int` <= 1000000000"),
        ({"items": [{"item_id": "a"}, {}]}, Reason.FIELD_MISSING, "items[1]: Object missing required field"),
        ({"items": [{"item_id": "a", "price": True}]}, Reason.FIELD_INVALID, "items[0].price: Expected `int"),
        (
            {"items": [{"item_id": "a"}] * 201},
            Reason.FIELD_INVALID,
            "items: Expected `array` of length <= 200",
        ),
        ({"event_id": None}, Reason.FIELD_INVALID, "event_id: Expected `str`, got `null`"),
        ({"items": 5, "event_name": "dance"}, Reason.UNKNOWN_EVENT_NAME, "event_name: "),
    ],
)
def test_a_refusal_names_the_first_invalid_field_and_what_it_must_be(
    changes: dict[str, Any], reason: Reason, beginning: str
) -> None:
    refused = refusal(changes | {name: value for name, value in good.items() if name not in changes})
    assert refused is not None
    assert refused.reason is reason
    assert refused.message.startswith(beginning)


def test_a_refusal_names_every_missing_field_before_any_invalid_one() -> None:
    refused = refusal({"schema_version": 9, "event_name": "dance", "shop_id": "demo", "client_time_ms": 1})
    assert refused is not None
    assert (refused.reason, refused.message) == (
        Reason.FIELD_MISSING,
        "missing: client_id, event_id, session_id",
    )


def test_whole_numbers_with_a_fraction_of_zero_are_integers_as_in_json_schema() -> None:
    event = good | {"schema_version": 1.0, "items": [{"item_id": "a", "quantity": 3.0}], "value": 2.0}
    accepted, _ = accept(event, frozenset({"demo"}), Timing(NOW_MS))
    stored = json.loads(line(accepted, b"{}"))
    assert stored == {**event, "server": {}}


def test_every_field_of_the_contract_is_described() -> None:
    item = SCHEMA["properties"]["items"]["items"]["properties"]
    assert all(field.get("description") for field in [*SCHEMA["properties"].values(), *item.values()])
