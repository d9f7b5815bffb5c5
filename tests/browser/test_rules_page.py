"""The page of make check-rules: readable on a phone and a desktop, in light and dark, and nothing on it becomes markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.rules import page as rules_page
from functions.recommend.rules.model import Bury, Limit, Pin, Rule, Selector, When
from tests.browser.conftest import audited
from tests.unit.deploy.rules.test_replay import HOUR_MS, NOW_MS, replayed, state

ODD = "<b>item</b>"


@pytest.fixture(scope="module")
def document() -> str:
    """The page of rules with and without effect, with a name that would be markup."""
    found = replayed(
        Rule("hero", when=When(placements=("home", "product")), pin=Pin(2, ODD)),
        Rule("a-rule-with-a-long-name-that-wraps-on-a-phone", remove=Selector(items=("m0", "m2"))),
        Rule("sale", from_ms=NOW_MS + HOUR_MS, until_ms=NOW_MS + 2 * HOUR_MS, pin=Pin(1, "p20")),
        Rule("one-brand", limit=Limit(4, "brand")),
        Rule("misspelt", bury=Bury(Selector(brand="anchor"))),
        catalogue=state(),
    )
    return rules_page.render(found, state(), "prod")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_the_page_has_contrast_and_fits_the_screen(
    chromium: Any, document: str, tmp_path: Path, width: int, scheme: str
) -> None:
    file = tmp_path / "page.html"
    file.write_text(document, "utf-8")
    with audited(chromium, file, width, scheme) as (page, troubles):
        assert page.evaluate("[...audit.lowContrast(), ...audit.smallTargets(), ...audit.wide()]") == []
        assert page.get_by_text(ODD, exact=True).count() >= 1
        assert page.locator("h1").inner_text() == "Rules of demo"
        table = page.get_by_role("region", name="Rules")
        assert "pin" in table.inner_text()
        table.focus()
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Rules"
        first = page.locator(".items > li").first
        # A reader who sees no colors finds the words.
        assert {"pinned by hero", "new", "gone"} & {*first.locator(".tag").all_inner_texts()}
        assert troubles == []
