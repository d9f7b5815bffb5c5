"""The contract's limits in the SDK: a field or an item that does not fit is lost, never the event."""

from __future__ import annotations

from typing import Any

import pytest

from storefront.sdk import contract
from tests.browser.conftest import Visit
from tests.browser.test_sdk import KEEP_NOTICES

GTAG = "window.dataLayer = []; function gtag() { dataLayer.push(arguments); }"
LONG_ID = "u" * 65


def open_page(visit: Visit, head: str = "") -> Any:
    visit.write(head=f"<script>{GTAG} {KEEP_NOTICES} {head}</script>")
    return visit.open()


def arrived(visit: Visit, page: Any, count: int) -> list[dict[str, Any]]:
    """Return the events after the page's view, and assert that none was refused."""
    page.evaluate("tugboat.flush()")
    events = visit.api.wait_for(count + 1)
    assert visit.api.refused() == []
    return events[1:]


def limited(page: Any) -> list[list[str]]:
    """Return the fields of each notice about a limit."""
    found: list[list[str]] = page.evaluate(
        "notices.filter((notice) => notice.type === 'limited').map((notice) => notice.fields)"
    )
    return found


# The fields of an event, those that arrive, and those that the notice names.
FIELDS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"user_id": LONG_ID}, {}, ["user_id"]),
    ({"item_list_id": "l" * 65}, {}, ["item_list_id"]),
    ({"transaction_id": "t" * 65}, {}, ["transaction_id"]),
    ({"recommendation_id": "two\nlines"}, {}, ["recommendation_id"]),
    ({"receipt": "r" * 2001}, {}, ["receipt"]),
    ({"value": 1.5e9, "currency": "IRR"}, {"currency": "IRR"}, ["value"]),
    ({"value": "-1.5e9"}, {}, ["value"]),
    ({"value": "1,299"}, {}, ["value"]),
    ({"value": "nan", "currency": "euros"}, {}, ["value", "currency"]),
    ({"value": True}, {}, ["value"]),
    ({"search_term": "s" * 501}, {"search_term": "s" * 500}, ["search_term"]),
    ({"search_term": "tent \ud83d"}, {"search_term": "tent \ufffd"}, []),
    ({"item_list_id": " home\n"}, {"item_list_id": "home"}, []),
    ({"item_list_id": "half \ud83d"}, {}, ["item_list_id"]),
    ({"transaction_id": 12, "value": " 4,245.42 "}, {"transaction_id": "12", "value": 4245.42}, []),
    ({"value": "1.299,00"}, {"value": 1299}, []),
    ({"value": "12,5"}, {"value": 12.5}, []),
    ({"value": "", "currency": None}, {}, []),
    (
        {"page_location": "https://a.example/" + "p" * 2000},
        {"page_location": "https://a.example/" + "p" * 1982},
        ["page_location"],
    ),
]


def test_a_field_beyond_the_contract_is_lost_and_announced(visit: Visit) -> None:
    page = open_page(visit)
    for fields, _, _ in FIELDS:
        page.evaluate("(fields) => gtag('event', 'refund', fields)", {**fields, "items": [{"item_id": "a"}]})
    events = arrived(visit, page, len(FIELDS))
    arriving = [
        {name: event[name] for name in case[0] if name in event}
        for event, case in zip(events, FIELDS, strict=True)
    ]
    assert arriving == [kept for _, kept, _ in FIELDS]
    assert [event["items"] for event in events] == [[{"item_id": "a"}]] * len(FIELDS)
    assert limited(page) == [lost for _, _, lost in FIELDS if lost]


