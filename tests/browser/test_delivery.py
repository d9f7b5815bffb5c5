"""Delivery of events: the beacon and its replacement, the pauses between retries, sessions across tabs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import Visit, ready
from tests.browser.test_sdk import KEEP_NOTICES, VIEW, flushed, stored

# Records how each request is sent, across pages; the beacon returns the browser's result, or a scripted one.
WATCH_EXITS = """
  const note = (how) => { sessionStorage.exits = [sessionStorage.exits, how].filter(Boolean).join(); };
  const beacon = Navigator.prototype.sendBeacon;
  Navigator.prototype.sendBeacon = function (...given) { note(`beacon from ${location.pathname}`); return %s; };
  const fetched = window.fetch;
  window.fetch = (address, options) => {
    note(`fetch${options?.keepalive ? " kept alive" : ""} from ${location.pathname}`);
    return fetched(address, options);
  };
"""


def leave(visit: Visit, beacon: str) -> tuple[Any, list[dict[str, Any]]]:
    """Open a page with a product view and leave it at once; return the next page and the views that arrived."""
    next_page = visit.write("/next")
    visit.write()
    visit.context.add_init_script(WATCH_EXITS % beacon)
    page = visit.open()
    flushed(page)
    visit.api.wait_for(1)
    page.evaluate(f"sessionStorage.exits = ''; {VIEW}; location.href = {next_page!r}")
    page.wait_for_url(next_page)
    ready(page)
    return page, visit.api.wait_for(1, "view_item")


def test_a_page_that_goes_hands_its_last_events_to_a_beacon(visit: Visit) -> None:
    page, views = leave(visit, "beacon.apply(this, given)")
    assert page.evaluate("sessionStorage.exits").split(",")[0] == "beacon from /"
    assert len(views) == 1


def test_where_the_browser_takes_no_beacon_a_request_that_outlives_the_page_takes_its_place(
    visit: Visit,
) -> None:
    page, _ = leave(visit, "false")
    assert page.evaluate("sessionStorage.exits").split(",")[:2] == [
        "beacon from /",
        "fetch kept alive from /",
    ]
    # The response was lost, so the next page sends the event again with the same id, which the warehouse counts once.
    flushed(page)
    visit.api.wait_for(2, "page_view")
    assert len({view["event_id"] for view in visit.api.events("view_item")}) == 1
    assert "queue" not in " ".join(stored(page))


@pytest.mark.parametrize(("drawn", "share"), [("0", 0.5), ("1 - 1e-9", 1.0)])
def test_the_pauses_between_tries_double_up_to_half_a_minute_and_are_drawn_from_their_upper_half(
    visit: Visit, drawn: str, share: float
) -> None:
    visit.write(head=f"<script>{KEEP_NOTICES}</script>")
    visit.context.add_init_script(f"Math.random = () => {drawn}")
    for exit_ in ("events", "pixel.gif"):
        visit.context.route(f"**/api/{exit_}*", lambda route: route.abort())
    page = visit.open(clock=True)
    retries = "notices.filter((notice) => notice.type === 'retry')"
    flushed(page)
    for tries in range(1, 8):
        page.wait_for_function(f"{retries}.length === {tries}")
        page.clock.run_for(page.evaluate(f"{retries}.at(-1).pause_ms"))
    pauses_s = page.evaluate(f"{retries}.slice(0, 7).map((notice) => notice.pause_ms / 1_000)")
    assert pauses_s == pytest.approx([share * pause for pause in (1, 2, 4, 8, 16, 30, 30)], abs=0.05)
    assert page.evaluate("tugboat.visitor().waiting") == 1


def test_a_blocker_that_blocks_everything_after_the_script_costs_the_page_nothing(visit: Visit) -> None:
    visit.write(body="<button onclick='this.textContent = `bought`'>Buy</button>")
    for exit_ in ("events", "pixel.gif", "recommend"):
        visit.context.route(f"**/api/{exit_}*", lambda route: route.abort("blockedbyclient"))
    page = visit.open()
    page.evaluate(f"{VIEW}; tugboat.flush()")
    assert page.evaluate("tugboat.recommend()") is None
    page.get_by_role("button").click()
    assert page.get_by_role("button").inner_text() == "bought"
    assert page.evaluate("tugboat.visitor().waiting") == 2


def test_thirty_minutes_of_silence_are_counted_over_all_tabs(visit: Visit) -> None:
    visit.write()
    visit.context.clock.install(time="2026-03-01T23:30:00Z")
    quiet, busy = visit.open(), visit.open()
    session = "tugboat.visitor().session_id"
    first = quiet.evaluate(session)
    for _ in range(2):
        visit.context.clock.fast_forward("20:00")
        busy.evaluate("tugboat.track('search', {search_term: 'tent'})")
    # Forty minutes without a click in this tab, across midnight.
    quiet.evaluate(VIEW)
    assert quiet.evaluate(session) == first
    visit.context.clock.fast_forward("31:00")
    quiet.evaluate(VIEW)
    second = quiet.evaluate(session)
    assert second != first
    busy.evaluate("tugboat.track('search', {search_term: 'stove'})")
    assert busy.evaluate(session) == second
