"""What the shop's pages may cost, measured as Lighthouse measures: bytes of script, layout shift, time on the main thread."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.browser.conftest import Visit
from tests.browser.test_carousel import SHIFTS

OBSERVE = SHIFTS.removeprefix("<script>").removesuffix("</script>")
CLOSED_DRAWER = "sessionStorage['shop.log'] ??= JSON.stringify({events: [], answers: [], open: false})"
# Uncompressed, of everything: ours for any shop, and the demo's own with its drawer.
SCRIPT_MAX_BYTES = {"tugboat.js": 13_000, "tugboat-carousel.js": 9_500, "the shop's": 25_000}
LAYOUT_SHIFT_MAX = 0.01
# Lighthouse calls up to 200 ms good, on a phone four times slower than this machine.
BLOCKING_MAX_MS = 200
SLOWER = 4
BLOCKED = """
  window.blocked = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((task) => { window.blocked += task.duration - 50; }))
    .observe({type: "longtask", buffered: true});
"""


def product(visit: Visit, shop_url: str, script: str = "") -> Any:
    """A product's page, with the drawer closed as in any other shop."""
    page = visit.page()
    page.add_init_script(CLOSED_DRAWER)
    page.add_init_script(script)
    page.goto(f"{shop_url}/p/sku-00123")
    page.wait_for_selector("tugboat-carousel[state=shown]")
    return page


def test_scripts_stay_within_their_budgets(visit: Visit, shop_url: str) -> None:
    sizes: dict[str, int] = {}

    def count(response: Any) -> None:
        if response.request.resource_type == "script":
            name = response.url.rsplit("/", 1)[1]
            name = name if name in SCRIPT_MAX_BYTES else "the shop's"
            sizes[name] = sizes.get(name, 0) + len(response.body())

    page = visit.page()
    responses: list[Any] = []
    page.on("response", lambda response: responses.append(response))
    page.goto(f"{shop_url}/p/sku-00123")
    page.wait_for_selector("tugboat-carousel[state=shown]")
    for response in responses:
        count(response)
    assert set(sizes) == set(SCRIPT_MAX_BYTES)
    assert {name: size for name, size in sizes.items() if size > SCRIPT_MAX_BYTES[name]} == {}


def test_a_page_hardly_blocks_the_main_thread_of_a_slow_phone(visit: Visit, shop_url: str) -> None:
    page = product(visit, shop_url, BLOCKED)
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    blocked_ms = []
    for _ in range(3):
        page.reload()
        page.wait_for_selector("tugboat-carousel[state=shown]")
        page.wait_for_timeout(200)
        blocked_ms.append(page.evaluate("blocked"))
        if blocked_ms[-1] <= BLOCKING_MAX_MS:
            return
    if os.getloadavg()[0] > (os.cpu_count() or 1):
        pytest.skip(f"blocked for {blocked_ms} ms, but others want this machine's cores too: run it alone")
    raise AssertionError(f"blocked for {blocked_ms} ms")


def test_nothing_moves_while_the_page_and_its_carousel_arrive(visit: Visit, shop_url: str) -> None:
    visit.api.delay_s = 0.2
    page = product(visit, shop_url, OBSERVE)
    page.get_by_role("button", name="Add to cart").click()
    page.wait_for_timeout(300)
    assert page.evaluate("shift") <= LAYOUT_SHIFT_MAX
