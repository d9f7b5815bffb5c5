"""<tugboat-carousel> in Chromium: it keeps its place, shows cards or nothing, and reports impressions and clicks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import Visit
from tests.browser.world import published

SHIFTS = """<script>
  window.shift = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => { window.shift += entry.value; }))
    .observe({type: "layout-shift", buffered: true});
</script>"""
CAROUSEL = '<tugboat-carousel id="slot" heading="More of these" k="6" cards="/cards.json?ids={ids}"></tugboat-carousel>'
STYLE = "<style>body{margin:0} tugboat-carousel{display:block;height:25rem} p{height:200px;margin:0}</style>"
VIEW = "tugboat.track('view_item', {items: [{item_id: 'sku-00010'}]})"
TITLES = "[...document.querySelector('tugboat-carousel').shadowRoot.querySelectorAll('.title')].map((t) => t.textContent)"


def show(
    visit: Visit,
    before: str = "",
    head: str = "",
    attributes: str = "",
    clock: bool = False,
    own: str = "",
    line: str = "",
) -> Any:
    """Open a page with a carousel after a view of sku-00010; `own` is the page's own item, `line` its attribute because."""
    carousel = CAROUSEL.replace(" id=", f' item="{own}" id=') if own else CAROUSEL
    carousel = carousel.replace(" id=", f' because="{line}" id=') if line else carousel
    script = f'<script async src="{visit.api_url}/api/tugboat-carousel.js"></script>'
    early = "<script>window.tugboat = [['track', 'view_item', {items: [{item_id: 'sku-00010'}]}]]</script>"
    visit.write(
        head=STYLE + SHIFTS + early + script + head,
        body=before + carousel + "<p>below</p>",
        attributes=attributes,
    )
    visit.write("/p/sku-00011", body="a product")
    return visit.open(clock=clock)


def state(page: Any, wanted: str) -> None:
    page.wait_for_selector(f"tugboat-carousel[state={wanted}]", state="attached")


def test_it_shows_the_model_s_items_for_the_session_and_the_page_does_not_move(visit: Visit) -> None:
    page = show(visit)
    state(page, "shown")
    assert page.evaluate(TITLES) == [f"Product sku-{n:05d}" for n in range(11, 17)]
    assert visit.api.endpoint.questions == [{"items": ["sku-00010"], "k": 6, "exclude": []}]
    page.wait_for_timeout(200)
    assert page.evaluate("shift") == 0


def test_a_click_in_the_shop_changes_it_at_once(visit: Visit) -> None:
    page = show(visit)
    state(page, "shown")
    page.evaluate("tugboat.track('view_item', {items: [{item_id: 'sku-00100'}]})")
    page.wait_for_function(f"{TITLES}[0] === 'Product sku-00101'")
    assert page.evaluate("shift") == 0
    assert visit.api.endpoint.questions[-1]["items"] == ["sku-00010", "sku-00100"]


def test_a_card_says_which_view_brought_it_if_the_shop_wants_the_line(visit: Visit) -> None:
    page = show(visit, line="Because you viewed {title}")
    state(page, "shown")
    lines = "[...document.querySelector('tugboat-carousel').shadowRoot.querySelectorAll('.because')].map((t) => t.textContent)"
    assert page.evaluate(lines) == ["Because you viewed Product sku-00010"]
    assert visit.api.endpoint.questions[-1]["because"] is True
    page.wait_for_timeout(200)
    assert page.evaluate("shift") == 0


def test_on_a_product_s_page_the_first_answer_is_that_to_the_view_although_the_view_comes_later(
    visit: Visit,
) -> None:
    page = show(visit, own="sku-00012")
    state(page, "shown")
    # The session contains only sku-00010, after which the fake model returns this item.
    assert page.evaluate(TITLES)[0] == "Product sku-00013"
    question = {"items": ["sku-00010", "sku-00012"], "k": 6, "exclude": ["sku-00012"]}
    assert visit.api.endpoint.questions == [question]
    page.evaluate("tugboat.track('view_item', {items: [{item_id: 'sku-00012'}]})")
    page.wait_for_timeout(300)
    assert visit.api.endpoint.questions == [question]


def test_the_page_s_own_item_stays_out_after_another_went_into_the_cart(visit: Visit) -> None:
    page = show(visit, own="sku-00010")
    state(page, "shown")
    page.evaluate("tugboat.track('add_to_cart', {items: [{item_id: 'sku-00100'}]})")
    page.wait_for_function(f"{TITLES}[0] === 'Product sku-00101'")
    question = {"items": ["sku-00010", "sku-00100"], "k": 6, "exclude": ["sku-00010"]}
    assert visit.api.endpoint.questions[-1] == question


