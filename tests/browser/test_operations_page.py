"""The operations page in Chromium: phone and desktop, light and dark, by keyboard, and two runs side by side."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.operations.gather import gather
from functions.operations.page import render
from functions.operations.verdict import judge
from testing.operations_services import NOW, SETTINGS, Services, a_well_shop, add_alarm, add_run

AUDIT = Path(__file__).with_name("audit.js")
ODD = "<b>sessions</b> " + "long-word-" * 30
# Each table has a caption, each head a scope, each picture and region a name, and headings skip no level.
STRUCTURE = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const levels = all("h1, h2, h3").map((one) => Number(one.tagName[1]));
  return [
    ...all("table").filter((one) => !one.caption).map(() => "a table without a caption"),
    ...all("th").filter((one) => !one.scope).map((one) => `a head without a scope: ${one.textContent}`),
    ...all("svg").filter((one) => !one.ariaLabel || !one.querySelector("title")).map(() => "a picture without a name"),
    ...all("[role=region], nav, section")
      .filter((one) => !one.ariaLabel && !one.getAttribute("aria-labelledby"))
      .map(() => "a region without a name"),
    ...all("select").filter((one) => !one.labels.length).map(() => "a choice without a label"),
    ...levels.filter((level, place) => place && level > levels[place - 1] + 1).map(() => "a skipped level of headings"),
    ...(levels.filter((level) => level === 1).length === 1 ? [] : ["not one h1"]),
  ];
}"""


def written(services: Services, folder: Path) -> str:
    file = folder / "index.html"
    page = gather(SETTINGS, services.clients, NOW)
    file.write_text(render(page, judge(page)), "utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a shop in which something went wrong."""
    services = a_well_shop(8)
    add_run(services, NOW - timedelta(hours=1), 9, fails_in="Transform", cause=ODD)
    add_alarm(services, "no-events", "ALARM")
    return written(services, tmp_path_factory.mktemp("page"))


@pytest.fixture
def opened(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Open pages in a context of the test's width and scheme, and assert that no page has an error or a request."""
    width, scheme = getattr(request, "param", (1280, "light"))
    troubles: list[str] = []
    with chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:

        def open_page(address: str) -> Any:
            page = context.new_page()
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.on("console", lambda message: troubles.append(message.text))
            page.on(
                "request", lambda made: troubles.append(made.url) if made.url.startswith("http") else None
            )
            page.add_init_script(path=AUDIT)
            page.goto(address)
            return page

        yield open_page
    assert troubles == []


@pytest.mark.parametrize(
    "opened",
    [(360, "light"), (390, "dark"), (1280, "light"), (1280, "dark")],
    indirect=True,
    ids=["small phone, light", "phone, dark", "desktop, light", "desktop, dark"],
)
def test_the_page_has_contrast_fits_the_screen_and_its_parts_have_names(opened: Any, address: str) -> None:
    page = opened(address)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("[...audit.lowContrast(), ...audit.smallTargets(), ...audit.wide()]") == []
    assert page.evaluate(STRUCTURE) == []
    assert page.locator("h1").inner_text() == "Is the shop well? Look here: 2 things."


def test_an_empty_shop_has_the_same_structure(opened: Any, tmp_path: Path) -> None:
    page = opened(written(Services(), tmp_path))
    assert page.evaluate(STRUCTURE) == []
    assert "Not known yet" in page.locator("h1").inner_text()


def test_two_runs_are_compared_and_only_what_differs_is_shown(opened: Any, address: str) -> None:
    page = opened(address)
    table = page.locator("#comparison")
    groups = table.locator("tr.group").all_inner_texts()
    assert groups == ["Run", "Data", "Settings", "Metrics", "Checks"]
    assert table.get_by_text("learning_rate").count() == 1
    assert table.get_by_text("fit.epochs").count() == 0
    assert table.locator("tr.same").count() == 0
    page.get_by_label("Rows").select_option("all")
    assert table.get_by_text("fit.epochs").count() == 1
    assert table.locator("tr.same").count() > 0
    page.get_by_label("against").select_option(page.locator("#left").input_value())
    page.get_by_label("Rows").select_option("differs")
    assert table.inner_text().endswith("These runs do not differ.")


def test_a_link_to_a_run_opens_it(opened: Any, address: str) -> None:
    page = opened(address)
    link = page.locator("#gate a.run").nth(1)
    target = link.get_attribute("href")
    assert not page.locator(target).evaluate("one => one.open")
    link.click()
    page.wait_for_function("id => document.querySelector(id).open", arg=target)


def test_the_keyboard_reaches_every_part_and_shows_where_it_is(opened: Any, address: str) -> None:
    page = opened(address)
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("audit.focused()"))
    names = [name for name, _ in seen]
    reasons = ["The alarm no-events fires.", "The last run ended as FAILED in Transform with DbtFailed."]
    parts = ["Runs", "Artifacts", "Compare", "Training", "Endpoint", "Data", "Gate", "Alarms", "Money"]
    assert names == ["Skip to the runs", *reasons, *parts]
    assert min(contrast for _, contrast in seen[1:]) >= 3


def test_an_old_page_says_how_old_it_is(opened: Any, address: str) -> None:
    page = opened(address)
    page.clock.install(time=NOW + timedelta(hours=5))
    page.reload()
    assert (
        page.locator("#old").inner_text().startswith("This page is 5 hours old. make operations STAGE=prod")
    )
    page.clock.install(time=NOW + timedelta(minutes=6))
    page.reload()
    assert not page.locator("#old").is_visible()
