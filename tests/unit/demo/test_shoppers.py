import functools
from collections import Counter
from typing import Any

from demo.http import Http
from demo.replay import send
from demo.report import measure
from demo.shoppers import CURRENCY, Visits, visit, visitors
from tests.unit.demo.collector import Collector, running

ITEMS = ["a", "b", "c", "d", "e", "f"]
PRODUCTS = {
    item: {"item_id": item, "item_name": item.upper(), "item_category": "toys/kites", "price": 10.0 + n}
    for n, item in enumerate(ITEMS)
}
SESSIONS = [["a"], *([["a", "b", "c", "d"], ["b", "c", "d", "e", "f", "a", "b"]] * 60)]


def answered(items: list[str], k: int) -> dict[str, Any]:
    return {
        "items": [{"item_id": item, "score": 1.0} for item in ITEMS if item not in items][:k],
        "source": "model",
        "request_id": f"request-{len(items)}",
        "receipt": f"receipt-{len(items)}",
    }


@functools.cache
def visits() -> Visits:
    with running(Collector(recommend=answered)) as service:
        report = measure(Http(4), service.url, [], SESSIONS, visitors=visitors)
    return visit(report.sessions, report.visitors, report.carousels, PRODUCTS, "demo")


def by_client(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        found.setdefault(event["client_id"], []).append(event)
    return found


def test_shoppers_see_the_carousels_that_the_report_asked_for() -> None:
    found = visits()
    assert found.shoppers == len(by_client(found.events)) == 120
    for events in by_client(found.events).values():
        viewed = 0
        for event in events:
            viewed += event["event_name"] == "view_item"
            if event["event_name"] == "recommendation_impression":
                # The fake's receipt names the number of items in the request.
                assert event["receipt"] == f"receipt-{viewed}"
    assert 0 < found.count("recommendation_impression") < found.count("view_item")


def test_a_click_is_on_an_item_that_was_shown_and_is_viewed_next() -> None:
    clicks = 0
    for events in by_client(visits().events).values():
        for number, click in enumerate(events):
            if click["event_name"] != "recommendation_click":
                continue
            clicks += 1
            shown = events[number - 1]
            assert click["items"][0] in shown["items"]
            assert click["recommendation_id"] == shown["recommendation_id"]
            later = [event for event in events[number:] if event["event_name"] == "view_item"]
            if later:
                assert later[0]["items"][0]["item_id"] == click["items"][0]["item_id"]
    assert clicks > 20


def test_an_order_of_a_clicked_item_has_the_receipt_of_the_click() -> None:
    bought = 0
    orders = []
    for events in by_client(visits().events).values():
        clicked = {
            event["items"][0]["item_id"]: event["receipt"]
            for event in events
            if event["event_name"] == "recommendation_click"
        }
        for event in events:
            if event["event_name"] != "purchase":
                continue
            orders.append(event)
            (line,) = event["items"]
            assert line.get("receipt") == clicked.get(line["item_id"])
            bought += "receipt" in line
    assert bought
    assert {event["currency"] for event in orders} == {CURRENCY}
    assert len({event["transaction_id"] for event in orders}) == len(orders)


def test_a_collector_takes_all_events_of_a_visit_in_their_order() -> None:
    found = visits()
    for events in by_client(found.events).values():
        assert [event["sequence"] for event in events] == list(range(len(events)))
        times_ms = [event["client_time_ms"] for event in events]
        assert sorted(times_ms) == times_ms
    with running(Collector()) as service:
        sent = send(found.events, service.url, {"demo": "key-of-demo"})
    assert (sent.accepted, sent.refused) == (len(found.events), 0)
    assert found.clicked in {event.get("recommendation_id") for event in found.events}
    assert f"120 invented shoppers of today saw {found.count('recommendation_impression')}" in found.summary()


def test_the_mix_of_events_is_that_of_the_generated_history() -> None:
    kinds = Counter(event["event_name"] for event in visits().events)
    assert 0.03 < kinds["search"] / kinds["view_item"] < 0.12
    assert 0.07 < kinds["view_item_list"] / kinds["view_item"] < 0.18
    assert 0.05 < kinds["add_to_cart"] / kinds["view_item"] < 0.14
