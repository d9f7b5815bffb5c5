"""A shopper in a real browser, in the demo shop, on the deployed stage."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from demo.shop.landing import Landing
from demo.shop.pages import Api, CatalogueIndex
from demo.shop.server import Shop, make_server
from testing.http_server import served
from testing.stage import EVENTS_BUCKET, KEYS, Stage
from tests.e2e import aisles

SHOWN = "() => [...document.querySelector('tugboat-carousel').shadowRoot.querySelectorAll('a')].map((card) => card.dataset.id)"


def shelf() -> CatalogueIndex:
    """The shop that the stage's model was trained for, as the demo shop needs it."""
    ids = [
        aisles.shelved(aisle, style, place)
        for aisle in range(aisles.AISLES)
        for style in range(aisles.STYLES)
        for place in range(aisles.PLACES)
    ]
    items = {
        item_id: {
            "item_id": item_id,
            "item_name": f"Item {item_id}",
            "item_category": item_id.rsplit("-", 1)[0].replace("-", "/"),
            "item_brand": "Aisle",
            "price": 10.0,
        }
        for item_id in ids
    }
    made = CatalogueIndex(items, {}, ids)
    for item_id, item in items.items():
        made.by_category.setdefault(str(item["item_category"]), []).append(item_id)
    for category in made.by_category:
        department, _, leaf = category.partition("/")
        made.departments.setdefault(department, []).append(leaf)
    return made


class Shopper:
    """A browser's page in the shop, and what went wrong in it."""

    def __init__(self, page: Any, url: str, landing: Landing) -> None:
        self.page, self.url, self.landing = page, url, landing
        self.troubles: list[str] = []
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on(
            "console",
            lambda said: self.troubles.append(said.text) if said.type in ("error", "warning") else None,
        )

    def open(self, path: str) -> list[str]:
        """Goes to a page; the ids in its carousel."""
        self.page.goto(self.url + path)
        return self.carousel()

    def carousel(self) -> list[str]:
        """The ids that the first carousel of the page shows, once it does."""
        self.page.locator("tugboat-carousel").first.and_(self.page.locator("[state=shown]")).wait_for()
        found: list[str] = self.page.evaluate(SHOWN)
        return found

    def choose(self, item_id: str) -> list[str]:
        """Clicks a card; the ids in the carousel of the page that it leads to."""
        self.page.locator(f"tugboat-carousel a[data-id='{item_id}']").first.click()
        self.page.wait_for_url(f"**/p/{item_id}")
        return self.carousel()

    def log(self) -> dict[str, Any]:
        """Return the log of the drawer: events with their results, and responses with their requests."""
        found: dict[str, Any] = json.loads(self.page.evaluate("sessionStorage['shop.log']"))
        return found


@contextmanager
def visiting(stage: Stage, chromium: Any) -> Iterator[Shopper]:
    """A shopper at the shop's door; the shop goes when the visit ends."""
    landing = Landing(stage.client("s3"), EVENTS_BUCKET)
    shop = Shop(shelf(), Api(stage.api_url, "demo", KEYS["demo"]), landing)
    with (
        served(make_server(shop, 0)) as url,
        chromium.new_context(viewport={"width": 1280, "height": 800}) as context,
    ):
        yield Shopper(context.new_page(), url, landing)
