"""Receipts in Chromium: events after a recommendation carry its receipt up to the order, in one session, with consent."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from tests.browser.conftest import Visit
from tests.browser.test_carousel import show, state
from tests.browser.world import Api

ASK = "async (items) => (window.answer = await tugboat.recommend({items, k: 30}))"
CLICK = """
(ids) => tugboat.track("recommendation_click", {
  recommendation_id: answer.request_id, receipt: answer.receipt, items: ids.map((id) => ({item_id: id})),
})
"""


def item(number: int) -> str:
    return f"sku-{number:05d}"


def stamps(event: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the verdict and the recommendation per item of a stored event."""
    return {
        of_item["item_id"]: (stamp["verdict"], stamp["recommendation_id"])
        for stamp in event["server"].get("receipts", [])
        for of_item in stamp["items"]
    }


def asked(api: Api) -> list[dict[str, list[str]]]:
    return [parse_qs(request.query) for request in api.requests if request.path == "/api/recommend"]


def test_what_is_clicked_in_the_carousel_brings_its_receipt_to_the_cart_and_the_order(visit: Visit) -> None:
    page = show(visit)
    state(page, "shown")
    page.wait_for_timeout(1_200)
    page.locator("a", has_text=item(11)).first.click()
    page.wait_for_url("**/p/sku-00011")
    page.wait_for_function("!!window.tugboat?.track")
    line = "{item_id: 'sku-00011', price: 9.95}, {item_id: 'sku-00500', price: 5}"
    for name in ("add_to_cart", "begin_checkout", "purchase"):
        page.evaluate(f"tugboat.track('{name}', {{transaction_id: 'o1', items: [{line}]}})")
    page.evaluate("tugboat.flush()")
    [impression] = visit.api.wait_for(1, "recommendation_impression")
    recommendation = impression["recommendation_id"]
    assert stamps(impression)[item(11)] == ("valid", recommendation)
    for name in ("recommendation_click", "add_to_cart", "begin_checkout", "purchase"):
        [event] = visit.api.wait_for(1, name)
        assert stamps(event) == {item(11): ("valid", recommendation)}, name


def test_the_last_click_wins(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    for start in (1, 2):
        page.evaluate(ASK, [item(start)])
        page.evaluate(CLICK, [item(5)])
    page.evaluate("tugboat.track('add_to_cart', {items: [{item_id: 'sku-00005'}]})")
    page.evaluate("tugboat.flush()")
    [event] = visit.api.wait_for(1, "add_to_cart")
    assert stamps(event) == {item(5): ("valid", page.evaluate("answer.request_id"))}


def test_the_last_twenty_clicked_items_are_remembered(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    page.evaluate(ASK, [item(0)])
    page.evaluate(CLICK, [item(number) for number in range(1, 26)])
    bought = [{"item_id": item(number)} for number in (1, 5, 6, 25)]
    page.evaluate("(items) => tugboat.track('purchase', {items})", bought)
    page.evaluate("tugboat.flush()")
    [event] = visit.api.wait_for(1, "purchase")
    assert stamps(event).keys() == {item(6), item(25)}


def test_a_recommendation_asked_before_anything_happened_belongs_to_the_session_all_the_same(
    visit: Visit,
) -> None:
    visit.write()
    page = visit.open()
    page.evaluate("localStorage.clear()")
    page.evaluate(ASK, [item(0)])
    page.evaluate(CLICK, [item(1)])
    page.evaluate("tugboat.flush()")
    [event] = visit.api.wait_for(1, "recommendation_click")
    assert stamps(event)[item(1)][0] == "valid"


def test_a_new_session_takes_no_receipt_of_the_old_one(visit: Visit) -> None:
    visit.write()
    page = visit.open(clock=True)
    page.evaluate(ASK, [item(0)])
    page.evaluate(CLICK, [item(1)])
    page.clock.fast_forward(31 * 60_000)
    page.evaluate("tugboat.track('add_to_cart', {items: [{item_id: 'sku-00001'}]})")
    page.evaluate("tugboat.flush()")
    [click] = visit.api.wait_for(1, "recommendation_click")
    [cart] = visit.api.wait_for(1, "add_to_cart")
    assert click["session_id"] != cart["session_id"]
    assert stamps(cart) == {}


def test_who_denied_is_asked_about_nobody_and_gets_no_receipt(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    assert page.evaluate(ASK, [item(0)])["receipt"].startswith("v2.")
    page.evaluate("tugboat.consent('denied')")
    assert "receipt" not in page.evaluate(ASK, [item(0)])
    granted, denied = asked(visit.api)
    assert {"shop", "session"} <= granted.keys()
    assert denied.keys() == {"items", "k"}
    assert page.evaluate("Object.keys(localStorage).filter((name) => name.startsWith('tugboat.'))") == [
        "tugboat.consent"
    ]


def test_ids_that_hold_a_comma_are_posted_and_get_a_receipt_too(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    answer = page.evaluate(ASK, ["a,b", item(0)])
    assert answer["receipt"].startswith("v2.")
