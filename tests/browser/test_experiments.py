"""Experiments in Chromium: every arm reports its exposure once, a holdout client sees no carousel, and no page breaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from functions.recommend import experiments
from functions.recommend.experiments import bucket
from tests.browser.conftest import Visit
from tests.browser.test_carousel import TITLES, show, state
from tests.browser.world import published

ARMS = """
[[experiment]]
name = "spring"
seed = "seed-1"
[[experiment.arm]]
name = "A"
share = 0.5
answers = "{0}"
[[experiment.arm]]
name = "B"
share = 0.5
answers = "{0}"
"""
HOLDOUT = '[holdout]\nseed = "h"\nshare = 0.05\n'
HELD = next(client for client in map(str, range(10_000)) if bucket("h", "holdout", client) < 500)
SHOWN = next(client for client in map(str, range(10_000)) if bucket("h", "holdout", client) >= 500)
Describe = Callable[[str], None]


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Describe:
    """Return a function that writes the experiments of the shop demo."""
    monkeypatch.setattr(experiments, "FOLDER", tmp_path)

    def describe(text: str) -> None:
        (tmp_path / "demo.toml").write_text(text)

    return describe


def exposed(visit: Visit, page: Any) -> list[tuple[str, str, int]]:
    """Return experiment, arm and number of items of the exposures that arrived."""
    page.wait_for_timeout(300)
    page.evaluate("tugboat.flush()")
    visit.api.wait_for(1, "recommendation_exposure")
    stamps = [event["server"]["receipts"][0] for event in visit.api.events("recommendation_exposure")]
    assert {stamp["verdict"] for stamp in stamps} == {"valid"}
    return [
        (one["experiment"], one["arm"], stamp["slots"]) for stamp in stamps for one in stamp["experiments"]
    ]


def test_an_arm_without_a_carousel_is_exposed_like_the_others(visit: Visit, described: Describe) -> None:
    described(ARMS.format("none"))
    page = show(visit)
    state(page, "empty")
    page.evaluate("tugboat.track('view_item', {items: [{item_id: 'sku-00100'}]})")
    page.wait_for_timeout(300)
    [(experiment, _, slots)] = exposed(visit, page)
    assert (experiment, slots) == ("spring", 0)
    assert (
        page.evaluate("document.querySelector('tugboat-carousel').shadowRoot.querySelectorAll('li').length")
        == 0
    )
    assert visit.api.events("recommendation_impression") == []


def test_an_arm_with_a_carousel_is_exposed_once_and_its_clicks_count_as_before(
    visit: Visit, described: Describe
) -> None:
    described(ARMS.format("model"))
    page = show(visit)
    state(page, "shown")
    page.wait_for_timeout(1_200)
    [(experiment, _, slots)] = exposed(visit, page)
    assert (experiment, slots) == ("spring", 6)
    [impression] = visit.api.wait_for(1, "recommendation_impression")
    assert impression["server"]["receipts"][0]["verdict"] == "valid"


@pytest.mark.parametrize(("client", "arm", "shown"), [(HELD, "holdout", "empty"), (SHOWN, "shown", "shown")])
def test_a_holdout_client_sees_no_carousel_and_the_others_do(
    visit: Visit, described: Describe, client: str, arm: str, shown: str
) -> None:
    described(HOLDOUT)
    page = show(visit, attributes=f'data-client-id="{client}"')
    state(page, shown)
    assert exposed(visit, page) == [("holdout", arm, 0 if shown == "empty" else 6)]


def test_an_exposure_is_reported_even_if_no_card_is_found(visit: Visit, described: Describe) -> None:
    """The shop's cards must not decide who is counted."""
    described(ARMS.format("model"))
    page = show(visit, head="<script>document.addEventListener('DOMContentLoaded', () => "
                "{ document.querySelector('tugboat-carousel').setAttribute('cards', '/nothing') })</script>")  # fmt: skip
    state(page, "empty")
    assert len(exposed(visit, page)) == 1


def test_without_consent_no_client_is_sent_and_nobody_is_exposed(visit: Visit, described: Describe) -> None:
    described(ARMS.format("none"))
    page = show(visit, attributes='data-consent="denied"')
    state(page, "shown")
    asked = [parse_qs(request.query) for request in visit.api.requests if request.path == "/api/recommend"]
    assert asked
    assert not any({"client", "session", "shop"} & query.keys() for query in asked)
    assert visit.api.events() == []


def test_without_experiments_there_is_no_exposure(visit: Visit, described: Describe) -> None:
    described("")
    page = show(visit)
    state(page, "shown")
    page.wait_for_timeout(300)
    page.evaluate("tugboat.flush()")
    visit.api.wait_for(1)
    assert visit.api.events("recommendation_exposure") == []
    assert page.evaluate(TITLES)


def test_the_demo_shop_works_for_a_client_without_carousels(
    visit: Visit, shop_url: str, described: Describe
) -> None:
    described(ARMS.format("none"))
    published(visit.api.s3)
    page = visit.open(f"{shop_url}/p/sku-00123")
    state(page, "empty")
    page.get_by_role("button", name="Add to cart").click()
    visit.api.wait_for(1, "add_to_cart")
    page.goto(f"{shop_url}/cart")
    state(page, "empty")
    page.evaluate("tugboat.flush()")
    found = visit.api.wait_for(4, "recommendation_exposure")
    placements = {event["server"]["receipts"][0].get("placement", "product") for event in found}
    assert placements == {"product", "similar", "cart", "bought_together"}