# An item, and what arrives of it.
ITEMS: list[tuple[dict[str, Any] | None, dict[str, Any] | None]] = [
    ({"item_id": "a" * 65}, None),
    ({"item_id": "two\nlines"}, None),
    ({"item_id": ""}, None),
    ({"item_name": "no id"}, None),
    (None, None),
    ({"item_id": "\n  SKU-1\n"}, {"item_id": "SKU-1"}),
    ({"item_id": "\U0001f6b2" * 64}, {"item_id": "\U0001f6b2" * 64}),
    ({"item_id": "c", "quantity": -1, "price": 5}, {"item_id": "c", "price": 5}),
    ({"item_id": "c", "quantity": 1e7, "price": -2e9}, {"item_id": "c"}),
    (
        {"item_id": "c", "quantity": "2", "price": "1.299,50"},
        {"item_id": "c", "quantity": 2, "price": 1299.5},
    ),
    (
        {"item_id": "c", "item_name": ["a"], "item_brand": {}, "item_category": "x" * 501},
        {"item_id": "c", "item_category": "x" * 500},
    ),
    ({"item_id": "c", "receipt": "r" * 2001}, {"item_id": "c"}),
]


def test_an_item_beyond_the_contract_loses_a_field_or_itself_but_never_its_neighbor(visit: Visit) -> None:
    page = open_page(visit)
    neighbor = {"item_id": "neighbor"}
    for item, _ in ITEMS:
        page.evaluate("(items) => gtag('event', 'view_item_list', {items})", [item, neighbor])
    events = arrived(visit, page, len(ITEMS))
    assert [event["items"] for event in events] == [
        [*([kept] if kept else []), neighbor] for _, kept in ITEMS
    ]


def test_a_long_user_id_of_the_configuration_costs_no_event_and_identify_is_still_used(visit: Visit) -> None:
    page = open_page(visit, f"gtag('config', 'G-1', {{user_id: '{LONG_ID}'}});")
    page.evaluate(f"tugboat.identify({{user_id: ' u7 ', client_id: '{LONG_ID}'}})")
    page.evaluate("gtag('event', 'view_item', {items: [{item_id: 'a'}]})")
    [event] = arrived(visit, page, 1)
    assert event["user_id"] == "u7"
    assert ["client_id"] in limited(page)
    assert ["user_id"] in limited(page)


def test_a_page_whose_address_is_too_long_is_viewed(visit: Visit) -> None:
    page = visit.open(visit.write("/" + "p" * 2100))
    page.evaluate("tugboat.flush()")
    [event] = visit.api.wait_for(1)
    assert len(event["page_location"]) == 2000
    assert visit.api.refused() == []


def test_a_list_that_is_too_large_for_an_event_loses_texts_and_then_its_last_items(visit: Visit) -> None:
    page = open_page(visit)
    page.evaluate(
        """gtag("event", "view_item_list", {
          search_term: "\U0001f6b2".repeat(500), page_referrer: "https://a.example/" + "ü".repeat(1900),
          items: Array.from({length: 200}, (_, n) => (
            {item_id: "ü".repeat(60) + n, item_name: "n".repeat(500), price: 129.95, quantity: 1})),
        })"""
    )
    [event] = arrived(visit, page, 1)
    assert 50 < len(event["items"]) < 200
    assert event["items"][0] == {"item_id": "ü" * 60 + "0", "price": 129.95, "quantity": 1}
    assert limited(page) == [["items", "page_referrer", "page_location"]]


def test_the_sdk_s_limits_are_the_schema_s() -> None:
    schema = contract.read_schema()
    amount = schema["definitions"]["amount"]
    quantity = schema["properties"]["items"]["items"]["properties"]["quantity"]
    assert contract.number_ranges(schema) == {
        "integer": [quantity["minimum"], quantity["maximum"]],
        "amount": [amount["minimum"], amount["maximum"]],
    }


def test_two_fields_of_one_kind_with_other_limits_stop_the_build() -> None:
    schema = contract.read_schema()
    schema["properties"]["stock"] = {"type": "integer", "minimum": 0, "maximum": 5}
    with pytest.raises(SystemExit, match="has other limits than the fields before it"):
        contract.number_ranges(schema)


