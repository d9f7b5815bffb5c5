"""The page of make why: readable on a phone and a desktop, in light and dark, by keyboard, and nothing on it becomes markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.why import page as why_page
from deploy.why.analysis import analyze
from deploy.why.figures import FIGURES
from tests.browser.conftest import audited
from tests.unit.deploy.why.simulated import both, constant, new_model, simulate

ODD = "<b>shop</b>"


@pytest.fixture(scope="module")
def document() -> str:
    """The page of a shop with two causes, with a name that would be markup."""
    data = simulate(both([constant(fallback=0.4, price=14.0), new_model(0.4)]))
    data.shop = ODD
    data.segments["model_version"]["20261129T021500-9d1f0a7be4c35a20-with-a-long-name"] = data.segments[
        "model_version"
    ].pop("m2")
    return why_page.render(analyze(data, FIGURES["revenue"]), "prod")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_the_page_has_contrast_and_fits_the_screen(
    chromium: Any, document: str, tmp_path: Path, width: int, scheme: str
) -> None:
    file = tmp_path / "page.html"
    file.write_text(document, "utf-8")
    with audited(chromium, file, width, scheme) as (page, troubles):
        found = page.evaluate("[...audit.lowContrast(), ...audit.smallTargets(), ...audit.wide()]")
        assert found == []
        for summary in page.locator("summary").all():
            summary.focus()
            page.keyboard.press("Enter")
        shown = page.locator("pre").first
        assert shown.is_visible()
        assert "from MARTS.DAILY_FUNNEL" in shown.inner_text()
        assert page.evaluate("[...audit.lowContrast(), ...audit.wide()]") == []
        assert page.get_by_text(f"shop {ODD}.").count() == 1
        assert page.locator(".items > li").count() >= 2
        assert troubles == []
