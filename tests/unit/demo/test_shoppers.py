from typing import Any

from demo.http import Http
from demo.replay import send
from demo.shoppers import CURRENCY, Visits, visit
from tests.unit.demo.collector import Collector, running

ITEMS = ["a", "b", "c", "d", "e", "f"]
PRODUCTS = {
    item: {"item_id": item, "item_name": item.upper(), "price": 10.0 + n} for n, item in enumerate(ITEMS)
}
SESSIONS = [["a"], *([["a", "b", "c", "d"], ["b", "c", "d", "e", "f", "a", "b"]] * 60)]


def answered(items: list[str], k: int) -> dict[str, Any]:
    return {
        "items": [{"item_id": item, "score": 1.0} for item in ITEMS if item not in items][:k],
        "source": "model",
        "request_id": f"request-{len(items)}",
        "receipt": f"receipt-{len(items)}",
    }


def visits(shoppers: int = 300) -> Visits:
    with running(Collector(recommend=answered)) as service:
        return visit(Http(4), service.url, SESSIONS, PRODUCTS, shop_id="demo", shoppers=shoppers)


def test_each_page_of_a_shopper_shows_a_carousel_with_its_receipt() -> None:
    found = visits()
    assert found.shoppers == 120
    views = [event for event in found.events if event["event_name"] == "view_item"]
    shown = [event for event in found.events if event["event_name"] == "recommendation_impression"]
    assert len(views) == len(shown) > 200
    assert {event["receipt"] for event in shown} <= {f"receipt-{n}" for n in range(1, 6)}
    assert all(event["items"] for event in shown)
    assert max(event["items"][0]["price"] for event in views) <= 15.0


def test_a_click_is_on_an_item_that_was_shown_and_is_viewed_next() -> None:
    events = visits().events
    clicks = [number for number, event in enumerate(events) if event["event_name"] == "recommendation_click"]
    assert clicks
    for number in clicks:
        click, shown, following = events[number], events[number - 1], events[number + 1]
        assert click["items"][0] in shown["items"]
        assert click["recommendation_id"] == shown["recommendation_id"]
        if following["event_name"] == "view_item":
            assert following["items"][0]["item_id"] == click["items"][0]["item_id"]
            assert following["client_id"] == click["client_id"]


def test_an_order_of_a_clicked_item_has_the_receipt_of_the_click() -> None:
    events = visits().events
    orders = [event for event in events if event["event_name"] == "purchase"]
    assert {event["currency"] for event in orders} == {CURRENCY}
    assert len({event["transaction_id"] for event in orders}) == len(orders) > 10
    clicked = {
        (event["client_id"], event["items"][0]["item_id"]): event["receipt"]
        for event in events
        if event["event_name"] == "recommendation_click"
    }
    receipts = {
        (event["client_id"], event["items"][0]["item_id"]): event["items"][0]["receipt"]
        for event in orders
        if "receipt" in event["items"][0]
    }
    assert receipts
    assert receipts.items() <= clicked.items()


def test_events_of_a_visit_are_in_order_and_a_collector_takes_all() -> None:
    found = visits(shoppers=20)
    assert found.shoppers == 20
    by_client: dict[str, list[dict[str, Any]]] = {}
    for event in found.events:
        by_client.setdefault(event["client_id"], []).append(event)
    assert len(by_client) == 20
    for events in by_client.values():
        assert [event["sequence"] for event in events] == list(range(len(events)))
        assert sorted(event["client_time_ms"] for event in events) == [
            event["client_time_ms"] for event in events
        ]
    with running(Collector()) as service:
        sent = send(found.events, service.url, {"demo": "key-of-demo"})
    assert (sent.accepted, sent.refused) == (len(found.events), 0)
    assert f"20 shoppers of today saw {found.count('recommendation_impression')} carousels" in found.summary()
