"""Let shoppers visit the generated shop while the new model serves, so that its figures exist: shown, clicked, bought.

A shopper walks one of the held-out sessions, now, and sees a carousel on each product page.
If the carousel shows the session's next product, the shopper clicks it there in `CLICK_SHARE` of the cases.
"""

import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from demo.http import Http
from demo.recommend import Carousel, Visitor, ask
from demo.terminal import Progress

Event = dict[str, Any]
Item = Mapping[str, Any]

SHOPPERS, PAGES, K = 300, 5, 10
THREADS = 4
SEED = 21
# Invented, as the shop is. The figures of a real shop are lower, because its shoppers overlook carousels.
CLICK_SHARE, CART_SHARE, ORDER_SHARE = 0.35, 0.25, 0.5
CURRENCY = "USD"


@dataclass
class Visits:
    """The events of all shoppers, in order, and the number of carousels they saw."""

    events: list[Event] = field(default_factory=list)
    shoppers: int = 0

    def count(self, name: str) -> int:
        """Return the number of events of this name."""
        return sum(event["event_name"] == name for event in self.events)

    def summary(self) -> str:
        """Format the visits as one line."""
        return (
            f"{self.shoppers:,} shoppers of today saw {self.count('recommendation_impression'):,} carousels,"
            f" clicked {self.count('recommendation_click'):,} of their items and placed {self.count('purchase'):,} orders"
        )


def visit(
    http: Http,
    api_url: str,
    test: Sequence[Sequence[str]],
    products: Mapping[str, Item],
    *,
    shop_id: str,
    shoppers: int = SHOPPERS,
) -> Visits:
    """Ask /recommend for each page that a shopper opens, and return the events of the visits. Nothing is sent.

    Args:
        http: a client with `THREADS` connections.
        api_url: the API of the stage.
        test: held-out sessions, of which the first ones with two items or more are walked.
        products: the fields of each item in events, by its id.
        shop_id: the shop.
        shoppers: the largest number of shoppers.

    Raises:
        RequestFailed: /recommend does not answer.
    """
    walks = [list(session[:PAGES]) for session in test if len(session) > 1][:shoppers]
    progress = Progress("shoppers visit", len(walks), "shoppers")
    visits = Visits()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="shoppers") as pool:
        found = pool.map(
            lambda numbered: _walk(http, api_url, numbered[0], numbered[1], products, shop_id),
            enumerate(walks),
        )
        for events in found:
            visits.events += events
            visits.shoppers += 1
            progress.update(visits.shoppers)
    progress.finish(visits.shoppers)
    return visits


def _walk(
    http: Http, api_url: str, number: int, walk: list[str], products: Mapping[str, Item], shop_id: str
) -> list[Event]:
    chance = random.Random(SEED + number)
    visitor = Visitor(f"visit-{uuid.uuid4().hex}", f"today-{uuid.uuid4().hex}")
    receipts: dict[str, str] = {}
    steps: list[tuple[str, Event]] = []
    for page, item in enumerate(walk):
        steps.append(("view_item", {"items": [products[item]]}))
        carousel = ask(http, api_url, walk[: page + 1], K, shop_id, visitor)
        steps.append(("recommendation_impression", _of(carousel, carousel.items)))
        following = walk[page + 1] if page + 1 < len(walk) else None
        if following in carousel.items and chance.random() < CLICK_SHARE:
            steps.append(("recommendation_click", _of(carousel, [following])))
            receipts[following] = carousel.receipt
        if chance.random() < CART_SHARE:
            steps += _purchase(item, products[item], receipts, visitor, chance.random() < ORDER_SHARE)
            break
    return list(_dated(steps, visitor, shop_id))


def _of(carousel: Carousel, items: Sequence[str]) -> Event:
    return {
        "items": [{"item_id": item} for item in items],
        "recommendation_id": carousel.request_id,
        "receipt": carousel.receipt,
    }


def _purchase(
    item: str, product: Item, receipts: Mapping[str, str], visitor: Visitor, is_ordered: bool
) -> list[tuple[str, Event]]:
    """Return the item's way into the cart and, if it is ordered, its order. A clicked item has its receipt in both."""
    line = {**product, "quantity": 1} | ({"receipt": receipts[item]} if item in receipts else {})
    of_cart: Event = {"items": [line], "value": product["price"], "currency": CURRENCY}
    steps = [("add_to_cart", of_cart)]
    if is_ordered:
        steps += [
            ("begin_checkout", of_cart),
            ("purchase", of_cart | {"transaction_id": f"order-{visitor.client_id[-24:]}"}),
        ]
    return steps


def _dated(steps: Sequence[tuple[str, Event]], visitor: Visitor, shop_id: str) -> Iterator[Event]:
    # A page's events are refused if they are of the future, so a visit ends now.
    start_ms = int(time.time() * 1000) - len(steps)
    for sequence, (name, content) in enumerate(steps):
        yield {
            "schema_version": 1,
            "event_id": uuid.uuid4().hex,
            "event_name": name,
            "shop_id": shop_id,
            "client_id": visitor.client_id,
            "session_id": visitor.session_id,
            "client_time_ms": start_ms + sequence,
            "sequence": sequence,
            **content,
        }
