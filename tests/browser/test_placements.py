"""The placements of <tugboat-carousel>: what it asks for, and what the browser keeps of earlier sessions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from demo.shop import pages
from functions.platform.contract import PLACEMENTS
from functions.recommend.lists import OWN_LISTS
from tests.browser.conftest import Visit, ready
from tests.browser.test_budgets import CLOSED_DRAWER
from tests.browser.test_carousel import STYLE, TITLES, state
from tests.browser.world import published

VISITS = "JSON.parse(localStorage.getItem('tugboat.visits'))"
# Half an hour passes without an event.
SILENCE = """(() => {
  const session = JSON.parse(localStorage.getItem("tugboat.session"));
  localStorage.setItem("tugboat.session", JSON.stringify({...session, at: session.at - 31 * 60_000}));
})()"""


def view(*numbers: int) -> str:
    return "".join(f"tugboat.track('view_item', {{items: [{{item_id: 'sku-{n:05d}'}}]}});" for n in numbers)


def show(visit: Visit, attributes: str, early: str = "") -> Any:
    """Open a page with one carousel."""
    script = f'<script async src="{visit.api_url}/api/tugboat-carousel.js"></script>'
    queue = f"<script>window.tugboat = [{early}]</script>"
    carousel = (
        f'<tugboat-carousel id="slot" k="4" cards="/cards.json?ids={{ids}}" {attributes}></tugboat-carousel>'
    )
    visit.write(head=STYLE + queue + script, body=carousel)
    return visit.open()


def asked(visit: Visit) -> dict[str, Any]:
    """Return the last request to /recommend, from its query or its body."""
    request = [one for one in visit.api.requests if one.path == "/api/recommend"][-1]
    if request.method == "POST":
        return dict(json.loads(request.body))
    from urllib.parse import parse_qsl

    return dict(parse_qsl(request.query))


def test_similar_and_bought_together_ask_with_the_page_s_own_item_alone(visit: Visit) -> None:
    published(visit.api.s3)
    for placement in ("similar", "bought_together"):
        page = show(visit, f'placement="{placement}" item="sku-00050"')
        page.evaluate(view(7, 8))
        state(page, "shown")
        page.wait_for_timeout(200)
        question = asked(visit)
        assert (question["placement"], question["items"], question["exclude"]) == (
            placement,
            "sku-00050",
            "sku-00050",
        )
    assert [one["task"] for one in visit.api.endpoint.questions] == ["similar"]


def test_a_list_of_the_shop_is_shown_in_its_new_order_and_nothing_else(visit: Visit) -> None:
    page = show(visit, 'placement="rerank" candidates="sku-00003,sku-00001,sku-00002"'.replace('k="4"', ""))
    state(page, "shown")
    assert page.evaluate(TITLES) == [f"Product sku-{n:05d}" for n in (2, 1, 3)]
    page.evaluate(
        "document.querySelector('tugboat-carousel').setAttribute('candidates', 'sku-00009,sku-00008')"
    )
    page.wait_for_function(f"{TITLES}[0] === 'Product sku-00008'")


def test_popular_asks_for_its_category_and_for_rising_items(visit: Visit) -> None:
    published(visit.api.s3)
    page = show(visit, 'placement="popular" category="outdoor/tents" rising')
    state(page, "shown")
    question = asked(visit)
    assert (question["category"], question["rising"]) == ("outdoor/tents", "true")
    assert visit.api.endpoint.questions == []


def test_a_returning_visitor_is_answered_from_earlier_sessions_which_only_the_browser_keeps(
    visit: Visit,
) -> None:
    page = show(visit, 'placement="home"')
    state(page, "shown")
    page.evaluate(view(10, 11, 10))
    page.wait_for_function(f"({VISITS}?.items || []).length === 3")
    page.evaluate(SILENCE)
    page = show(visit, 'placement="home"')
    state(page, "shown")
    assert asked(visit)["history"] == "sku-00011,sku-00010", "each once, the last view last"
    page.evaluate(view(12))
    page.wait_for_function("document.querySelector('tugboat-carousel').shadowRoot.querySelector('a')")
    page.wait_for_timeout(300)
    question = asked(visit)
    assert (question["history"], question["items"]) == ("sku-00011,sku-00010", "sku-00012")
    assert visit.api.endpoint.questions[-1]["items"] == ["sku-00011", "sku-00010", "sku-00012"]
    page = show(visit, 'placement="recently_viewed"')
    state(page, "shown")
    assert page.evaluate(TITLES) == [f"Product sku-{n:05d}" for n in (12, 10, 11)]


def test_what_was_ordered_is_offered_again(visit: Visit) -> None:
    page = show(visit, 'placement="buy_again"')
    state(page, "empty")
    order = "transaction_id: 'T1', items: [{item_id: 'sku-00031'}, {item_id: 'sku-00032'}]"
    page.evaluate(f"tugboat.track('purchase', {{{order}}}); tugboat.track('purchase', {{{order}}})")
    page.wait_for_function(f"({VISITS}?.bought || []).length === 2")
    page = show(visit, 'placement="buy_again"')
    state(page, "shown")
    assert page.evaluate(TITLES) == ["Product sku-00032", "Product sku-00031"]


def test_an_order_that_was_recorded_before_the_script_ran_counts(visit: Visit) -> None:
    early = "['track', 'purchase', {transaction_id: 'T2', items: [{item_id: 'sku-00041'}]}]"
    page = show(visit, 'placement="recently_viewed"', early)
    page.evaluate("tugboat.flush()")
    page.wait_for_function(f"({VISITS}?.bought || [])[0] === 'sku-00041'")


def test_a_shop_s_own_history_replaces_that_of_the_browser(visit: Visit) -> None:
    page = show(visit, 'placement="recently_viewed" history="sku-00001,sku-00002"')
    state(page, "shown")
    assert page.evaluate(TITLES) == ["Product sku-00002", "Product sku-00001"]


@pytest.mark.parametrize("consent", ["denied", "wait"])
def test_without_consent_nothing_is_kept_and_a_denial_deletes_what_was(visit: Visit, consent: str) -> None:
    page = show(visit, 'placement="recently_viewed"')
    page.evaluate(view(10))
    page.wait_for_function(f"({VISITS}?.items || []).length === 1")
    if consent == "denied":
        page.evaluate("tugboat.consent('denied')")
        page.wait_for_function(f"{VISITS} === null")
        page.evaluate(view(11))
        assert page.evaluate(f"{VISITS}") is None
    else:
        before = page.evaluate(VISITS)
        page.evaluate("tugboat.consent('wait')")
        page.evaluate(view(11))
        page.wait_for_timeout(100)
        assert page.evaluate(VISITS) == before


def test_damaged_storage_breaks_nothing(visit: Visit) -> None:
    page = show(visit, 'placement="home"')
    page.evaluate("localStorage.setItem('tugboat.visits', '{\"at\":1,')")
    page.evaluate(view(10))
    state(page, "shown")


def test_impressions_and_clicks_carry_the_placement(visit: Visit) -> None:
    page = show(visit, 'placement="similar" item="sku-00050"')
    state(page, "shown")
    page.locator("tugboat-carousel").get_by_role("link").first.click()
    [click] = visit.api.wait_for(1, "recommendation_click")
    assert click["server"]["receipts"][0]["placement"] == "similar"


def test_the_demo_shop_shows_every_placement_that_answers_differently(
    visit: Visit, shop_url: str, index: pages.CatalogueIndex
) -> None:
    published(visit.api.s3)
    page = visit.page()
    page.add_init_script(CLOSED_DRAWER)
    for path in ("/p/sku-00123", "/cart", "/search?q=tent", "/c/outdoor/tents", "/"):
        page.goto(shop_url + path)
        ready(page)
        page.wait_for_selector("tugboat-carousel[state=shown]")
        page.wait_for_timeout(200)
    shown = {asked["placement"] for asked in _questions(visit)}
    assert set(PLACEMENTS) - shown == {"category", "search"}, (
        "these show what comes next, like product and cart"
    )
    assert shown >= OWN_LISTS


def _questions(visit: Visit) -> list[dict[str, Any]]:
    from urllib.parse import parse_qsl

    return [
        dict(json.loads(one.body)) if one.method == "POST" else dict(parse_qsl(one.query))
        for one in visit.api.requests
        if one.path == "/api/recommend" and one.method in ("GET", "POST")
    ]