def test_a_shop_of_one_page_changes_the_item_with_its_address(visit: Visit) -> None:
    page = show(visit, own="sku-00010")
    state(page, "shown")
    page.evaluate("document.querySelector('tugboat-carousel').setAttribute('item', 'sku-00200')")
    page.wait_for_function(f"{TITLES}[0] === 'Product sku-00201'")
    page.evaluate("tugboat.track('view_item', {items: [{item_id: 'sku-00200'}]})")
    page.wait_for_timeout(300)
    questions = [(question["items"], question["exclude"]) for question in visit.api.endpoint.questions]
    assert questions == [
        (["sku-00010"], ["sku-00010"]),
        (["sku-00010", "sku-00200"], ["sku-00200"]),
    ]


def test_it_is_a_labelled_list_of_links_that_a_keyboard_reaches(visit: Visit) -> None:
    page = show(visit)
    page.set_viewport_size({"width": 600, "height": 800})
    state(page, "shown")
    region = page.get_by_role("region", name="More of these")
    assert region.get_by_role("listitem").count() == 6
    assert region.get_by_role("link").first.inner_text().startswith("Product sku-00011")
    assert region.get_by_role("button", name="Forward").is_enabled()
    assert region.get_by_role("button", name="Back").is_disabled()
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.shadowRoot.activeElement.dataset.id") == "sku-00011"
    region.get_by_role("button", name="Forward").click()
    page.wait_for_function(
        "document.querySelector('tugboat-carousel').shadowRoot.querySelector('.back').getAttribute('aria-disabled') === 'false'"
    )


@pytest.mark.parametrize("trouble", ["no model yet", "no answer", "no cards", "an empty answer"])
def test_it_shows_nothing_rather_than_an_error_and_keeps_its_place(visit: Visit, trouble: str) -> None:
    if trouble == "no cards":
        visit.context.route("**/cards.json*", lambda route: route.fulfill(status=500, body="broken"))
    elif trouble == "no answer":
        visit.context.route("**/recommend*", lambda route: route.abort())
    elif trouble == "an empty answer":
        visit.context.route("**/recommend*", lambda route: route.fulfill(status=200, body='{"items": []}'))
    else:
        visit.api.endpoint.answer = lambda question: {"items": []}
    page = show(visit)
    state(page, "empty")
    assert page.evaluate(TITLES) == []
    assert page.evaluate("document.querySelector('p').getBoundingClientRect().top") == 400
    assert page.evaluate("shift") == 0
    assert page.locator("tugboat-carousel").is_visible() is False


def test_below_the_fold_an_empty_one_gives_its_place_back_unseen(visit: Visit) -> None:
    visit.api.endpoint.answer = lambda question: {"items": []}
    page = show(visit, before="<div style='height: 2000px'></div>")
    state(page, "empty")
    assert page.evaluate("document.querySelector('p').getBoundingClientRect().top") == 2000
    assert page.evaluate("shift") == 0


def test_the_fallback_s_items_are_shown_when_the_model_is_away(visit: Visit) -> None:
    published(visit.api.s3)
    visit.api.endpoint.answer = lambda question: {"items": []}
    page = show(visit)
    state(page, "shown")
    assert page.evaluate(TITLES)[:2] == ["Product sku-00001", "Product sku-00002"]


def test_what_was_half_visible_for_a_second_is_reported_once(visit: Visit) -> None:
    page = show(visit, before="<div style='height: 1500px'></div>", clock=True)
    state(page, "shown")

    def look(at: int, for_ms: int) -> None:
        # The observer runs in real time; the test's clock makes the second pass faster.
        page.evaluate(f"scrollTo(0, {at})")
        page.wait_for_timeout(150)
        page.clock.run_for(for_ms)
        page.evaluate("tugboat.flush()")

    look(1500, 500)
    look(0, 2_000)
    assert visit.api.events("recommendation_impression") == []
    look(1500, 1_500)
    [seen] = visit.api.wait_for(1, "recommendation_impression")
    # Six cards of 192 pixels and their gaps fit into 1280 pixels.
    assert [item["item_id"] for item in seen["items"]] == [f"sku-{n:05d}" for n in range(11, 17)]
    assert seen["item_list_id"] == "slot"
    look(0, 500)
    look(1500, 1_500)
    assert len(visit.api.events("recommendation_impression")) == 1


def test_a_click_is_reported_with_the_recommendation_it_belongs_to_although_the_page_goes(
    visit: Visit,
) -> None:
    page = show(visit)
    state(page, "shown")
    page.get_by_role("link").first.click()
    page.wait_for_url("**/p/sku-00011")
    [click] = visit.api.wait_for(1, "recommendation_click")
    assert click["items"] == [{"item_id": "sku-00011"}]
    assert len(click["recommendation_id"]) == 36
    assert visit.api.refused() == []


