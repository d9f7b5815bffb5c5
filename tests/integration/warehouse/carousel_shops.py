"""Two generated shops with carousels, models and orders: what a dashboard shows, at any size."""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DAY_MS = 86_400_000
MINUTE_MS = 60_000
SECOND_MS = 1000
# Monday is 0. A shop of shoes sells most at the weekend.
WEEK = (0.90, 0.84, 0.88, 0.95, 1.06, 1.22, 1.15)
PRICES = (19.9, 24.5, 39.0, 59.9, 89.0, 129.0)
NOUNS = (
    "Trail shoe",
    "Rain jacket",
    "Wool sock",
    "Day pack",
    "Head lamp",
    "Water bottle",
    "Fleece",
    "Tent peg set",
)
ADJECTIVES = ("Light", "Classic", "Alpine", "Coastal", "Winter", "Junior", "Pro", "Everyday")
NETWORKS = 12


@dataclass(frozen=True)
class Period:
    """The days of a history. The first day is given by its midnight in UTC, in milliseconds since 1970."""

    midnight_ms: int
    days: int
    sessions_per_day: int


# Per shop: its share of the sessions, and the number that its events are drawn with.
SHOPS = {"demo": (1.0, 7), "serenade": (0.45, 11)}
# A new model is released after half of the days. Click probability per shown item, by model.
MODELS = (("2026-11-model-a", 0.050), ("2026-11-model-b", 0.072))
FALLBACK_CLICKS = 0.021


def history(period: Period) -> Iterator[dict[str, Any]]:
    """Yield the raw events of both shops."""
    for shop, (share, seed) in SHOPS.items():
        for day in range(period.days):
            weekday = (period.midnight_ms // DAY_MS + day + 3) % 7
            growth = 1 + 0.012 * day
            draw = random.Random(seed * 10_000 + day)
            sessions = max(
                2, round(period.sessions_per_day * share * WEEK[weekday] * growth * draw.uniform(0.93, 1.07))
            )
            for number in range(sessions):
                yield from _session(shop, period, day, number, draw)


def lines(events: list[dict[str, Any]]) -> bytes:
    """Return events as the lines of a file of Firehose."""
    return "".join(json.dumps(event) + "\n" for event in events).encode()


def item(shop: str, number: int) -> dict[str, Any]:
    """Return an item of a shop's catalogue, as events describe it."""
    name = f"{ADJECTIVES[number // len(NOUNS) % len(ADJECTIVES)]} {NOUNS[number % len(NOUNS)].lower()}"
    return {
        "item_id": f"{shop}-{number:03}",
        "item_name": name,
        "item_category": NOUNS[number % len(NOUNS)],
        "price": PRICES[number % len(PRICES)],
    }


def _session(
    shop: str, period: Period, day: int, number: int, draw: random.Random
) -> Iterator[dict[str, Any]]:
    client = f"{shop}-c{int(draw.random() ** 2 * period.sessions_per_day * 6)}"
    # Most visits are in the evening.
    hour = min(23.4, max(0.1, draw.gauss(17.5, 4.2)))
    at_ms = period.midnight_ms + day * DAY_MS + int(hour * 60) * MINUTE_MS
    end_ms = period.midnight_ms + (day + 1) * DAY_MS - MINUTE_MS
    step = 0
    network = f"192.0.{number % NETWORKS}.0/24"

    def event(name: str, **more: Any) -> dict[str, Any]:
        nonlocal step
        step += 1
        time_ms = min(at_ms + step * draw.randrange(8, 55) * SECOND_MS, end_ms - (40 - step) * SECOND_MS)
        receipts = more.pop("receipts", None)
        trusted = more.pop("trusted", False)
        return {
            "schema_version": 1,
            "event_id": f"{shop}-{day}-{number}-{step}",
            "event_name": name,
            "shop_id": shop,
            "client_id": client,
            "session_id": f"{shop}-{day}-{number}",
            "client_time_ms": time_ms,
            **more,
            "server": {
                "received_at_ms": time_ms,
                "event_time_ms": time_ms,
                "source": "events",
                "ip_prefix": network,
                "device": draw.choices(("mobile", "desktop", "tablet"), (62, 32, 6))[0],
                "is_bot": False,
                "request_id": "r",
                **({"receipts": receipts} if receipts else {}),
                **({"trusted": True} if trusted else {}),
            },
        }

    yield event("page_view")
    wanted: list[dict[str, Any]] = []
    for look in range(draw.choices((1, 2, 3, 5), (30, 34, 24, 12))[0]):
        seen = item(shop, _popular(draw))
        yield event("view_item", items=[seen])
        shown = [item(shop, one) for one in dict.fromkeys(_popular(draw) for _ in range(6))][:4]
        receipt = _receipt(shop, period, day, number, look, at_ms, shown, draw)
        yield event("recommendation_impression", items=shown, receipts=[receipt])
        clicks = dict(MODELS).get(receipt["model_version"], FALLBACK_CLICKS)
        if receipt["variant"] == "fallback":
            clicks = FALLBACK_CLICKS
        for slot, one in enumerate(shown):
            if draw.random() < clicks / (1 + 0.25 * slot):
                found = {**receipt, "items": [{"item_id": one["item_id"], "slot": slot}]}
                yield event("recommendation_click", items=[one], receipts=[found])
                yield event("view_item", items=[one])
                if draw.random() < 0.34:
                    wanted.append({"item": one, "receipt": found})
        if draw.random() < 0.07:
            wanted.append({"item": seen, "receipt": None})
    for one in wanted:
        receipts = [one["receipt"]] if one["receipt"] else None
        yield event("add_to_cart", items=[{**one["item"], "quantity": 1}], receipts=receipts)
    if wanted and draw.random() < 0.46:
        yield event("begin_checkout", items=[one["item"] for one in wanted])
        bought = [
            {**one["item"], "quantity": 1} for one in {one["item"]["item_id"]: one for one in wanted}.values()
        ]
        order = {
            "transaction_id": f"{shop}-{day}-{number}",
            "value": round(sum(one["price"] for one in bought), 2),
            "currency": "EUR",
            "items": bought,
        }
        receipts = list({one["item"]["item_id"]: one["receipt"] for one in wanted if one["receipt"]}.values())
        # The back end confirms most orders with the secret key.
        yield event("purchase", **order, receipts=receipts or None, trusted=draw.random() < 0.82)
        if draw.random() < 0.05:
            yield event("refund", **order, trusted=True)


def _popular(draw: random.Random) -> int:
    return min(int(draw.paretovariate(0.8)) - 1, len(NOUNS) * len(ADJECTIVES) - 1)


def _receipt(
    shop: str,
    period: Period,
    day: int,
    number: int,
    look: int,
    at_ms: int,
    shown: list[dict[str, Any]],
    draw: random.Random,
) -> dict[str, Any]:
    fallback = draw.random() < 0.02 + 0.06 * math.exp(-((day - period.days * 0.7) ** 2))
    model, _ = MODELS[day >= period.days / 2]
    return {
        "verdict": "valid",
        "recommendation_id": f"{shop}-{day}-{number}-{look}",
        "model_version": model,
        "variant": "fallback" if fallback else "AllTraffic",
        "issued_at_ms": at_ms,
        # The collector stores no default placement.
        **({"placement": "cart"} if look == 2 else {}),
        "items": [{"item_id": one["item_id"], "slot": slot} for slot, one in enumerate(shown)],
    }
