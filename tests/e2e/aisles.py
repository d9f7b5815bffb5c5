"""A generated shop with known tables and recommendations.

Every aisle has one row of items per style, and one stand in the middle. A shopper stays with one style and walks along its
row, sometimes past the stand. The item after the stand therefore depends on the session, not on the stand.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

AISLES, STYLES, PLACES = 2, 4, 25
DAY_MS = 86_400_000
MINUTE_MS = 60_000


@dataclass(frozen=True)
class Visit:
    """One session: the items that a client viewed, one per minute."""

    client_id: str
    starts_ms: int
    items: tuple[str, ...]


def visits(count: int = 1500, days: int = 10, seed: int = 3) -> list[Visit]:
    """Return one session per shopper, in the days before today."""
    rng = random.Random(seed)
    midnight_ms = int(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
    first_ms = midnight_ms - days * DAY_MS
    starts = sorted(first_ms + rng.randrange((days * 24 - 1) * DAY_MS // 24) for _ in range(count))
    return [Visit(f"client-{seed}-{number:05}", start, _walk(rng)) for number, start in enumerate(starts)]


def shelved(aisle: int, style: int, place: int) -> str:
    """Return the id of an item of a style."""
    return f"aisle{aisle}-style{style}-{place % PLACES}"


def stand(aisle: int) -> str:
    """Return the id of the item in the middle of an aisle."""
    return f"aisle{aisle}-stand"


def _walk(rng: random.Random) -> tuple[str, ...]:
    aisle = min(int(rng.expovariate(1)), AISLES - 1)
    style, place = rng.randrange(STYLES), rng.randrange(PLACES)
    seen = [shelved(aisle, style, place)]
    for _ in range(rng.randint(2, 4)):
        if rng.random() < 0.5:
            seen.append(stand(aisle))
        place += 1 if rng.random() < 0.8 else rng.randrange(2, PLACES - 1)
        seen.append(shelved(aisle, style, place))
    return tuple(seen)


def events(of: list[Visit]) -> Iterator[dict[str, Any]]:
    """Yield the events of sessions as the storefront sends them."""
    for visit in of:
        for number, item_id in enumerate(visit.items):
            yield {
                "schema_version": 1,
                "event_id": f"{visit.client_id}-{number}",
                "event_name": "view_item",
                "shop_id": "demo",
                "client_id": visit.client_id,
                "session_id": f"{visit.client_id}-s",
                "client_time_ms": visit.starts_ms + number * MINUTE_MS,
                "items": [
                    {
                        "item_id": item_id,
                        "item_name": f"Item {item_id}",
                        "item_category": item_id[:6],
                        "price": 10.0,
                    }
                ],
            }
