"""The page of make explain: readable on a phone and a desktop, in light and dark, and nothing on it becomes markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.explain import page as explain_page
from deploy.explain.explanation import Explanation, Reproduction
from deploy.explain.model import Origin
from deploy.explain.trace import StoredEvent, Trace
from tests.browser.conftest import audited
from tests.unit.training_jobs.large_shop import large_shop
from training_jobs.serving.explain import explain

ISSUED_MS = 1_795_953_600_000
ODD = "<b>sku-4</b>"


@pytest.fixture(scope="module")
def document() -> str:
    """The page of an answer, with an id that would be markup."""
    served, sessions = large_shop(400, 0, 0.4)
    asked = [served.vocabulary[item] for item in sessions.session(5)]
    explained = explain(served, asked, 6, wanted=asked[-1:])
    shown = [one["item_id"] for one in explained["answer"][:2]]

    def event(number: int, name: str, items: list[str], after_ms: int, **more: Any) -> StoredEvent:
        payload = {
            "event_id": f"e{number}",
            "event_name": name,
            "items": [{"item_id": item} for item in items],
            **more,
            "server": {"event_time_ms": ISSUED_MS + after_ms},
        }
        key = f"raw/2026/11/29/12/tugboat-prod-events-1-2026-11-29-12-00-00-{'0a1b2c3d' * 4}.gz"
        return StoredEvent(payload, key, number, None)

    views = [event(at, "view_item", [item], at - 60_000) for at, item in enumerate([ODD, *asked], 1)]
    seen = event(90, "recommendation_impression", shown, 900, recommendation_id="r-1")
    trace = Trace("r-1", "the warehouse", "shop", "s-1", "m1", "AllTraffic", ISSUED_MS, None, [seen], views)
    origin = Origin(
        "m1",
        "current",
        "s3://models/" + "long-name/" * 20,
        "20261129-0a1b2c3d4e5f",
        "2026-11-29T02:31:00+00:00",
        {
            "name": "tugboat-prod-20261129",
            "status": "Completed",
            "code_uri": "s3://models/code/c.tar.gz",
            "image": "i",
        },
        "serving-image",
        {
            "status": "SUCCEEDED",
            "started_at": "2026-11-29T02:00:00+00:00",
            "arn": "arn:aws:states:x:y:execution:z",
        },
        {"interactions": 41200, "sessions": 9300, "items": 400, "manifest_uri": "s3://models/exports/m.json"},
        {
            "passed": True,
            "checks": 31,
            "override_reason": None,
            "report_uri": "s3://models/evaluation/r.html",
        },
        "s3://models/reports/validation/v.html",
        ["the image of the base"],
    )
    answer = [one["item_id"] for one in explained["answer"]]
    reproduction = Reproduction("same", asked, [], answer, explanation=explained)
    explanation = Explanation("prod", trace, {views[0].key: "raw"}, origin, reproduction, ["A note"])
    return explain_page.render(explanation)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_the_page_has_contrast_and_fits_the_screen(
    chromium: Any, document: str, tmp_path: Path, width: int, scheme: str
) -> None:
    file = tmp_path / "page.html"
    file.write_text(document, "utf-8")
    with audited(chromium, file, width, scheme) as (page, troubles):
        assert page.evaluate("[...audit.lowContrast(), ...audit.wide()]") == []
        assert page.locator(".items > li").count() == 7
        bars = page.locator(".bar").evaluate_all(
            "bars => bars.map(bar => bar.getBoundingClientRect().height)"
        )
        assert len(bars) == 6
        assert min(bars) > 5
        assert page.get_by_text(ODD).count() == 1
        headings = page.locator("h2").all_inner_texts()
        assert headings == ["Items", "Session", "Model m1", "Snapshot and run"]
        shown = page.locator("main").inner_text()
        for fact in (
            "41200 interactions of 9300 sessions",
            "SUCCEEDED",
            "31 checks",
            "serving-image",
            "v.html",
        ):
            assert fact in shown
        assert troubles == []
