"""The pages of the data checks: readable on a phone and a desktop, in light and dark, and nothing on them becomes markup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.quality.__main__ import copy_pages
from deploy.stages import read_stage
from functions.platform.contract import VALIDATION_REPORTS_PREFIX
from functions.validate.history import index, index_key, read_history
from functions.validate.measures import Measures, Network
from functions.validate.page import page
from functions.validate.refusals import Refused
from functions.validate.summary import encode, latest_key
from functions.validate.thresholds import thresholds
from testing.fakes import FakeS3
from testing.warehouse_fakes import FakeConnection
from tests.browser.conftest import audited
from tests.unit.deploy.quality.summaries import summary

NOW = datetime(2026, 11, 29, 3, tzinfo=UTC)
RUN = summary().run_id
REFUSED = Refused(
    by_sender={("198.51.100.0/24", "field_invalid"): 20_000.0},
    examples={("198.51.100.0/24", "field_invalid"): "3f0d5c7e-1111-4222-8333-944455556666"},
)
MEASURES = Measures(
    *("demo", NOW, 9000, (), None, {}, {}, {}),
    refusals=REFUSED,
    networks=(Network("0123456789abcdef0123456789abcdef", 20_000, 3, 0.95),),
    daily_events=(),
)


def history() -> list[tuple[Any, ...]]:
    """Return 90 runs of four checks, with a breach now and then."""
    found: list[tuple[Any, ...]] = []
    for number in range(90):
        at = (NOW - timedelta(days=89 - number)).replace(tzinfo=None)
        run_id = RUN if number == 89 else f"20260901-{number:012x}"
        for kind, name, bad in (
            ("data", "lost price", 7),
            ("expectation", "value_is_plausible", 11),
            ("profile", "drift", 23),
        ):
            breach = number % bad == bad - 1
            verdict = ("failed" if kind == "data" else "warned") if breach else "passed"
            value = 0.9 if breach else 0.1 + number % 5 / 100
            found.append((run_id, at, kind, name, "<i>STG</i>_EVENTS", value, 0.5, "<=", verdict))
        found.append((run_id, at, "data", "silence", "shop demo", None, 48.0, "<=", "skipped"))
    return found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that make quality writes."""
    s3, made = FakeS3(), summary()
    runs, trends = read_history(FakeConnection(("from QA.CHECK_RESULTS", history())), "demo", NOW)
    s3.put_object("models", index_key("demo"), index("demo", runs, trends).encode())
    html = page(made, MEASURES, thresholds(), "prod")
    s3.put_object("models", f"{VALIDATION_REPORTS_PREFIX}{made.run_id}.html", html.encode())
    s3.put_object("models", latest_key("demo"), encode(made))
    folder: Path = tmp_path_factory.mktemp("quality")
    copy_pages(s3, "models", folder, read_stage("local"))
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_the_pages_have_contrast_fit_the_screen_and_lead_to_each_other(
    chromium: Any, pages: Path, width: int, scheme: str
) -> None:
    with audited(chromium, pages / "index.html", width, scheme) as (tab, troubles):
        faults = "[...audit.lowContrast(), ...audit.wide()]"
        assert tab.evaluate(faults) == []
        tab.get_by_role("link", name="demo", exact=True).click()
        assert tab.title() == "Data quality of shop demo"
        assert tab.evaluate(faults) == []
        assert tab.locator(".strip a").count() == 90
        boxes = tab.locator(".strip a").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect().width)"
        )
        assert min(boxes) >= 24
        chart = tab.locator(".spark").first
        assert "breaches" in str(chart.get_attribute("aria-label"))
        assert chart.bounding_box()["x"] < width, "the chart shows without scrolling"
        assert tab.get_by_text("<i>STG</i>_EVENTS").count() == 3
        tab.get_by_role("link", name=RUN, exact=True).click()
        assert tab.locator("h1").inner_text() == "Data validation failed"
        tab.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        assert tab.evaluate(faults) == []
        assert tab.get_by_text("a <i>holiday</i>").count() >= 1
        assert tab.get_by_text("Rows <b>break</b> it.").count() == 5
        assert (
            'make override STAGE=prod RUN=20261129-0a1b2c3d4e5f CHECK="volume"'
            in tab.locator("pre").inner_text()
        )
        tab.get_by_role("link", name="All runs of this shop").click()
        assert tab.title() == "Data quality of shop demo"
        assert troubles == []
