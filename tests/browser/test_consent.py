"""Google's consent mode with regions: the closest region counts, and an unknown one never grants."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.browser.conftest import Visit, ready
from tests.browser.test_sdk import VIEW, flushed, names, stored

GTAG = "window.dataLayer = []; function gtag() { dataLayer.push(arguments); }"


def denied(*regions: str, wait: bool = False) -> dict[str, Any]:
    return {
        "analytics_storage": "denied",
        **({"region": list(regions)} if regions else {}),
        **({"wait_for_update": 500} if wait else {}),
    }


def granted(*regions: str) -> dict[str, Any]:
    return {"analytics_storage": "granted", **({"region": list(regions)} if regions else {})}


SITE_KIT = [denied("AT", "DE", "FR", wait=True)]
CASES = [
    # The defaults in the page's order, the visitor's region, the consent.
    (SITE_KIT, "US", "granted"),
    (SITE_KIT, "DE", "wait"),
    (SITE_KIT, "DE-BY", "wait"),
    (SITE_KIT, "", "wait"),
    (SITE_KIT, "Germany", "wait"),
    ([denied("DE"), granted()], "DE", "denied"),
    ([denied("DE"), granted()], "de-by", "denied"),
    ([denied("DE"), granted()], "FR", "granted"),
    ([denied("DE"), granted()], "", "denied"),
    ([granted(), denied("DE")], "", "denied"),
    ([granted(), denied("DE", wait=True)], "", "wait"),
    ([denied(), granted("US")], "US", "granted"),
    ([granted("US"), denied()], "US", "granted"),
    ([denied(), granted("US")], "CA", "denied"),
    ([denied(), granted("US")], "", "denied"),
    ([granted("US")], "", "wait"),
    ([granted("US")], "US", "granted"),
    ([granted("US"), denied("US-CA")], "US-CA", "denied"),
    ([denied("US-CA"), granted("US")], "US-CA", "denied"),
    ([denied("US-CA"), granted("US")], "US-NY", "granted"),
    # The visitor can be in California.
    ([denied("US-CA"), granted("US")], "US", "denied"),
    ([denied("US"), granted("US-CA")], "US", "denied"),
    ([denied("us"), granted()], "US", "denied"),
    ([{"analytics_storage": "denied", "region": "DE"}, granted()], "DE", "denied"),
    ([{"ad_storage": "denied", "region": ["DE"]}, granted()], "DE", "granted"),
    ([granted(), denied()], "", "denied"),
    ([denied(), granted()], "", "granted"),
    ([{"analytics_storage": "no"}], "", "denied"),
]


def test_the_closest_region_counts_and_an_unknown_one_never_grants(visit: Visit) -> None:
    page = visit.page()
    found = []
    for number, (defaults, region, _) in enumerate(CASES):
        calls = "".join(f"gtag('consent', 'default', {json.dumps(default)});" for default in defaults)
        path = f"/{number}"
        page.goto(
            visit.write(path, head=f"<script>{GTAG}{calls}</script>", attributes=f'data-region="{region}"')
        )
        ready(page)
        found.append((defaults, region, page.evaluate("tugboat.visitor().consent")))
        page.evaluate("localStorage.clear()")
    assert found == CASES


@pytest.mark.parametrize("way", ["global", "early command", "later command"])
def test_a_page_gives_the_region_in_several_ways(visit: Visit, way: str) -> None:
    head = {
        "global": "tugboatSettings = {region: 'US'}",
        "early command": "tugboat = [['region', 'US']]",
        "later command": "",
    }
    default = f"gtag('consent', 'default', {json.dumps(SITE_KIT[0])})"
    visit.write(head=f"<script>{head[way]}; {GTAG} {default}</script>")
    page = visit.open()
    page.evaluate(VIEW)
    if way == "later command":
        assert page.evaluate("tugboat.visitor().consent") == "wait"
        page.evaluate("tugboat.region('US')")
    flushed(page)
    # The events that waited for the region are sent as well.
    assert names(visit.api.wait_for(2)) == ["page_view", "view_item"]


def test_a_visitor_s_decision_outlasts_the_defaults_that_follow_it(visit: Visit) -> None:
    visit.write(head=f"<script>{GTAG} gtag('consent', 'default', {json.dumps(denied())})</script>")
    page = visit.open()
    page.evaluate("gtag('consent', 'update', {analytics_storage: 'granted'})")
    page.evaluate(f"gtag('consent', 'default', {json.dumps(denied('DE'))}); tugboat.region('DE')")
    assert page.evaluate("tugboat.visitor().consent") == "granted"
    page.evaluate("gtag('consent', 'update', {analytics_storage: 'denied'})")
    page.evaluate(f"gtag('consent', 'default', {json.dumps(granted())}); tugboat.region('US')")
    assert page.evaluate("tugboat.visitor().consent") == "denied"
    assert stored(page) == {"tugboat.consent": '"denied"'}


@pytest.mark.parametrize(
    ("update", "region", "consent"),
    [
        (granted("US"), "US", "granted"),
        (granted("US"), "DE", "denied"),
        (granted("US"), "", "denied"),
        (granted(), "", "granted"),
    ],
)
def test_an_update_for_a_region_grants_only_there(
    visit: Visit, update: dict[str, Any], region: str, consent: str
) -> None:
    default = f"gtag('consent', 'default', {json.dumps(denied())})"
    visit.write(head=f"<script>{GTAG} {default}</script>", attributes=f'data-region="{region}"')
    page = visit.open()
    page.evaluate("(update) => gtag('consent', 'update', update)", update)
    assert page.evaluate("tugboat.visitor().consent") == consent


def test_a_denial_for_a_region_holds_where_the_region_is_unknown(visit: Visit) -> None:
    visit.write(head=f"<script>{GTAG}</script>")
    page = visit.open()
    page.evaluate("(update) => gtag('consent', 'update', update)", denied("DE"))
    assert page.evaluate("tugboat.visitor().consent") == "denied"
