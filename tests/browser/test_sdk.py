"""The SDK in Chromium: every event arrives once, as far as consent allows, and the page is not disturbed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from functions.platform.settings import collect_settings
from local.aws.proxy_event import Response
from tests.browser.conftest import Visit
from tests.browser.world import KEY, Api

CROSS_ORIGIN = [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", "Retry-After")]
KEEP_NOTICES = """
  window.notices = [];
  document.addEventListener("tugboat", (event) => notices.push(event.detail));
"""
VIEW = "tugboat.track('view_item', {items: [{item_id: 'sku-00001'}]})"


def flushed(page: Any) -> None:
    page.evaluate("tugboat.flush()")


def stored(page: Any) -> dict[str, str]:
    found: dict[str, str] = page.evaluate("({...localStorage})")
    return {name: value for name, value in found.items() if name.startswith("tugboat.")}


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["event_name"] for event in events]


def posts(api: Api) -> int:
    return sum(request.path == "/api/events" for request in api.requests)


def no_event_twice(api: Api) -> bool:
    ids = [event["event_id"] for event in api.events()]
    return len(ids) == len(set(ids))


def kill(page: Any) -> None:
    """Kill a tab as a phone does for its memory: without pagehide."""
    # Playwright reports the crash, which is intended.
    with page.expect_event("crash"), suppress(Exception):
        page.goto("chrome://crash", timeout=2_000)


def test_what_happens_in_the_shop_arrives_once_with_one_client_and_one_session(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    page.evaluate(
        """
        tugboat.track("search", {search_term: "tent"});
        tugboat.track("add_to_cart", {items: [{item_id: "sku-00001", price: 9.5, quantity: 2}], value: 19, currency: "usd"});
        tugboat.track("purchase", {transaction_id: "t1", items: [{item_id: "sku-00001"}], value: 19, currency: "USD"});
        """
    )
    flushed(page)
    events = visit.api.wait_for(4)
    assert names(events) == ["page_view", "search", "add_to_cart", "purchase"]
    assert len({(event["client_id"], event["session_id"]) for event in events}) == 1
    assert events[2]["currency"] == "USD"
    assert events[2]["items"] == [{"item_id": "sku-00001", "price": 9.5, "quantity": 2}]
    assert no_event_twice(visit.api)


def test_what_stands_in_a_query_or_a_fragment_never_leaves_the_browser(visit: Visit) -> None:
    address = visit.write("/p")
    flushed(visit.open(address + "?mail=a@example.com#secret"))
    visit.api.wait_for(1)
    sent = [request for request in visit.api.requests if request.path == "/api/events"]
    assert b"example.com" not in sent[0].body
    assert b"secret" not in sent[0].body
    assert visit.api.events()[0]["page_location"] == address


def test_a_hundred_quick_clicks_arrive_once_each_in_few_requests(visit: Visit) -> None:
    visit.write(
        body="<button onclick=\"tugboat.track('select_item', {items: [{item_id: `sku-${n++}`}]})\">+</button>"
    )
    page = visit.open()
    page.evaluate(
        "window.n = 0; const b = document.querySelector('button'); for (let i = 0; i < 100; i++) b.click()"
    )
    clicks = visit.api.wait_for(100, "select_item")
    assert [click["items"][0]["item_id"] for click in clicks] == [f"sku-{n}" for n in range(100)]
    assert no_event_twice(visit.api)
    assert posts(visit.api) <= 12


def test_the_last_event_of_a_page_leaves_as_a_beacon_and_is_not_sent_again(visit: Visit) -> None:
    next_page = visit.write("/next")
    visit.write()
    page = visit.open()
    flushed(page)
    visit.api.wait_for(1)
    page.evaluate(f"{VIEW}; location.href = {next_page!r}")
    page.wait_for_url(next_page)
    assert names(visit.api.wait_for(3)).count("view_item") == 1
    flushed(page)
    assert no_event_twice(visit.api)
    assert "queue" not in " ".join(stored(page))


def test_flush_waits_for_a_request_that_is_under_way_and_for_the_events_after_it(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    flushed(page)
    visit.api.delay_s = 0.4
    waiting = "tugboat.visitor().waiting"
    assert page.evaluate(f"{VIEW}; tugboat.flush(); {VIEW}; tugboat.flush().then(() => {waiting})") == 0
    assert names(visit.api.wait_for(3)).count("view_item") == 2
    assert no_event_twice(visit.api)


def test_a_request_under_way_when_the_page_goes_is_finished_without_it_and_not_repeated(visit: Visit) -> None:
    next_page = visit.write("/next")
    visit.write()
    page = visit.open()
    flushed(page)
    visit.api.wait_for(1)
    visit.api.delay_s = 0.4
    page.evaluate(f"{VIEW}; tugboat.flush(); setTimeout(() => {{ location.href = {next_page!r} }}, 30)")
    page.wait_for_url(next_page)
    page.wait_for_function("!!window.tugboat?.track")
    flushed(page)
    assert names(visit.api.wait_for(3)).count("view_item") == 1
    assert page.evaluate("tugboat.visitor().waiting") == 0
    assert "queue" not in " ".join(stored(page))
    assert no_event_twice(visit.api)


def test_what_happens_offline_is_sent_when_the_network_is_back(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    flushed(page)
    visit.api.wait_for(1)
    visit.context.set_offline(True)
    page.evaluate(f"{VIEW}; tugboat.track('search', {{search_term: 'stove'}})")
    flushed(page)
    assert page.evaluate("tugboat.visitor().waiting") == 2
    visit.context.set_offline(False)
    assert names(visit.api.wait_for(3))[1:] == ["view_item", "search"]
    assert no_event_twice(visit.api)


def test_what_a_page_closed_offline_could_not_send_the_next_page_sends(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    flushed(page)
    visit.api.wait_for(1)
    visit.context.set_offline(True)
    page.evaluate(VIEW)
    page.goto("about:blank")
    visit.context.set_offline(False)
    flushed(visit.open())
    assert sorted(names(visit.api.wait_for(3))) == ["page_view", "page_view", "view_item"]


def test_the_events_of_a_killed_tab_are_sent_by_the_next_page(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    flushed(page)
    visit.api.wait_for(1)
    visit.api.broken = True
    page.evaluate(VIEW)
    page.wait_for_timeout(150)
    kill(page)
    assert names(visit.api.events()) == ["page_view"]
    visit.api.broken = False
    later = visit.page()
    # Longer than the limit after which another page adopts the queue.
    later.add_init_script("const now = Date.now; Date.now = () => now() + 120_000")
    later.goto(visit.site_url + "/")
    assert sorted(names(visit.api.wait_for(3))) == ["page_view", "page_view", "view_item"]
    assert no_event_twice(visit.api)


def test_two_tabs_at_once_lose_nothing_and_share_the_session(visit: Visit) -> None:
    visit.write()
    tabs = [visit.open(), visit.open()]
    for number in range(20):
        tabs[number % 2].evaluate(f"tugboat.track('search', {{search_term: 't{number}'}})")
    for tab in tabs:
        flushed(tab)
    searches = visit.api.wait_for(20, "search")
    assert {search["search_term"] for search in searches} == {f"t{n}" for n in range(20)}
    assert len({event["session_id"] for event in visit.api.events()}) == 1
    assert no_event_twice(visit.api)


def test_a_session_outlives_midnight_and_ends_after_thirty_minutes_of_silence(visit: Visit) -> None:
    visit.write()
    page = visit.page()
    page.clock.install(time="2026-03-01T23:50:00Z")
    page.goto(visit.site_url + "/")
    session = "tugboat.visitor().session_id"
    first = page.evaluate(session)
    page.clock.fast_forward("20:00")
    page.evaluate("tugboat.track('search', {search_term: 'after midnight'})")
    assert page.evaluate(session) == first
    page.clock.fast_forward("29:00")
    page.evaluate("tugboat.track('search', {search_term: 'still there'})")
    assert page.evaluate(session) == first
    page.clock.fast_forward("31:00")
    page.evaluate("tugboat.track('search', {search_term: 'back again'})")
    assert page.evaluate(session) != first
    assert page.evaluate("tugboat.visitor().items") == []


def test_a_clock_that_is_off_is_corrected_by_the_server(visit: Visit) -> None:
    visit.write()
    page = visit.page()
    page.clock.install(time="2031-01-01T00:00:00Z")
    page.goto(visit.site_url + "/")
    page.wait_for_function("!!window.tugboat?.track")
    flushed(page)
    [event] = visit.api.wait_for(1)
    assert abs(event["server"]["event_time_ms"] - time.time() * 1000) < 30_000


def test_ids_that_the_shop_supplies_take_the_place_of_ours(visit: Visit) -> None:
    visit.write(attributes='data-client-id="shop-client"')
    page = visit.open()
    page.evaluate("tugboat.identify({user_id: 'u7', session_id: 'shop-session', client_id: 'x'.repeat(65)})")
    page.evaluate(VIEW)
    flushed(page)
    view = visit.api.wait_for(1, "view_item")[0]
    assert (view["client_id"], view["session_id"], view["user_id"]) == ("shop-client", "shop-session", "u7")


def test_a_denied_visitor_sends_nothing_and_keeps_nothing(visit: Visit) -> None:
    visit.write(attributes='data-consent="denied"')
    page = visit.open()
    page.evaluate(VIEW)
    flushed(page)
    page.wait_for_timeout(300)
    assert stored(page) == {}
    assert page.evaluate("tugboat.visitor().client_id") is None
    assert posts(visit.api) == 0
    # The carousel may still use the items of this page.
    assert page.evaluate("tugboat.visitor().items") == ["sku-00001"]


def test_a_denial_in_the_middle_of_a_visit_deletes_what_was_kept_and_holds_on_later_pages_and_tabs(
    visit: Visit,
) -> None:
    visit.write()
    page, other = visit.open(), visit.open()
    for open_page in (page, other):
        flushed(open_page)
    visit.api.wait_for(2)
    page.evaluate(f"{VIEW}; tugboat.consent('denied'); {VIEW}")
    other.wait_for_function("tugboat.visitor().consent === 'denied'")
    assert stored(page) == {"tugboat.consent": '"denied"'}
    for open_page in (page, other):
        open_page.evaluate(VIEW)
        open_page.reload()
        open_page.wait_for_function("!!window.tugboat?.track")
        open_page.evaluate(VIEW)
        flushed(open_page)
    page.wait_for_timeout(200)
    assert names(visit.api.events()) == ["page_view", "page_view"]
    page.evaluate(f"tugboat.consent('granted'); {VIEW}")
    flushed(page)
    assert names(visit.api.wait_for(3))[2:] == ["view_item"]
    assert "tugboat.consent" not in stored(page)


def test_events_before_a_decision_wait_in_memory_and_leave_with_their_own_time(visit: Visit) -> None:
    visit.write(attributes='data-consent="wait"')
    page = visit.open()
    happened_ms = page.evaluate(f"{VIEW}; Date.now()")
    page.wait_for_timeout(400)
    assert stored(page) == {}
    page.evaluate("tugboat.consent('granted')")
    events = visit.api.wait_for(2)
    assert names(events) == ["page_view", "view_item"]
    assert abs(events[1]["client_time_ms"] - happened_ms) < 50


def test_events_before_a_denial_are_gone(visit: Visit) -> None:
    visit.write(attributes='data-consent="wait"')
    page = visit.open()
    page.evaluate(f"{VIEW}; tugboat.consent('denied'); tugboat.consent('granted')")
    flushed(page)
    page.wait_for_timeout(200)
    assert visit.api.events() == []


def test_global_privacy_control_outranks_the_page_unless_the_shop_says_otherwise(
    visits: Callable[..., Visit],
) -> None:
    control = "Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})"
    private = visits()
    private.context.add_init_script(control)
    private.write()
    page = private.open()
    page.evaluate(f"tugboat.consent('granted'); {VIEW}")
    flushed(page)
    page.wait_for_timeout(300)
    assert (stored(page), private.api.events()) == ({}, [])
    told = visits()
    told.context.add_init_script(control)
    told.write(attributes='data-gpc="ignore"')
    flushed(told.open())
    assert names(told.api.wait_for(1)) == ["page_view"]


GTAG = """<script>
  window.dataLayer = window.dataLayer || [];
  function gtag(){dataLayer.push(arguments);}
  gtag('js', new Date());
  gtag('config', 'G-XXXXXXX', {user_id: 'u1', currency: 'EUR'});
  gtag('event', 'view_item', {value: 7.77, items: [{item_id: 'SKU_1', item_name: 'Tee', item_brand: 'B', item_category: 'Apparel',
    item_category2: 'Adult', item_category3: 'Shirts', price: '7.77', quantity: 1, item_variant: 'green', index: 0}]});
