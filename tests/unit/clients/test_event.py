"""An event of the Python SDK: what a back end has at hand becomes what the collector accepts."""

import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.functions.platform.events.test_contract import refusal
from tugboat_events.contract import EVENT_ITEMS_MAX, EVENT_MAX_BYTES, MAX_CHARACTERS
from tugboat_events.event import encoded

WHO = {"client_id": "c-1", "session_id": "s-1"}
ORDER: dict[str, Any] = {
    **WHO,
    "transaction_id": 1001,
    "value": Decimal("259.90"),
    "currency": "eur",
    "items": [{"item_id": "boot-7", "price": Decimal("129.95"), "quantity": 2}],
}


def built(event_name: str = "purchase", **fields: Any) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(encoded("demo", event_name, {**WHO, **fields})[0].json)
    return parsed


def changes(**fields: Any) -> list[str]:
    return encoded("demo", "view_item", {**WHO, **fields})[1]


def test_an_order_with_the_types_of_a_database_is_accepted() -> None:
    order = built(**ORDER)
    assert refusal(order) is None
    assert (order["transaction_id"], order["value"], order["currency"]) == ("1001", 259.9, "EUR")
    assert order["items"] == [{"item_id": "boot-7", "price": 129.95, "quantity": 2}]
    assert changes(**ORDER) == []


def test_an_order_that_is_sent_again_has_the_same_id_at_any_time() -> None:
    first = built(**ORDER, client_time_ms=1_767_225_600_000)
    assert built(**ORDER)["event_id"] == first["event_id"]
    assert built(**{**ORDER, "session_id": "s-2"})["event_id"] == first["event_id"]


@pytest.mark.parametrize(
    "other",
    [
        {"client_id": "c-2"},
        {"transaction_id": 1002},
        {"items": [{"item_id": "boot-8", "price": Decimal("129.95"), "quantity": 2}]},
        {"value": Decimal("1")},
    ],
)
def test_the_id_of_an_order_depends_on_what_an_outsider_does_not_know(other: dict[str, Any]) -> None:
    assert built(**{**ORDER, **other})["event_id"] != built(**ORDER)["event_id"]
    assert built("refund", **ORDER)["event_id"] != built(**ORDER)["event_id"]


def test_other_events_have_ids_of_their_own_and_a_given_id_is_kept() -> None:
    assert built("page_view")["event_id"] != built("page_view")["event_id"]
    assert built(**ORDER, event_id=uuid.UUID(int=1))["event_id"] == str(uuid.UUID(int=1))


def test_what_does_not_fit_is_cut_or_dropped_and_named_without_its_value() -> None:
    fields: dict[str, Any] = {
        "search_term": "b" * 501,
        "value": float("nan"),
        "price_list": "alice",
        "user_id": None,
        "page_location": "https://shop.example/a?mail=alice@example.org#b",
        "items": [{"item_id": "a", "quantity": "two"}, {"item_name": "alice"}, "alice"],
    }
    event = built("view_item", **fields)
    assert refusal(event) is None
    assert event["search_term"] == "b" * MAX_CHARACTERS["text"]
    assert event["page_location"] == "https://shop.example/a"
    assert event["items"] == [{"item_id": "a"}]
    assert not {"value", "price_list", "user_id"} & event.keys()
    told = changes(**fields)
    assert [change.split()[0] for change in told] == [
        "search_term",
        "value",
        "price_list",
        "items[0].quantity",
        "2",
    ]
    assert "alice" not in str(told)


def test_an_event_that_is_too_large_keeps_its_items_without_names() -> None:
    long = [
        {"item_id": f"i{number}", "item_name": "name " * 40, "quantity": 1}
        for number in range(EVENT_ITEMS_MAX + 1)
    ]
    event = built(**{**ORDER, "items": long})
    assert event["items"][-1] == {"item_id": f"i{EVENT_ITEMS_MAX - 1}", "quantity": 1}
    assert refusal(event) is None
    receipts = [{"item_id": str(number), "item_name": "n", "receipt": "r" * 1_000} for number in range(20)]
    event = built(**{**ORDER, "items": receipts})
    assert len(json.dumps(event)) > EVENT_MAX_BYTES
    assert event["items"][0]["item_name"] == "n"


def test_half_a_surrogate_pair_spoils_only_its_own_event() -> None:
    assert encoded("demo", "search", {**WHO, "search_term": "\ud83d"})[0].json.decode()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.decimals() | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["item_id", "price", "x"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*ORDER, "event_id", "client_time_ms", "x"]), ANYTHING))
@settings(max_examples=50, deadline=None)
def test_nothing_that_a_caller_passes_raises(fields: dict[str, Any]) -> None:
    event, _ = encoded("demo", "view_item", fields)
    assert json.loads(event.json)["shop_id"] == "demo"
