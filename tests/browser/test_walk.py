"""The drawer's walk: one click of a visitor, from the shop to the carousel."""

from __future__ import annotations

import json
from typing import Any

from demo.shop import pages
from tests.browser.conftest import Visit, ready, serving_shop

TITLES = [
    "The shop sees a click",
    "The collector takes it",
    "It lies in raw/",
    "It becomes part of a session",
    "A model learns from sessions",
    "The carousel answers the click",
]


class Walk:
    """The six steps, as a visitor reads them."""

    def __init__(self, page: Any) -> None:
        self.drawer = page.get_by_role("complementary", name="Behind the scenes")
        self.rows = self.drawer.locator(".walk > li")

    def wait(self, number: int, state: str) -> None:
        self.drawer.locator(f".walk > li:nth-child({number})[data-state={state}]").wait_for()

    def read(self, number: int) -> str:
        """Open a step and return its text."""
        row = self.rows.nth(number - 1)
        if row.locator("details").get_attribute("open") is None:
            row.locator("summary").click()
        return str(row.inner_text())

    def json(self, number: int) -> dict[str, Any]:
        self.read(number)
        found: dict[str, Any] = json.loads(self.rows.nth(number - 1).locator("pre").inner_text())
        return found


def test_one_click_is_followed_through_all_six_steps(visit: Visit, shop_url: str) -> None:
    page = visit.page()
    page.goto(f"{shop_url}/p/sku-00123")
    ready(page)
    walk = Walk(page)
    assert walk.drawer.locator(".step-title").all_inner_texts() == TITLES
    walk.wait(2, "seen")
    walk.wait(3, "next")
    [stored] = visit.api.wait_for(1, "view_item")
    assert walk.json(1).items() <= {key: value for key, value in stored.items() if key != "server"}.items()
    assert walk.json(1)["event_id"] == stored["event_id"]
    assert stored["server"]["request_id"] in walk.read(2)
    key = visit.api.land()
    walk.wait(3, "seen")
    assert key in walk.read(3)
    assert walk.json(3) == stored
    assert stored["session_id"] in walk.read(4)
    assert "Items\nsku-00123" in walk.read(4)
    assert "model-7" in walk.read(5)
    assert "after sku-00123" in walk.read(5)
    walk.wait(6, "next")
    asked = walk.read(6)
    assert "Answer\nsku-00124 1.00\nsku-00125 0.500" in asked
    assert "Choose something in the carousel" in asked

    page.locator("tugboat-carousel").get_by_role("link").nth(1).click()
    page.wait_for_url("**/p/sku-00125")
    ready(page)
    visit.api.wait_for(2, "view_item")
    visit.api.land()
    for number in range(1, 7):
        walk.wait(number, "seen")
    assert "6 of 6 seen" in walk.drawer.inner_text()
    [click] = visit.api.wait_for(1, "recommendation_click")
    reported = walk.read(6)
    assert "Chosen\nsku-00125, place 2" in reported
    assert f"Recommendation\n{click['recommendation_id']}" in reported
    assert "Reported\nrecommendation_click: " in reported
    assert "sku-00123 → sku-00125" in walk.read(4)


def test_each_step_links_to_a_page_of_the_documentation_that_is_there(visit: Visit, shop_url: str) -> None:
    page = visit.page()
    page.goto(f"{shop_url}/p/sku-00123")
    ready(page)
    links = page.locator(".walk a").evaluate_all("links => links.map((link) => link.href)")
    assert len(links) == len(TITLES)
    for link in set(links):
        answer = page.request.get(link)
        assert (answer.status, answer.text()[:2]) == (200, "# ")


def test_of_a_visitor_who_refused_nothing_is_claimed(visit: Visit, shop_url: str) -> None:
    visit.context.add_init_script("localStorage['tugboat.consent'] = '\"denied\"'")
    page = visit.page()
    page.goto(f"{shop_url}/p/sku-00123")
    page.wait_for_selector("tugboat-carousel[state=shown]")
    walk = Walk(page)
    walk.wait(5, "seen")
    states = walk.rows.evaluate_all("rows => rows.map((row) => row.dataset.state)")
    assert states == ["next", "later", "later", "later", "seen", "later"]
    assert "No session is kept" in walk.read(4)


def test_a_shop_without_a_view_of_the_bucket_says_so(visit: Visit, index: pages.CatalogueIndex) -> None:
    with serving_shop(visit, index, landing=None) as url:
        page = visit.page()
        page.goto(f"{url}/p/sku-00123")
        ready(page)
        walk = Walk(page)
        walk.wait(2, "seen")
        page.get_by_text("without a view of the bucket").wait_for(state="attached")
        assert "make shop" in walk.read(3)
        walk.wait(3, "next")


def test_what_somebody_reads_in_the_drawer_stays_open_and_focused_while_events_come(
    visit: Visit, shop_url: str
) -> None:
    page = visit.page()
    page.goto(f"{shop_url}/p/sku-00123")
    ready(page)
    Walk(page).wait(2, "seen")
    row = page.locator(".events summary", has_text="view_item")
    row.focus()
    page.keyboard.press("Enter")
    page.evaluate("tugboat.track('search', {search_term: 'stove'}); tugboat.flush()")
    page.locator(".events li", has_text="stove").locator(".fate.accepted").wait_for()
    assert page.evaluate("document.activeElement.textContent").startswith("view_item")
    assert page.locator(".events details[open]").count() == 1