def test_a_denied_visitor_sees_it_and_leaves_nothing(visit: Visit) -> None:
    page = show(visit, attributes='data-consent="denied"', clock=True)
    state(page, "shown")
    assert page.evaluate(TITLES)[0] == "Product sku-00011"
    page.wait_for_timeout(150)
    page.clock.run_for(2_000)
    assert visit.api.events() == []
    assert page.evaluate("localStorage.length") == 0


def test_a_shop_themes_it_by_custom_properties_and_parts(visit: Visit) -> None:
    theme = """<style>tugboat-carousel{--tugboat-card-width: 9rem; --tugboat-card-background: rgb(1, 2, 3)}
      tugboat-carousel::part(title){color: rgb(4, 5, 6)}</style>"""
    page = show(visit, head=theme)
    state(page, "shown")
    card = page.evaluate(
        """(() => { const card = document.querySelector("tugboat-carousel").shadowRoot.querySelector("a");
        const title = getComputedStyle(card.querySelector(".title"));
        return [card.offsetWidth, getComputedStyle(card).backgroundColor, title.color]; })()"""
    )
    assert card == [144, "rgb(1, 2, 3)", "rgb(4, 5, 6)"]


HOSTILE = [
    "javascript:window.pwned = 1",
    " javascript:window.pwned = 1",
    "\x01javascript:window.pwned = 1",
    "java\nscript:window.pwned = 1",
    "JaVaScRiPt:window.pwned = 1",
    "javascript\t:window.pwned = 1",
    "data:text/html,<script>opener.pwned = 1</script>",
    "vbscript:msgbox(1)",
    "blob:https://a.example/1",
    "file:///etc/passwd",
    "mailto:a@example.com",
    "http://[broken",
    "",
    None,
]


def cards_of(visit: Visit, cards: dict[str, Any]) -> None:
    visit.context.route("**/cards.json*", lambda route: route.fulfill(json=cards))


def test_a_card_s_address_that_is_no_web_page_is_no_link_and_a_click_does_nothing(visit: Visit) -> None:
    ids = [f"sku-{number:05d}" for number in range(11, 11 + len(HOSTILE))]
    cards_of(visit, {id_: {"title": id_, "url": url} for id_, url in zip(ids, HOSTILE, strict=True)})
    visit.context.route(
        "**/recommend*",
        lambda route: route.fulfill(
            json={"items": [{"item_id": id_, "score": 1} for id_ in ids], "request_id": "r"},
            headers={"Access-Control-Allow-Origin": "*"},
        ),
    )
    page = show(visit)
    state(page, "shown")
    cards = page.locator("tugboat-carousel a")
    assert cards.count() == len(HOSTILE)
    assert page.locator("tugboat-carousel a[href]").count() == 0
    for number in range(cards.count()):
        cards.nth(number).click()
        cards.nth(number).click(button="middle")
    page.wait_for_timeout(100)
    assert page.evaluate("window.pwned") is None
    assert (page.url, len(visit.context.pages)) == (visit.site_url + "/", 1)
    page.evaluate("tugboat.flush()")
    visit.api.wait_for(2)
    assert visit.api.events("recommendation_click") == []


@pytest.mark.parametrize(
    "url", ["/p/sku-00011", "p/sku-00011", "//{host}/p/sku-00011", " {site}/p/sku-00011"]
)
def test_a_card_s_address_may_be_relative_or_whole(visit: Visit, url: str) -> None:
    site = visit.site_url
    url = url.format(site=site, host=site.split("//")[1])
    cards_of(visit, {"sku-00011": {"title": "A product", "url": url}})
    page = show(visit)
    state(page, "shown")
    page.locator("tugboat-carousel a").first.click()
    page.wait_for_url(site + "/p/sku-00011")


def test_an_id_that_is_a_property_of_every_object_has_no_card(visit: Visit) -> None:
    ids = ["__proto__", "constructor", "toString", "hasOwnProperty", "sku-00011"]
    visit.context.route(
        "**/recommend*",
        lambda route: route.fulfill(
            json={"items": [{"item_id": id_, "score": 1} for id_ in ids], "request_id": "r"},
            headers={"Access-Control-Allow-Origin": "*"},
        ),
    )
    cards_of(visit, {"sku-00011": {"title": "A product", "url": "/p"}})
    page = show(visit)
    state(page, "shown")
    assert page.evaluate(TITLES) == ["A product"]


def test_where_the_sdk_is_blocked_no_skeleton_stays(visit: Visit) -> None:
    visit.context.route("**/tugboat.js", lambda route: route.abort())
    script = f'<script async src="{visit.api_url}/api/tugboat-carousel.js"></script>'
    visit.write(head=script, body=CAROUSEL)
    page = visit.page()
    page.clock.install()
    page.goto(visit.site_url + "/")
    state(page, "loading")
    page.clock.fast_forward(9_000)
    state(page, "empty")
