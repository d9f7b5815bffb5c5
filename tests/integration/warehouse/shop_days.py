"""A generated shop with equal days: the same number of visitors, events, orders and late events each day."""

import random
from typing import Any

from tests.integration.warehouse.events import DAY_MS, MIDNIGHT_MS, MINUTE_MS, raw_event

SESSIONS_A_DAY = 400
VISITORS = 2000
LATE_SESSIONS = 10  # of a day's sessions, these arrive with the next day


def day_events(day: int, sessions: int = SESSIONS_A_DAY, visitors: int = VISITORS) -> list[dict[str, Any]]:
    """Return the events of one day, counted from 1."""
    draw = random.Random(day)
    return [event for number in range(sessions) for event in _session(day, number, visitors, draw)]


def delivery(first_day: int, last_day: int) -> list[dict[str, Any]]:
    """Return the events that arrive with these days: a few of each day come one day later."""
    days = {day: day_events(day) for day in range(max(1, first_day - 1), last_day + 1)}
    on_time = [event for day in range(first_day, last_day + 1) for event in days[day] if not _is_late(event)]
    late = [event for day in range(first_day - 1, last_day) for event in days.get(day, ()) if _is_late(event)]
    return on_time + late


def _is_late(event: dict[str, Any]) -> bool:
    return int(event["event_id"].split("-")[1]) < LATE_SESSIONS


def _session(day: int, number: int, visitors: int, draw: random.Random) -> list[dict[str, Any]]:
    client = f"c{draw.randrange(visitors)}"
    # Between 03:00 and 21:00 UTC.
    at_ms = MIDNIGHT_MS + (day - 1) * DAY_MS + 180 * MINUTE_MS + draw.randrange(1080 * MINUTE_MS)
    items = [f"i{min(int(draw.paretovariate(0.7)), 500)}" for _ in range(3)]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("page_view", {}),
        ("view_item", {"items": items[:1]}),
        ("view_item", {"items": items[1:2]}),
        ("search", {"search_term": "boots"}),
        ("view_item", {"items": items[2:]}),
    ]
    if number % 4 == 0:
        steps.append(("recommendation_impression", {"items": items[:2]}))
    if number % 10 == 0:
        steps.append(("add_to_cart", {"items": items[2:]}))
    if number % 40 == 0:
        steps.append(("purchase", {"items": items[2:], "transaction_id": f"t{day}-{number}", "value": 9.5}))
    events = [
        raw_event(f"{day}-{number}-{step}", name, client=client, at_ms=at_ms + step * MINUTE_MS, **more)
        for step, (name, more) in enumerate(steps)
    ]
    if number % 4 == 0:
        listed = [{"item_id": item, "slot": slot} for slot, item in enumerate(dict.fromkeys(items[:2]))]
        answer = {
            "verdict": "valid", "recommendation_id": f"r{day}-{number}", "model_version": "m1", "variant": "v",
            "issued_at_ms": at_ms, "items": listed,
        }  # fmt: skip
        events[5]["server"]["receipts"] = [answer]
        if number % 40 == 0:
            bought = [{"item_id": items[2], "slot": 2}]
            events[-1]["server"]["receipts"] = [{**answer, "items": bought}]
        exposure = raw_event(f"{day}-{number}-exposed", "recommendation_exposure", client=client, at_ms=at_ms)
        arm = {"experiment": "spring", "arm": "AB"[int(client[1:]) % 2], "share": 5_000, "control": "A"}
        exposure["server"]["receipts"] = [{**answer, "slots": 10, "experiments": [arm], "items": []}]
        events.append(exposure)
    return events
