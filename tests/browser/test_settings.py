"""The ways in: settings by attribute, by a global or by the script's query, in bundles, caches and tag managers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from storefront.sdk import build
from tests.browser.conftest import Visit, ready
from tests.browser.test_sdk import VIEW, flushed, names
from tests.browser.world import KEY

BUNDLE = "window.other = 1;\n" + (build.DIST / "tugboat.js").read_text() + "\nwindow.last = 1;\n"


def page_of(visit: Visit, head: str, body: str = "") -> Any:
    """Open a page without the usual script element."""
    visit.site.pages["/"] = (
        f'<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,">{head}<body>{body}</body></html>'
    )
    return visit.open()


def settings(visit: Visit, **more: str) -> str:
    values = {"shop": "demo", "key": KEY, "endpoint": visit.api_url + "/api", **more}
    return f"<script>window.tugboatSettings = {values}</script>"


def works(visit: Visit, page: Any) -> None:
    """Assert that a view arrives, and that the page warns of nothing."""
    page.evaluate(VIEW)
    flushed(page)
    assert names(visit.api.wait_for(2)) == ["page_view", "view_item"]
    assert visit.troubles == []


def warnings(visit: Visit) -> list[str]:
    """Return the page's warnings so far; they are then no trouble of the test."""
    found, visit.troubles[:] = list(visit.troubles), []
    return found


def test_a_tag_manager_that_strips_attributes_gives_the_settings_in_the_query(visit: Visit) -> None:
    query = urlencode({"shop": "demo", "key": KEY, "region": "US", "ver": "6.4"})
    # Tag Manager inserts the element of a custom HTML tag by script.
    insert = "document.head.append(Object.assign(document.createElement('script'), {async: true, src}))"
    page = page_of(visit, f"<script>const src = '{visit.api_url}/api/tugboat.js?{query}'; {insert}</script>")
    works(visit, page)


def test_a_global_gives_the_settings_of_a_script_without_attributes(visit: Visit) -> None:
    script = f'<script async src="{visit.api_url}/api/tugboat.js"></script>'
    page = page_of(visit, f"<script>window.tugboatSettings = {{shop: 'demo', key: '{KEY}'}}</script>{script}")
    works(visit, page)


@pytest.mark.parametrize("kind", ["async", "defer", 'type="module"'])
def test_a_bundle_works_with_the_settings_of_a_global(visit: Visit, kind: str) -> None:
    visit.site.pages["/bundle.js"] = BUNDLE
    page = page_of(
        visit, f'{settings(visit)}<script {kind} src="/bundle.js?key=of-another-product"></script>'
    )
    works(visit, page)


def test_a_bundle_works_with_the_attributes_of_a_marked_script(visit: Visit) -> None:
    visit.site.pages["/bundle.js"] = BUNDLE
    attributes = f'data-shop="demo" data-key="{KEY}" data-endpoint="{visit.api_url}/api/"'
    page = page_of(visit, f'<script {attributes}></script><script async src="/bundle.js"></script>')
    works(visit, page)


def test_a_copy_in_the_folder_of_a_cache_plug_in_works_with_an_endpoint(visit: Visit) -> None:
    path = "/wp-content/cache/min/1/api/tugboat.js"
    visit.site.pages[path] = BUNDLE
    page = page_of(visit, f'{settings(visit)}<script async src="{path}?ver=1764400000"></script>')
    works(visit, page)


def test_an_inline_script_works_with_a_global_and_ignores_the_page_s_own_query(visit: Visit) -> None:
    visit.site.pages["/"] = (
        f"<!doctype html><title>Shop</title><link rel='icon' href='data:,'>{settings(visit)}<script>{BUNDLE}</script>"
    )
    page = visit.open(visit.site_url + "/?shop=another&consent=denied")
    works(visit, page)


def test_the_running_script_s_attributes_outrank_the_global_and_that_outranks_the_query(visit: Visit) -> None:
    script = f'<script async src="{visit.api_url}/api/tugboat.js?shop=q&key={KEY}&userId=q" data-shop="demo"></script>'
    page = page_of(visit, f"<script>window.tugboatSettings = {{shop: 'g', userId: 'g'}}</script>{script}")
    flushed(page)
    [event] = visit.api.wait_for(1)
    assert (event["shop_id"], event["user_id"]) == ("demo", "g")


@pytest.mark.parametrize(
    ("query", "endpoint", "named"),
    [
        ("", "", "shop, key"),
        (f"?key={KEY}", "", "shop"),
        ("?shop=demo", "", "key"),
        ("", "bundle", "shop, key, endpoint"),
    ],
)
def test_a_missing_setting_warns_once_and_says_what_to_do(
    visit: Visit, query: str, endpoint: str, named: str
) -> None:
    visit.site.pages["/bundle.js"] = BUNDLE
    src = "/bundle.js" if endpoint else f"{visit.api_url}/api/tugboat.js{query}"
    page = page_of(visit, f'<script async src="{src}"></script>')
    page.evaluate(f"{VIEW}; {VIEW}")
    [warning] = warnings(visit)
    assert f"no event arrives without {named}." in warning
    for way in ("data- attribute", "window.tugboatSettings", "script's query"):
        assert way in warning


def test_a_copy_without_an_endpoint_warns_that_there_is_no_api(visit: Visit) -> None:
    path = "/wp-content/cache/min/1/api/tugboat.js"
    visit.site.pages[path] = BUNDLE
    page = page_of(visit, f'<script async src="{path}" data-shop="demo" data-key="{KEY}"></script>')
    flushed(page)
    [warning] = warnings(visit)
    assert f"there is no API at {visit.site_url}/wp-content/cache/min/1/api/" in warning
    assert page.evaluate("tugboat.visitor().waiting") == 1


def test_a_long_question_is_posted_and_a_short_one_is_in_the_address(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    ask = "(exclude) => tugboat.recommend({items: ['sku-00001'], k: 2, exclude})"
    for exclude in (["a"], [f"product-number-{n:05d}" for n in range(500)], ["ключ-" + "ы" * 32] * 50):
        answer = page.evaluate(ask, exclude)
        assert [item["item_id"] for item in answer["items"]] == ["sku-00002", "sku-00003"]
        assert visit.api.endpoint.questions[-1]["exclude"] == exclude
    asked = [
        (request.method, len(request.query) < 2_000)
        for request in visit.api.requests
        if request.path == "/api/recommend" and request.method != "OPTIONS"
    ]
    assert asked == [("GET", True), ("POST", True), ("POST", True)]


def test_ids_of_a_question_are_trimmed_and_invalid_ones_left_out(visit: Visit) -> None:
    visit.write()
    page = visit.open()
    question = {"items": [7, "x" * 65, None, " sku-00001 "], "exclude": ["two\nlines", " b"], "k": 1}
    assert page.evaluate("(question) => tugboat.recommend(question)", question)
    assert visit.api.endpoint.questions[-1] == {"items": ["7", "sku-00001"], "exclude": ["b"], "k": 1}


def test_two_scripts_on_one_page_warn_of_nothing(visit: Visit) -> None:
    visit.write(head=visit.script())
    page = visit.open()
    ready(page)
    assert visit.troubles == []