</script>"""


def test_a_page_made_for_google_analytics_needs_no_change(visit: Visit) -> None:
    visit.write(head=GTAG)
    page = visit.open()
    page.evaluate(
        """
        dataLayer.push({ecommerce: null});
        dataLayer.push({event: "add_to_cart", ecommerce: {currency: "USD", value: 5, items: [{item_id: 12, quantity: 1}]}});
        dataLayer.push({event: "gtm.click", "gtm.uniqueEventId": 4}, {event: "scroll"}, "text", null, () => 1);
        gtag("event", "view_search_results", {search_term: "tents"});
        gtag("event", "purchase", {transaction_id: "T_9", value: 5, items: [{id: "old", name: "Old style"}]});
        gtag("event", "add_to_wishlist", {items: [{item_id: "w"}]});
        """
    )
    flushed(page)
    events = visit.api.wait_for(5)
    assert names(events) == ["page_view", "view_item", "add_to_cart", "search", "purchase"]
    assert events[1]["items"] == [
        {
            "item_id": "SKU_1",
            "item_name": "Tee",
            "item_brand": "B",
            "item_category": "Apparel/Adult/Shirts",
            "price": 7.77,
            "quantity": 1,
        }
    ]
    assert (events[1]["currency"], events[1]["user_id"]) == ("EUR", "u1")
    assert (events[2]["currency"], events[2]["items"]) == ("USD", [{"item_id": "12", "quantity": 1}])
    assert events[3]["search_term"] == "tents"
    assert "items" not in events[3]
    assert events[4]["items"] == [{"item_id": "old", "item_name": "Old style"}]
    assert events[4]["event_id"] == "purchase-T_9"
    # The data layer is unchanged for the page and for Google's script.
    assert page.evaluate("[dataLayer.length, dataLayer[3].ecommerce, dataLayer[0][0]]") == [13, None, "js"]
    assert visit.api.refused() == []


def test_google_s_consent_mode_is_ours_too(visit: Visit) -> None:
    visit.write(
        head="""<script>
        dataLayer = []; function gtag(){dataLayer.push(arguments);}
        gtag('consent', 'default', {analytics_storage: 'denied', ad_storage: 'denied', wait_for_update: 500});
        </script>"""
    )
    page = visit.open()
    flushed(page)
    page.wait_for_timeout(200)
    assert visit.api.events() == []
    page.evaluate("gtag('consent', 'update', {analytics_storage: 'granted'})")
    assert names(visit.api.wait_for(1)) == ["page_view"]
    page.evaluate("gtag('consent', 'update', {analytics_storage: 'denied'}); " + VIEW)
    flushed(page)
    assert stored(page) == {"tugboat.consent": '"denied"'}
    assert len(visit.api.events()) == 1


def test_a_page_that_reports_its_views_itself_is_viewed_once(visit: Visit) -> None:
    visit.write(
        head="""<script>
        dataLayer = []; function gtag(){dataLayer.push(arguments);}
        gtag('config', 'G-X', {send_page_view: false}); gtag('event', 'page_view', {page_location: 'https://a.example/b?c'});
        </script>"""
    )
    page = visit.open()
    flushed(page)
    [event] = visit.api.wait_for(1)
    assert event["page_location"] == "https://a.example/b"


def test_commands_given_before_the_script_has_loaded_are_carried_out(visit: Visit) -> None:
    command = "['track', 'search', {search_term: 'early'}]"
    visit.write(head=f"<script>window.tugboat = [['identify', {{user_id: 'u1'}}], {command}]</script>")
    page = visit.open()
    flushed(page)
    events = visit.api.wait_for(2)
    assert names(events) == ["page_view", "search"]
    assert {event["user_id"] for event in events} == {"u1"}


def test_a_page_that_loads_the_script_twice_counts_once(visit: Visit) -> None:
    visit.write(head=visit.script())
    page = visit.open()
    page.evaluate(VIEW)
    flushed(page)
    visit.api.wait_for(2)
    assert names(visit.api.events()) == ["page_view", "view_item"]


def test_an_order_page_that_is_loaded_again_buys_nothing_again(visit: Visit) -> None:
    visit.write(
        head="<script>tugboat = [['track', 'purchase', {transaction_id: 'o-1', items: [{item_id: 'a'}]}]]</script>"
    )
    page = visit.open()
    flushed(page)
    page.reload()
    page.wait_for_function("!!window.tugboat?.track")
    flushed(page)
    purchases = visit.api.wait_for(2, "purchase")
    assert {purchase["event_id"] for purchase in purchases} == {"purchase-o-1"}


def test_a_refused_event_is_not_sent_again_and_the_page_is_told_why(visit: Visit) -> None:
    # An SDK without today's limits left this event in the store.
    event = {
        "schema_version": 1,
        "event_id": "e1",
        "event_name": "purchase",
        "shop_id": "demo",
        "client_id": "c1",
        "session_id": "s1",
        "client_time_ms": int(time.time() * 1000),
        "transaction_id": "x" * 65,
    }
    old = f"localStorage['tugboat.queue.old'] = JSON.stringify({{at: 0, events: [{json.dumps(event)}]}})"
    visit.write(head=f"<script>{KEEP_NOTICES} {old}</script>")
    page = visit.open()
    page.evaluate(f"{VIEW}; tugboat.flush()")
    visit.api.wait_for(2)
    page.wait_for_function("notices.some((notice) => notice.refused?.length)")
    refused = page.evaluate(
        "notices.filter((n) => n.type === 'sent').flatMap((n) => n.refused.map((r) => r.reason))"
    )
    assert refused == ["field_invalid"]
    assert page.evaluate("tugboat.visitor().waiting") == 0
    assert [line["reason"] for line in visit.api.refused()] == ["field_invalid"]


def test_a_collector_that_cannot_store_is_asked_again_when_it_said(visit: Visit) -> None:
    visit.write(head=f"<script>{KEEP_NOTICES}</script>")
    visit.api.firehose.break_next = 3
    visit.api.s3.down = True
    page = visit.open(clock=True)
    flushed(page)
    page.wait_for_function("notices.some((notice) => notice.type === 'retry')")
    notice = page.evaluate("notices.find((notice) => notice.type === 'retry')")
    # The real handler's 503 has Retry-After of five seconds, which CORS exposes to the browser.
    assert notice["status"] == 503
    assert 4_000 < notice["pause_ms"] <= 5_000
    flushed(page)
    assert posts(visit.api) == 1
    visit.api.s3.down = False
    page.clock.fast_forward(5_000)
    assert len(visit.api.wait_for(1)) == 1


def test_events_with_a_wrong_key_are_kept_and_leave_when_it_is_mended(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit.write(head=f"<script>{KEEP_NOTICES}</script>")
    monkeypatch.setenv("TUGBOAT_SHOP_KEYS", "demo=another-key")
    collect_settings.cache_clear()
    page = visit.open(clock=True)
    flushed(page)
    page.wait_for_function("notices.some((notice) => notice.type === 'retry')")
    notice = page.evaluate("notices.find((notice) => notice.type === 'retry')")
    assert notice["status"] == 403
    assert 590_000 < notice["pause_ms"] <= 600_000
    monkeypatch.setenv("TUGBOAT_SHOP_KEYS", f"demo={KEY}")
    collect_settings.cache_clear()
    page.clock.fast_forward(600_000)
    assert len(visit.api.wait_for(1)) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        Response(429, b"{}", [*CROSS_ORIGIN, ("Retry-After", "1")]),
        Response(502, b'{"message": "Internal server error"}', CROSS_ORIGIN),
        Response(200, b"<html>Please log in to the hotel's network</html>", CROSS_ORIGIN),
        Response(403, b"{}", []),
    ],
    ids=["throttled", "broken", "captive portal", "forbidden without CORS"],
)
def test_events_outlive_a_bad_moment_of_the_server(visit: Visit, trouble: Response) -> None:
    visit.write()
    visit.api.troubles.append(trouble)
    page = visit.open()
    flushed(page)
    assert names(visit.api.wait_for(1)) == ["page_view"]
    assert posts(visit.api) == 2


def test_an_endpoint_that_a_blocker_blocks_makes_no_noise_and_the_pixel_is_tried(visit: Visit) -> None:
    visit.write(head=f"<script>{KEEP_NOTICES}</script>")
    visit.context.route("**/api/events?*", lambda route: route.abort("blockedbyclient"))
    page = visit.open(clock=True)
    page.evaluate(VIEW)
    for failures in range(1, 3):
        page.clock.fast_forward(2_000)
        page.wait_for_function(f"notices.filter((notice) => notice.type === 'retry').length === {failures}")
    page.clock.fast_forward(2_000)
    page.wait_for_function("notices.some((notice) => notice.via === 'pixel')")
    views = visit.api.wait_for(1, "view_item")
    assert views[0]["server"]["source"] == "pixel"
    assert views[0]["items"] == [{"item_id": "sku-00001"}]


def test_a_queue_that_cannot_leave_keeps_the_newest_events_and_stays_small(visit: Visit) -> None:
    visit.write(head=f"<script>{KEEP_NOTICES}</script>")
    page = visit.open()
    visit.context.set_offline(True)
    page.evaluate("for (let n = 0; n < 620; n++) tugboat.track('search', {search_term: 's' + n})")
    assert page.evaluate("tugboat.visitor().waiting") == 500
    dropped = page.evaluate("notices.filter((n) => n.type === 'dropped').flatMap((n) => n.events).length")
    assert dropped >= 120
    assert len(json.dumps(stored(page))) < 600_000


def test_events_too_old_are_given_up(visit: Visit) -> None:
    visit.write()
    page = visit.page()
    page.clock.install(time="2026-03-01T12:00:00Z")
    page.goto(visit.site_url + "/")
    visit.context.set_offline(True)
    page.evaluate(VIEW)
    page.clock.fast_forward(4 * 24 * 3_600 * 1000)
    page.evaluate("tugboat.track('search', {search_term: 'fresh'})")
    visit.context.set_offline(False)
    page.clock.run_for(2_000)
    assert visit.api.wait_for(1, "search")
    assert visit.api.events("view_item") == []


def test_a_browser_without_storage_fetch_or_beacon_still_tells_what_it_can(visit: Visit) -> None:
    visit.context.add_init_script(
        """
        Object.defineProperty(window, "localStorage", {get() { throw new DOMException("no", "SecurityError"); }});
        delete window.fetch; delete Navigator.prototype.sendBeacon;
        """
    )
    visit.write()
    page = visit.open(clock=True)
    page.evaluate(VIEW)
    for _ in range(3):
        page.clock.run_for(2_000)
    assert {event["server"]["source"] for event in visit.api.wait_for(2)} == {"pixel"}


def test_a_strict_content_security_policy_needs_one_host_and_no_exception(visit: Visit) -> None:
    host = visit.api_url
    visit.site.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src {host}; connect-src {host}; img-src {host};"
        " require-trusted-types-for 'script'; base-uri 'none'"
    )
    visit.site.pages["/"] = f"<!doctype html><title>Strict</title>{visit.script()}"
    flushed(visit.open())
    assert names(visit.api.wait_for(1)) == ["page_view"]


def test_nothing_that_a_page_says_makes_the_sdk_throw(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    page.evaluate(
        """
        const circle = {}; circle.circle = circle;
        const trap = new Proxy({}, {ownKeys() { throw new Error("trap"); }, get() { throw new Error("trap"); }});
        for (const odd of [undefined, null, 0, "", "view_item", NaN, 1n, [], {}, circle, trap, Symbol("s"), () => 1, document]) {
          tugboat.track(odd, odd); tugboat.track("view_item", odd); tugboat.track("view_item", {items: odd});
          tugboat.track("view_item", {items: [odd], value: odd, currency: odd, constructor: odd});
          tugboat.identify(odd); tugboat.consent(odd); tugboat.push(odd); tugboat.push([odd, odd]); tugboat.recommend(odd);
          dataLayer.push(odd); dataLayer.push({event: odd}); dataLayer.push({event: "view_item", ecommerce: odd});
        }
        for (const name of ["client", "session", "retry", "consent", "queue.x"]) localStorage["tugboat." + name] = "{broken";
        tugboat.track("search", {search_term: "still here"});
        """
    )
    flushed(page)
    assert visit.api.wait_for(1, "search")
    assert visit.api.refused() == []


def test_long_lists_and_texts_are_cut_to_what_the_contract_takes(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    page.evaluate(
        """
        const items = Array.from({length: 250}, (_, n) => ({item_id: "i" + n, item_name: "\U0001f6b2".repeat(501), price: n}));
        tugboat.track("view_item_list", {item_list_id: "all", items});
        tugboat.track("search", {search_term: "\U0001f6b2".repeat(501)});
        """
    )
    flushed(page)
    listed = visit.api.wait_for(1, "view_item_list")[0]
    assert len(listed["items"]) == 200
    assert listed["items"][7] == {"item_id": "i7", "price": 7}
    assert len(visit.api.wait_for(1, "search")[0]["search_term"]) == 500
    assert visit.api.refused() == []


def test_a_page_rendered_ahead_is_counted_when_somebody_sees_it(visit: Visit) -> None:
    visit.context.add_init_script("Object.defineProperty(document, 'prerendering', {value: true})")
    visit.write()
    page = visit.page()
    page.goto(visit.site_url + "/")
    page.wait_for_timeout(300)
    assert page.evaluate("[typeof tugboat, localStorage.length]") == ["undefined", 0]
    page.evaluate("document.dispatchEvent(new Event('prerenderingchange')); tugboat.flush()")
    assert names(visit.api.wait_for(1)) == ["page_view"]


def test_the_page_s_main_thread_hardly_notices(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    devtools = page.context.new_cdp_session(page)
    # The processor time of the main thread, because the machine may be busy.
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def main_thread_s() -> float:
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        return next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")

    before_s = main_thread_s()
    for _ in range(3):
        page.evaluate(f"for (let n = 0; n < 100; n++) {VIEW}")
        page.evaluate("tugboat.flush()")
    visit.api.wait_for(301)
    used_ms = (main_thread_s() - before_s) * 1000
    # 300 events: their making, storing and sending.
    assert 0 < used_ms < 600


def test_asking_for_recommendations_answers_with_the_model_or_with_nothing(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    page.evaluate(VIEW)
    answer = page.evaluate("tugboat.recommend({k: 3})")
    assert [item["item_id"] for item in answer["items"]] == ["sku-00002", "sku-00003", "sku-00004"]
    assert (answer["source"], answer["model_version"]) == ("model", "model-7")
    by_post = page.evaluate("tugboat.recommend({k: 1, items: ['sku-00041'], exclude: ['with,comma']})")
    assert by_post["items"][0]["item_id"] == "sku-00042"
    assert visit.api.endpoint.questions[-1]["exclude"] == ["with,comma"]
    assert page.evaluate("tugboat.recommend({k: 0})") is None
    visit.api.broken = True
    assert page.evaluate("tugboat.recommend()") is None
