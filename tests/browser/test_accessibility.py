"""The accessibility of the shop and its carousel: WCAG 2.2 AA, as far as a test can measure it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit, ready
from tests.browser.test_carousel import TITLES, VIEW, show, state

WIDTHS = {"the narrowest phone": 360, "phone": 390, "desktop": 1440}
PAGES = (
    "/",
    "/c/outdoor/tents",
    "/search?q=tent",
    "/search?q=nothing",
    "/p/sku-00123",
    "/cart",
    "/done",
    "/none",
)
CART = "localStorage['shop.cart'] = JSON.stringify({x: {item_id: 'sku-00123', item_name: 'Mug', price: 7.5, quantity: 2}})"
OPEN_DRAWER = "sessionStorage['shop.log'] ??= JSON.stringify({events: [], answers: [], open: true})"
AUDIT = Path(__file__).with_name("audit.js")
FAULTS = "[...audit.lowContrast(), ...audit.smallTargets(), ...audit.wide()]"


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
def test_text_is_told_from_its_ground_and_what_can_be_pressed_is_large_enough(
    visit: Visit, shop_url: str, width: int
) -> None:
    page = visit.page()
    page.set_viewport_size({"width": width, "height": 900})
    for script in (CART, OPEN_DRAWER):
        page.add_init_script(script)
    page.add_init_script(path=AUDIT)
    found = {}
    for path in PAGES:
        page.goto(shop_url + path)
        ready(page)
        if path in ("/p/sku-00123", "/cart"):
            page.wait_for_selector("tugboat-carousel[state=shown]")
        page.locator(".fate").first.wait_for(state="attached")
        found[path] = page.evaluate(FAULTS)
    assert {path: faults for path, faults in found.items() if faults} == {}


def test_everything_that_can_be_pressed_has_a_name_and_shows_its_focus(visit: Visit, shop_url: str) -> None:
    page = visit.page()
    page.add_init_script(OPEN_DRAWER)
    page.add_init_script(path=AUDIT)
    page.goto(f"{shop_url}/p/sku-00123")
    page.wait_for_selector("tugboat-carousel[state=shown]")
    page.locator(".fate.accepted").first.wait_for()
    seen = []
    for _ in range(120):
        page.keyboard.press("Tab")
        focus = page.evaluate("audit.focused()")
        if focus is None:
            break
        seen.append(focus)
    assert [one for one in seen if not one[0] or one[1] < 3] == []
    names = [name for name, _ in seen]
    assert names[0] == "To the content"
    for name in ("Add to cart", "Forward", "Close", "Refuse"):
        assert name in names
    assert any(name.startswith("1The shop sees a click") for name in names)


def test_the_drawer_opens_and_closes_by_keyboard_and_gives_the_focus_back(
    visit: Visit, shop_url: str
) -> None:
    page = visit.page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{shop_url}/")
    ready(page)
    toggle = page.get_by_role("button", name="Behind the scenes")
    drawer = page.get_by_role("complementary", name="Behind the scenes")
    expect(drawer).to_be_hidden()
    expect(toggle).to_have_attribute("aria-expanded", "false")
    toggle.press("Enter")
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    expect(drawer).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(toggle).to_be_focused()


def test_the_carousel_reads_as_a_named_region_with_a_list_of_links(visit: Visit) -> None:
    page = show(visit)
    page.set_viewport_size({"width": 600, "height": 800})
    state(page, "shown")
    expect(page.locator("tugboat-carousel")).to_match_aria_snapshot(
        """
        - region "More of these":
          - heading "More of these" [level=2]
          - button "Back" [disabled]
          - button "Forward"
          - list:
            - listitem:
              - link "Product sku-00011 $ 9.95"
            - listitem:
              - link "Product sku-00012 $ 9.95"
        """
    )


def test_the_carousel_says_nothing_by_itself_and_is_silent_while_it_loads(visit: Visit) -> None:
    page = show(visit)
    page.route("**/recommend*", lambda route: None)
    page.reload()
    state(page, "loading")
    region = page.get_by_role("region", name="More of these")
    assert region.get_by_role("listitem").count() == 0
    assert region.get_by_role("list").get_attribute("aria-busy") == "true"
    # New recommendations must not interrupt a screen reader.
    assert page.locator("tugboat-carousel").locator("[aria-live], [role=alert], [role=status]").count() == 0


def test_a_keyboard_stays_in_the_carousel_when_it_changes_and_at_its_ends(visit: Visit) -> None:
    page = show(visit)
    visit.write("/p/sku-00056")
    page.set_viewport_size({"width": 700, "height": 800})
    state(page, "shown")
    within = "document.activeElement.shadowRoot.activeElement"
    page.locator("tugboat-carousel").get_by_role("link").nth(2).focus()
    page.evaluate(VIEW.replace("10", "50"))
    page.wait_for_function(f"{TITLES}[0] === 'Product sku-00051'")
    assert page.evaluate(f"{within}.dataset.id") == "sku-00051"
    forward = page.get_by_role("button", name="Forward")
    forward.focus()
    for _ in range(4):
        page.keyboard.press("Enter")
        page.wait_for_timeout(250)
    expect(forward).to_be_disabled()
    assert page.evaluate(f"{within}.ariaLabel") == "Forward"
    # Tab reaches the last card too, and scrolls it into view.
    page.locator("tugboat-carousel").get_by_role("link").last.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/p/sku-00056")


def test_who_wants_less_motion_gets_none(visits: Callable[..., Visit]) -> None:
    visit = visits(reduced_motion="reduce")
    page = show(visit)
    page.route("**/recommend*", lambda route: None)
    page.reload()
    state(page, "loading")
    moving = page.evaluate(
        "document.querySelector('tugboat-carousel').shadowRoot.getAnimations({subtree: true}).length"
    )
    smooth = page.evaluate(
        "getComputedStyle(document.querySelector('tugboat-carousel').shadowRoot.querySelector('ul')).scrollBehavior"
    )
    assert (moving, smooth) == (0, "auto")