ELSEWHERE = [
    "GLA",
    "AW-1/x",
    "DC-2/y/z",
    "MC-3",
    ["AW-1/x"],
    "AW-1,DC-2",
    ["ads", "AW-1"],
    "ads",
    "no such group",
]
OURS = [
    None,
    "",
    "default",
    "G-1",
    "g-1",
    "GT-1",
    "UA-1-1",
    ["AW-1", "G-1"],
    "AW-1, G-1",
    "shop",
    ["ads", "both"],
]


def test_an_event_counts_if_analytics_is_among_its_addressees(visit: Visit) -> None:
    page = open_page(
        visit,
        "gtag('config', 'AW-1', {groups: 'ads', send_page_view: false, user_id: 'x', currency: 'XXX'});"
        "gtag('config', 'G-1', {groups: ['shop', 'both']});",
    )
    for number, target in enumerate([*ELSEWHERE, *OURS]):
        page.evaluate(
            """([send_to, id]) => {
              for (const name of ["page_view", "view_item", "purchase"])
                gtag("event", name, {send_to, transaction_id: id, items: [{item_id: id}]});
            }""",
            [target, f"i{number}"],
        )
    # The page's own view was not switched off by the advertiser's configuration.
    events = arrived(visit, page, 3 * len(OURS))
    assert [event["items"][0]["item_id"] for event in events[::3]] == [
        f"i{number}" for number in range(len(ELSEWHERE), len(ELSEWHERE) + len(OURS))
    ]
    assert not any("user_id" in event or "currency" in event for event in events)


POOR = "{transaction_id: 'T1', value: 20, currency: 'EUR', user_id: 'u1'}"
RICH = "{transaction_id: 'T1', value: 21, items: [{item_id: '12', price: 20, quantity: 1}]}"


def test_of_two_copies_of_an_order_the_one_with_items_counts(visit: Visit) -> None:
    page = open_page(visit)
    orders = [(POOR, RICH), (RICH, POOR), (RICH, RICH), (POOR, RICH, POOR)]
    for number, copies in enumerate(orders):
        # In one task, so that no copy leaves before the next.
        calls = "".join(f"gtag('event', 'purchase', {copy});" for copy in copies)
        page.evaluate(calls.replace("T1", f"T{number}"))
    events = arrived(visit, page, len(orders))
    assert [event["event_id"] for event in events] == [f"purchase-T{number}" for number in range(len(orders))]
    assert [(event["items"], event["value"]) for event in events] == [
        ([{"item_id": "12", "price": 20, "quantity": 1}], 21)
    ] * len(orders)
    # The richer copy takes from the other what it lacks.
    assert [event.get("currency") for event in events] == ["EUR", "EUR", None, "EUR"]


def test_an_order_whose_poorer_copy_is_on_its_way_leaves_with_its_items(visit: Visit) -> None:
    page = open_page(visit)
    page.evaluate("tugboat.flush()")
    visit.api.wait_for(1)
    visit.api.delay_s = 0.4
    page.evaluate(f"gtag('event', 'purchase', {POOR}); setTimeout(() => tugboat.flush(), 20)")
    page.wait_for_timeout(150)
    page.evaluate(f"gtag('event', 'purchase', {RICH})")
    copies = visit.api.wait_for(2, "purchase")
    assert [len(copy.get("items", [])) for copy in copies] == [0, 1]
    page.wait_for_function("tugboat.visitor().waiting === 0")


def test_two_orders_and_two_quick_additions_stay_two(visit: Visit) -> None:
    page = open_page(visit)
    page.evaluate(
        """for (const id of ["T1", "T2"]) gtag("event", "purchase", {transaction_id: id, items: [{item_id: "12"}]});
        for (const id of ["12", "12", "gla_13", "gla_13"]) gtag("event", "add_to_cart", {items: [{item_id: id}]});"""
    )
    events = arrived(visit, page, 6)
    assert [event["event_name"] for event in events] == ["purchase"] * 2 + ["add_to_cart"] * 4
    assert [event["items"][0]["item_id"] for event in events[2:]] == ["12", "12", "13", "13"]
