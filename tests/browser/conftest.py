"""One Chromium for all browser tests; each test has its own new profile, API and site."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from demo import generator
from demo.shop import pages
from demo.shop.landing import Landing
from demo.shop.server import Shop, make_server
from testing.http_server import served
from tests.browser.world import KEY, SETTINGS, Api, Site, serving

AUDIT = Path(__file__).with_name("audit.js")
# Chromium's own messages about failed requests; no script can suppress them.
NETWORK_MESSAGES = ("Failed to load resource", "blocked by CORS policy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """Run app.py with fake services."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    from functions import wiring
    from functions.platform import receipt_keys, settings

    cached = (
        settings.collect_settings,
        settings.recommend_settings,
        receipt_keys.receipt_keys,
        wiring.recommenders,
    )
    for read_once in cached:
        read_once.cache_clear()
    made = Api()
    monkeypatch.setattr(wiring, "time_boxed_client", made.client)
    monkeypatch.setattr(receipt_keys, "time_boxed_client", made.client)
    yield made
    with made.lock:
        made.over = True
    for read_once in cached:
        read_once.cache_clear()


@dataclass
class Visit:
    """A browser on the shop's pages, and all errors in them."""

    context: Any
    api: Api
    site: Site
    api_url: str
    site_url: str
    troubles: list[str] = field(default_factory=list)

    def script(self, attributes: str = "") -> str:
        return f'<script async src="{self.api_url}/api/tugboat.js" data-shop="demo" data-key="{KEY}" {attributes}></script>'

    def write(self, path: str = "/", body: str = "", attributes: str = "", head: str = "") -> str:
        """Add a page to the site and return its address."""
        self.site.pages[path] = (
            f'<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,">{head}'
            f"{self.script(attributes)}<body>{body}</body></html>"
        )
        return self.site_url + path

    def page(self) -> Any:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on(
            "console",
            lambda message: (
                self.troubles.append(message.text)
                if message.type in ("error", "warning")
                and not any(known in message.text for known in NETWORK_MESSAGES)
                else None
            ),
        )
        return page

    def open(self, url: str | None = None, clock: bool = False) -> Any:
        """Open a page and wait for the SDK; with `clock`, the test controls its time."""
        page = self.page()
        if clock:
            page.clock.install()
        page.goto(url or self.site_url + "/")
        ready(page)
        return page


def ready(page: Any) -> None:
    """Wait until the SDK has loaded."""
    page.wait_for_function("!!window.tugboat?.track")


@pytest.fixture
def visits(chromium: Any, api: Api) -> Iterator[Callable[..., Visit]]:
    """Make visits, and assert at the end of each that no page has an error."""
    site = Site()
    contexts = []
    made: list[Visit] = []
    with serving(api.answer) as api_url, serving(site.answer) as site_url:

        def visit(**options: Any) -> Visit:
            context = chromium.new_context(**options)
            context.set_default_timeout(8_000)
            contexts.append(context)
            made.append(Visit(context, api, site, api_url, site_url))
            return made[-1]

        yield visit
        for context in contexts:
            context.close()
    assert [trouble for visit in made for trouble in visit.troubles] == []


@pytest.fixture
def visit(visits: Callable[..., Visit]) -> Visit:
    return visits()


@pytest.fixture(scope="session")
def index() -> pages.CatalogueIndex:
    return pages.CatalogueIndex.of(generator.catalogue_of(generator.History()))


@contextmanager
def serving_shop(visit: Visit, index: pages.CatalogueIndex, landing: Landing | None) -> Iterator[str]:
    """Serve the demo shop with the visit's API and yield its address."""
    shop = Shop(index, pages.Api(visit.api_url + "/api", "demo", KEY), landing)
    with served(make_server(shop, 0)) as url:
        yield url


@pytest.fixture
def shop_url(visit: Visit, index: pages.CatalogueIndex) -> Iterator[str]:
    """Serve the demo shop with a view of the bucket."""
    with serving_shop(visit, index, Landing(visit.api.s3, SETTINGS["TUGBOAT_EVENTS_BUCKET"])) as url:
        yield url


@contextmanager
def audited(chromium: Any, file: Path, width: int, scheme: str) -> Iterator[tuple[Any, list[str]]]:
    """Open a page of a file with the functions of audit.js, and yield it with what it writes to the console."""
    with chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        page = context.new_page()
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text))
        page.add_init_script(path=AUDIT)
        page.goto(file.as_uri())
        yield page, troubles
