"""The SDK's numbers of events and the error of its clock, whatever the clock does."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.browser.conftest import Visit, ready
from tests.browser.test_sdk import VIEW, flushed, posts

HOUR_MS = 3_600_000
# The clock of all tabs. A page of the test sets it by `localStorage.ahead`.
CLOCK = """
  const now = Date.now;
  Date.now = () => now() + Number(localStorage.ahead || 0);
"""


def set_clock(page: Any, ahead_ms: int) -> None:
    page.evaluate(f"localStorage.ahead = {ahead_ms}")


def bodies(visit: Visit) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in visit.api.requests if request.path == "/api/events"]


def test_numbers_grow_over_tabs_pages_and_a_clock_that_is_set_back(visit: Visit) -> None:
    visit.write()
    visit.context.add_init_script(CLOCK)
    first = visit.open()
    second = visit.open()
    for number, (page, ahead_ms) in enumerate(
        [(first, 0), (second, 0), (first, HOUR_MS // 3), (second, -HOUR_MS // 12), (first, 0)]
    ):
        set_clock(page, ahead_ms)
        page.evaluate(f"tugboat.track('search', {{search_term: '{number}'}})")
        # Tabs are processes of their own: the other one sees the store some milliseconds later.
        numbered = "JSON.parse(localStorage['tugboat.session']).sequence"
        latest = page.evaluate(numbered)
        other = second if page is first else first
        other.wait_for_function(f"{numbered} >= {latest}")
    first.reload()
    ready(first)
    first.evaluate("tugboat.track('search', {search_term: '5'})")
    for page in (first, second):
        flushed(page)
    searches = {int(event["search_term"]): event for event in visit.api.wait_for(6, "search")}
    sequences = [searches[number]["sequence"] for number in range(6)]
    assert sequences == sorted(set(sequences))
    assert searches[3]["client_time_ms"] < searches[2]["client_time_ms"] - HOUR_MS // 3
    assert len({event["session_id"] for event in searches.values()}) == 1


def test_an_event_that_waited_for_consent_has_its_own_time_and_no_number(visit: Visit) -> None:
    visit.write(attributes='data-consent="wait"')
    page = visit.open()
    before_ms = time.time_ns() // 1_000_000
    page.evaluate("new Promise((done) => setTimeout(done, 50)).then(() => tugboat.consent('granted'))")
    page.evaluate(VIEW)
    flushed(page)
    waited, seen = visit.api.wait_for(2)
    assert waited["client_time_ms"] <= before_ms
    assert "sequence" not in waited
    assert seen["sequence"] >= seen["client_time_ms"] > waited["client_time_ms"]


def test_the_error_of_the_clock_is_measured_by_answers_and_sent_with_every_batch_of_the_session(
    visit: Visit,
) -> None:
    visit.write()
    visit.context.add_init_script(CLOCK)
    page = visit.open()
    flushed(page)
    visit.api.wait_for(1)
    for number, ahead_ms in enumerate((HOUR_MS // 3, -HOUR_MS), start=1):
        set_clock(page, ahead_ms)
        for _ in range(2):
            page.evaluate(VIEW)
            page.evaluate("tugboat.flush()")
        visit.api.wait_for(2 * number, "view_item")
    # A batch has the error that the answer to the one before showed.
    errors = [body.get("clock_error_ms") for body in bodies(visit)]
    assert errors[0] is None
    for measured_ms, expected_ms in zip(
        list[Any](errors[1:]), (0, HOUR_MS // 3, HOUR_MS // 3, -HOUR_MS), strict=True
    ):
        assert abs(measured_ms - expected_ms) < 20_000
    # The clock that was set behind shows only after an answer: until then, the request could have been late.
    for view in (view for number, view in enumerate(visit.api.events("view_item")) if number != 2):
        assert abs(view["server"]["event_time_ms"] - view["server"]["received_at_ms"]) < 20_000


def test_an_answer_that_took_long_and_a_silence_leave_the_clock_unmeasured(visit: Visit) -> None:
    """The device sleeps while the request is on its way, or the visitor is away."""
    visit.write()
    visit.context.add_init_script(
        CLOCK
        + """
        const fetched = window.fetch;
        window.fetch = async (...given) => {
          const response = await fetched(...given);
          localStorage.ahead = Number(localStorage.ahead || 0) + Number(localStorage.sleep || 0);
          return response;
        };
        """
    )
    page = visit.open()
    page.evaluate("localStorage.sleep = 1_200_000; tugboat.flush()")
    page.evaluate(f"localStorage.sleep = 0; {VIEW}; tugboat.flush()")
    page.evaluate(f"localStorage.ahead = 4_800_000; {VIEW}; tugboat.flush()")
    visit.api.wait_for(2, "view_item")
    assert posts(visit.api) == 3
    assert [body.get("clock_error_ms") for body in bodies(visit)] == [None, None, None]
