"""Invented shoppers of today: they see the carousels that the report asks for, click some of their items and buy.

A shopper walks one held-out session, now, and scrolls down to the carousel on most pages.
If the carousel shows the session's next product, the shopper clicks it there in `CLICK_SHARE` of the cases.
So the demo's boards, `make why` and `make explain` have something to show.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from demo.recommend import Carousel, Visitor

Event = dict[str, Any]
Item = Mapping[str, Any]
# Time in ms, event name, and the event's own fields.
Step = tuple[int, str, Event]

SHOWN = 8
SEED = 21
# Invented, as the shop is. The click rate of a real shop is lower, because its shoppers overlook more of a carousel.
SEEN_SHARE, CLICK_SHARE = 0.6, 0.35
# The shares of the generated history (demo/day.py): another mix of events would fail a data check.
LANDING_SHARE, SEARCH_SHARE, LIST_SHARE, CART_SHARE, ORDER_SHARE = 0.3, 0.07, 0.12, 0.09, 0.38
# Between the events of a page, and from the last carousel to the last page.
PAUSE_MS, LAST_PAGE_MS = 5, 500
CURRENCY, SITE = "USD", "https://shop.example"


@dataclass
class Visits:
    """The events of all shoppers, each shopper's in order."""

    shoppers: int
    events: list[Event] = field(repr=False)

    def count(self, name: str) -> int:
        """Return the number of events of this name."""
        return sum(event["event_name"] == name for event in self.events)

    @property
    def clicked(self) -> str:
        """Return the id of the last recommendation that was clicked, or an empty text if none was."""
        clicks = (event for event in reversed(self.events) if event["event_name"] == "recommendation_click")
        return str(next(clicks, {}).get("recommendation_id", ""))

    def summary(self) -> str:
        """Format the visits as one line."""
        return (
            f"{self.shoppers:,} invented shoppers of today saw {self.count('recommendation_impression'):,} of these"
            f" carousels, clicked {self.count('recommendation_click'):,} items and placed {self.count('purchase'):,} orders"
        )


def visitors(number: int) -> list[Visitor]:
    """Return today's visitors. Another demo of the day has the same ones, so that their events count once."""
    today = datetime.now(UTC).date()
    return [Visitor(f"visit-{today}-{one}", f"shopper-{today}-{one}") for one in range(number)]


def visit(
    sessions: Sequence[Sequence[str]],
    who: Sequence[Visitor],
    carousels: Sequence[Carousel],
    products: Mapping[str, Item],
    shop_id: str,
) -> Visits:
    """Return the events of the shoppers.

    Args:
        sessions: the items of each session, oldest first.
        who: the visitor of each session.
        carousels: the carousel after each item but a session's last, session by session.
        products: the fields of each item in events, by its id.
        shop_id: the shop.
    """
    shown = iter(carousels)
    events: list[Event] = []
    for number, (session, visitor) in enumerate(zip(sessions, who, strict=True)):
        seen = [next(shown) for _ in session[:-1]]
        events += _walk(random.Random(SEED + number), session, visitor, seen, products, shop_id)
    return Visits(len(sessions), events)


def _walk(
    chance: random.Random,
    session: Sequence[str],
    visitor: Visitor,
    carousels: Sequence[Carousel],
    products: Mapping[str, Item],
    shop_id: str,
) -> Iterator[Event]:
    receipts: dict[str, str] = {}
    steps: list[Step] = []
    at_ms = carousels[0].asked_at_ms
    if chance.random() < LANDING_SHARE:
        steps.append((at_ms - 3 * PAUSE_MS, "page_view", {"page_location": f"{SITE}/"}))
    for page, item in enumerate(session):
        at_ms = carousels[page].asked_at_ms if page < len(carousels) else at_ms + LAST_PAGE_MS
        product, category = products[item], str(products[item]["item_category"])
        if chance.random() < SEARCH_SHARE:
            steps.append((at_ms - 3 * PAUSE_MS, "search", {"search_term": category.rsplit("/", 1)[-1]}))
        if chance.random() < LIST_SHARE:
            steps.append((at_ms - 2 * PAUSE_MS, "view_item_list", {"item_list_id": category}))
        # The page reports the view, and then its carousel asks.
        view = {"items": [product], "page_location": f"{SITE}/p/{item}"}
        steps.append((at_ms - PAUSE_MS, "view_item", view))
        if page < len(carousels) and chance.random() < SEEN_SHARE:
            carousel, following = carousels[page], session[page + 1]
            shown = carousel.items[:SHOWN]
            at_ms += int(carousel.milliseconds) + PAUSE_MS
            steps.append((at_ms, "recommendation_impression", _of(carousel, shown)))
            if following in shown and chance.random() < CLICK_SHARE:
                steps.append((at_ms + PAUSE_MS, "recommendation_click", _of(carousel, [following])))
                receipts[following] = carousel.receipt
        if chance.random() < CART_SHARE:
            is_ordered = chance.random() < ORDER_SHARE
            steps += _cart(at_ms + 2 * PAUSE_MS, product, receipts.get(item), visitor, is_ordered)
            if is_ordered:
                break
    return _events(steps, visitor, shop_id)


def _of(carousel: Carousel, items: Sequence[str]) -> Event:
    return {
        "items": [{"item_id": item} for item in items],
        "recommendation_id": carousel.request_id,
        "receipt": carousel.receipt,
    }


def _cart(at_ms: int, product: Item, receipt: str | None, visitor: Visitor, is_ordered: bool) -> list[Step]:
    """Return the product's way into the cart and, if it is ordered, its order. A clicked item has its receipt in both."""
    line = {**product, "quantity": 1} | ({"receipt": receipt} if receipt else {})
    of_cart: Event = {"items": [line], "value": product["price"], "currency": CURRENCY}
    steps: list[Step] = [(at_ms, "add_to_cart", of_cart)]
    if is_ordered:
        order = of_cart | {"transaction_id": f"order-of-{visitor.client_id}"}
        steps += [(at_ms + 1, "begin_checkout", of_cart), (at_ms + 2, "purchase", order)]
    return steps


def _events(steps: Sequence[Step], visitor: Visitor, shop_id: str) -> Iterator[Event]:
    for sequence, (at_ms, name, content) in enumerate(steps):
        yield {
            "schema_version": 1,
            "event_id": f"{visitor.session_id}-{sequence}",
            "event_name": name,
            "shop_id": shop_id,
            "client_id": visitor.client_id,
            "session_id": visitor.session_id,
            "client_time_ms": at_ms,
            "sequence": sequence,
            **content,
        }
