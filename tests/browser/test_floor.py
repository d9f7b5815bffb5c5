"""The oldest browsers that docs/storefront.md promises: Chromium without everything that they lack."""

from __future__ import annotations

import json
import re

import pytest

from storefront.sdk import build
from tests.browser.conftest import Visit
from tests.browser.floor import FLOOR, LIST
from tests.browser.test_carousel import CAROUSEL, STYLE, TITLES, show, state
from tests.browser.test_sdk import VIEW, flushed

NEWER = json.loads(LIST.read_text())
REMOVE = """(() => {
  const {globals, members} = %s;
  for (const [name, found] of Object.entries(members)) {
    const owner = window[name];
    if (!owner) continue;
    for (const member of found) {
      // Static functions of the language have no mark in MDN's data.
      delete owner[member.replace("_static", "")];
      if (owner.prototype) delete owner.prototype[member];
      if (member === name) window[name] = class { constructor() { throw new TypeError("Illegal constructor"); } };
    }
  }
  for (const name of [...globals, ...members.Window]) delete window[name];
})()""" % json.dumps({"globals": NEWER["globals"], "members": NEWER["members"]})  # noqa: UP031
# Newer features that the scripts use only where they exist.
GUARDED = {"CSSStyleSheet", "replaceSync"}
# Syntax that a browser of the floor cannot parse: one such form makes the whole script do nothing.
NEWER_SYNTAX = {
    "a static block": r"\bstatic\s*\{",
    "a lookbehind": r"\(\?<[=!]",
    "a regular expression with the flag v": r"/[dgimsuy]*v[dgimsuy]*\.(?:test|exec)",
    "a regular expression with modifiers": r"\(\?[ims]*-?[ims]+:",
    "an import attribute": r"\bimport\b[^;]*\bwith\s*\{",
    "using": r"\b(?:await\s+)?using\s+\w+\s*=",
    "top-level await": r"^await\b",
}


def test_the_list_of_newer_features_is_that_of_the_floor_in_the_docs() -> None:
    text = (build.HERE.parents[1] / "docs" / "storefront.md").read_text()
    assert NEWER["floor"] == FLOOR
    said = f"Chrome {FLOOR['chrome']}, Edge {FLOOR['edge']}, Firefox {FLOOR['firefox']} and Safari {FLOOR['safari']}"
    assert said in text
    assert len(NEWER["members"]) > 30


@pytest.mark.parametrize("name", sorted(build.MAX_GZIP_BYTES))
def test_the_scripts_have_no_syntax_and_call_no_function_that_is_newer(name: str) -> None:
    script = (build.DIST / name).read_text()
    assert [form for form, pattern in NEWER_SYNTAX.items() if re.search(pattern, script)] == []
    called = {name for name in NEWER["names"] if re.search(rf"\.{name}\(", script)}
    made = {name for name in NEWER["globals"] if re.search(rf"\bnew {name}\b", script)}
    assert (called | made) - GUARDED == set()


@pytest.mark.parametrize(
    "form", ["class A{static{b()}}", "/(?<=a)b/", "/[a&&b]/v.test(c)", "import a from 'b' with {type:'json'}"]
)
def test_newer_syntax_is_found(form: str) -> None:
    assert any(re.search(pattern, form) for pattern in NEWER_SYNTAX.values())


def test_the_journey_from_a_view_to_a_click_works_on_the_oldest_browser(visit: Visit) -> None:
    visit.context.add_init_script(REMOVE)
    visit.write("/p/sku-00013")
    page = show(visit, own="sku-00012")
    assert page.evaluate(
        "[typeof [].at, typeof Object.hasOwn, typeof AbortSignal.timeout,"
        " 'ariaLabel' in document.body, 'adoptedStyleSheets' in document]"
    ) == ["undefined", "undefined", "undefined", False, False]
    state(page, "shown")
    assert page.evaluate(TITLES)[0] == "Product sku-00013"
    back = page.get_by_role("button", name="Back")
    assert back.get_attribute("aria-disabled") == "true"
    # The style sheet is an element here.
    assert back.evaluate("(button) => getComputedStyle(button).borderRadius") == "50%"
    page.evaluate("tugboat.track('purchase', {transaction_id: 'o1', items: [{item_id: 'sku-00012'}]})")
    flushed(page)
    page.get_by_role("link").first.click()
    page.wait_for_url("**/p/sku-00013")
    assert {"page_view", "view_item", "purchase", "recommendation_click"} <= {
        event["event_name"] for event in visit.api.wait_for(4)
    }
    assert visit.api.refused() == []


def test_where_no_style_sheet_can_be_constructed_an_element_takes_its_place(visit: Visit) -> None:
    visit.context.add_init_script(
        "window.CSSStyleSheet = class { constructor() { throw new TypeError('Illegal constructor'); } }"
    )
    page = show(visit)
    state(page, "shown")
    assert (
        page.locator("tugboat-carousel").evaluate(
            "(made) => made.shadowRoot.querySelectorAll('style').length"
        )
        == 1
    )
    assert (
        page.get_by_role("button", name="Back").evaluate("(made) => getComputedStyle(made).borderRadius")
        == "50%"
    )
    page.wait_for_timeout(200)
    assert page.evaluate("shift") == 0


def test_where_a_style_sheet_can_be_constructed_there_is_no_style_element(visit: Visit) -> None:
    page = show(visit)
    state(page, "shown")
    assert (
        page.locator("tugboat-carousel").evaluate(
            "(made) => made.shadowRoot.querySelectorAll('style').length"
        )
        == 0
    )


@pytest.mark.parametrize("loads", [True, False])
def test_the_documented_style_gives_the_place_up_if_the_script_never_runs(visit: Visit, loads: bool) -> None:
    text = (build.HERE.parents[1] / "docs" / "storefront.md").read_text()
    [style] = re.findall(r"<style>\n(.*?)</style>", text, re.DOTALL)
    script = f'<script async src="{visit.api_url}/api/tugboat-carousel.js"></script>' if loads else ""
    head = STYLE.split("tugboat-carousel")[0] + f"</style><style>{style.replace('10s', '0.3s')}</style>"
    visit.write(head=head + script, body=CAROUSEL + "<p>below</p>")
    page = visit.open()
    page.evaluate(VIEW)
    height = "document.querySelector('tugboat-carousel').getBoundingClientRect().height"
    if loads:
        state(page, "shown")
        page.wait_for_timeout(400)
        assert page.evaluate(height) == 400
    else:
        page.wait_for_function(f"{height} === 0")
