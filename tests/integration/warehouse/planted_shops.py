"""Shops of two weeks, each with one cause in its second week, as raw events and refused ones."""

import gzip
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from tests.integration.warehouse.events import DAY_MS, MIDNIGHT_MS, MINUTE_MS, raw_event

FIRST_DAY = date(2026, 1, 2)
DAYS, CAUSE_DAY = 14, 7
ITEMS_SHOWN = 4
ITEMS = [f"i{number}" for number in range(12)]


@dataclass(frozen=True)
class Day:
    """The parameters of one day of a shop."""

    sessions: int = 60
    clicks: float = 0.7  # per session
    orders: float = 0.6  # per session with a click
    price: float = 20.0
    model: str = "m1"
    fallback: float = 0.03  # its click rate is a tenth of the model's
    refused: float = 0.0  # share of the purchases
    rules: str = "r1"  # the revision of the shop's rules
    placements: tuple[str, ...] = ("product", "cart")  # by turns; an empty one shows nothing


Change = Callable[[int, Day], Day]
# The number counts the days from the cause on.
SHOPS: dict[str, Change] = {
    "same": lambda _, day: day,
    "model": lambda number, day: replace(day, model="m2", clicks=0.2) if number >= 3 else day,
    "price": lambda _, day: replace(day, price=11.0),
    "traffic": lambda _, day: replace(day, sessions=28),
    "fallback": lambda _, day: replace(day, fallback=0.6),
    "refused": lambda _, day: replace(day, refused=0.6),
    "placement": lambda _, day: replace(day, placements=("product", "")),
    "rules": lambda number, day: replace(day, rules="r2", clicks=0.2) if number >= 2 else day,
    "checkout": lambda _, day: replace(day, orders=0.15),
}


def day_of(number: int) -> date:
    """Return a day of the shops, counted from 0."""
    return FIRST_DAY + timedelta(days=number)


def events_of(shop: str) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Return a shop's accepted events, and the files of its refused ones by their keys."""
    accepted: list[dict[str, Any]] = []
    files = {}
    for number in range(DAYS):
        day = Day()
        if number >= CAUSE_DAY:
            day = SHOPS[shop](number - CAUSE_DAY, day)
        refused: list[dict[str, Any]] = []
        draw = random.Random(f"{shop} {number}")
        for session in range(day.sessions):
            for event in _session(shop, number, session, day, draw):
                is_refused = event["event_name"] == "purchase" and draw.random() < day.refused
                (refused if is_refused else accepted).append(event)
        if not refused:
            continue
        key = f"rejected/{day_of(number):%Y/%m/%d}/12/{shop}.gz"
        files[key] = gzip.compress(
            "".join(json.dumps(_refused_line(event)) + "\n" for event in refused).encode()
        )
    return accepted, files


def _refused_line(event: dict[str, Any]) -> dict[str, Any]:
    payload = {name: value for name, value in event.items() if name != "server"}
    return {
        "reason": "field_invalid", "sender": event["shop_id"], "source": "events", "payload": json.dumps(payload),
        "request_id": "r", "ip_prefix": "192.0.2.0/24", "is_bot": False,
    }  # fmt: skip


def _item(item: str, day: Day) -> dict[str, Any]:
    is_hat = int(item[1:]) % 2 == 0
    return {
        "item_id": item, "item_category": "hats" if is_hat else "boots", "price": day.price * (1 if is_hat else 1.5),
        "quantity": 1,
    }  # fmt: skip


def _session(shop: str, number: int, session: int, day: Day, draw: random.Random) -> Iterator[dict[str, Any]]:
    name, at_ms = f"{shop}-{number}-{session}", MIDNIGHT_MS + number * DAY_MS + session * 10 * MINUTE_MS
    is_fallback = draw.random() < day.fallback
    items = draw.sample(ITEMS, ITEMS_SHOWN)

    def event(step: int, kind: str, shown: list[str], **more: Any) -> dict[str, Any]:
        made = raw_event(
            f"{name}-{step}", kind, client=name, shop=shop, at_ms=at_ms + step * MINUTE_MS, **more
        )
        made["items"] = [_item(item, day) for item in shown]
        made["server"]["device"] = "mobile" if session % 3 else "desktop"
        if kind != "view_item":
            made["server"]["receipts"] = [
                {
                    "verdict": "valid", "recommendation_id": name, "model_version": day.model,
                    "variant": "fallback" if is_fallback else "AllTraffic", "issued_at_ms": at_ms, "placement": placement,
                    "rules": day.rules,
                    "items": [{"item_id": item, "slot": items.index(item)} for item in shown],
                }
            ]  # fmt: skip
        return made

    yield event(0, "view_item", items[:1])
    placement = day.placements[session % len(day.placements)]
    if not placement:
        return
    yield event(1, "recommendation_impression", items)
    if draw.random() >= day.clicks * (0.1 if is_fallback else 1):
        return
    clicked = items[:1]
    yield event(2, "recommendation_click", clicked)
    yield event(3, "add_to_cart", clicked)
    if draw.random() < day.orders:
        value = _item(clicked[0], day)["price"]
        yield event(4, "purchase", clicked, transaction_id=name, value=value, currency="USD")
