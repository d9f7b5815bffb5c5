"""The demo shop in Chromium: pages, events, the drawer, on a phone and on a desktop."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Visit, ready
from tests.browser.test_budgets import CLOSED_DRAWER, LAYOUT_SHIFT_MAX, OBSERVE

SIZES = {"phone": (390, 844), "desktop": (1280, 800)}


@pytest.mark.parametrize("size", SIZES)
def test_the_whole_walk_from_the_first_page_to_the_order(visit: Visit, shop_url: str, size: str) -> None:
    page = visit.page()
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
    page.add_init_script(OBSERVE)
    # Close the drawer, because its lists would count as layout shift.
    page.add_init_script(CLOSED_DRAWER)
    shifts = []

    def arrived(pattern: str) -> None:
        page.wait_for_url(pattern)
        ready(page)
        page.wait_for_timeout(60)
        shifts.append(page.evaluate("shift"))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.goto(shop_url)
    arrived("**/")
    page.get_by_role("searchbox").fill("tent")
    page.keyboard.press("Enter")
    arrived("**/search*")
    page.get_by_role("link", name="Outdoor").first.click()
    arrived("**/c/outdoor/*")
    page.locator(".grid a").first.click()
    arrived("**/p/*")
    first = page.url.rsplit("/", 1)[1]
    page.wait_for_selector("tugboat-carousel[state=shown]")
    page.locator("tugboat-carousel").get_by_role("link").first.click()
    arrived(f"**/p/sku-{int(first[4:]) + 1:05d}")
    page.wait_for_selector("tugboat-carousel[state=shown]")
    page.get_by_role("button", name="Add to cart").click()
    page.get_by_role("link", name="See it").click()
    arrived("**/cart")
    page.get_by_role("button", name="Place the order").click()
    arrived("**/done")
    page.evaluate("tugboat.flush()")
    [purchase] = visit.api.wait_for(1, "purchase")
    assert max(shifts) <= LAYOUT_SHIFT_MAX
    seen = [event["event_name"] for event in visit.api.events()]
    for name in (
        "page_view",
        "search",
        "view_item_list",
        "select_item",
        "view_item",
        "recommendation_click",
        "add_to_cart",
        "begin_checkout",
    ):
        assert name in seen
    assert seen.count("page_view") == 7
    assert purchase["event_id"] == f"purchase-{purchase['transaction_id']}"
    assert purchase["value"] == purchase["items"][0]["price"]
    assert len({event["session_id"] for event in visit.api.events()}) == 1
    assert len({event["event_id"] for event in visit.api.events()}) == len(seen)
    assert visit.api.refused() == []
    # The last request to the model contains both products.
    next_ones = [one for one in visit.api.endpoint.questions if "task" not in one]
    assert next_ones[-1]["items"][-2:] == [first, f"sku-{int(first[4:]) + 1:05d}"]


def test_a_product_s_page_asks_once_and_never_for_the_product_itself(visit: Visit, shop_url: str) -> None:
    page = visit.page()
    page.add_init_script(CLOSED_DRAWER)
    for item_id in ("sku-00123", "sku-00124"):
        page.goto(f"{shop_url}/p/{item_id}")
        page.wait_for_selector("tugboat-carousel[state=shown]")
        page.wait_for_timeout(300)
    asked = [one for one in visit.api.endpoint.questions if "task" not in one]
    assert [(one["items"], one["exclude"]) for one in asked] == [
        (["sku-00123"], ["sku-00123"]),
        (["sku-00123", "sku-00124"], ["sku-00124"]),
    ]


def test_the_drawer_shows_events_their_fate_and_the_reason_of_a_recommendation(
    visit: Visit, shop_url: str
) -> None:
    page = visit.page()
    page.goto(f"{shop_url}/p/sku-00123")
    ready(page)
    drawer = page.get_by_role("complementary", name="Behind the scenes")
    drawer.locator(".answers").get_by_text("after sku-00123").first.wait_for()
    assert drawer.locator(".source").first.inner_text() == "model"
    assert "model model-7" in drawer.locator(".answers").inner_text()
    drawer.locator(".fate.accepted").first.wait_for()
    assert drawer.locator(".events summary b").all_inner_texts()[-2:] == ["view_item", "page_view"]
    visit.api.firehose.break_next = 3
    visit.api.s3.down = True
    page.get_by_role("button", name="Add to cart").click()
    drawer.locator(".events").get_by_text("503: again in 5 s").wait_for()
    visit.api.s3.down = False
    page.goto(f"{shop_url}/cart")
    assert drawer.locator(".events summary b").all_inner_texts().count("view_item") == 1


def test_refusing_in_the_drawer_stops_the_events(visit: Visit, shop_url: str) -> None:
    page = visit.page()
    page.goto(f"{shop_url}/p/sku-00123")
    ready(page)
    page.get_by_role("button", name="Refuse").click()
    page.locator(".who").get_by_text("denied").wait_for()
    page.get_by_role("button", name="Add to cart").click()
    page.evaluate("tugboat.flush()")
    page.wait_for_timeout(200)
    assert visit.api.events("add_to_cart") == []
    assert page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('tugboat.'))") == [
        "tugboat.consent"
    ]


def test_a_shop_whose_collector_cannot_be_reached_sells_as_before(visit: Visit, shop_url: str) -> None:
    visit.context.route(f"{visit.api_url}/**", lambda route: route.abort("blockedbyclient"))
    page = visit.page()
    page.goto(f"{shop_url}/p/sku-00123")
    page.get_by_role("button", name="Add to cart").click()
    page.get_by_role("link", name="See it").click()
    page.get_by_role("button", name="Place the order").click()
    page.wait_for_url("**/done")
    page.get_by_text("Order T-").wait_for()
