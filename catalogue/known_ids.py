"""Compare a feed's ids with the item ids of the shop's events of the last week."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from functions.platform import warehouse

WEEK_MS = 7 * 86_400_000
# The week ends at the shop's newest event, so that a replayed data set has one too.
EVENT_ITEMS = """
select ITEM_ID, count(*)
from INTERMEDIATE.INT_ITEM_EVENTS
where
    SHOP_ID = %s
    and EVENT_DATE >= to_timestamp_ntz(%s, 3)::date
    and EVENT_TIME_MS > %s
group by ITEM_ID
"""
NEWEST_EVENT = "select max(LAST_EVENT_MS) from MARTS.DAILY_KPIS where SHOP_ID = %s"


@dataclass(frozen=True)
class Known:
    """How many of the week's item ids and item events a choice of `--item-id` covers."""

    choice: str
    items: int
    known_items: int
    events: int
    known_events: int

    @property
    def share(self) -> float:
        """Return the share of the item ids that the feed has."""
        return self.known_items / self.items if self.items else 0.0


def event_items(connection: Any, shop_id: str) -> dict[str, int]:
    """Return the number of events per item id of the shop's last week. The night's run adds the day's events."""
    newest_ms = warehouse.one(connection, NEWEST_EVENT, (shop_id,))[0]
    if newest_ms is None:
        return {}
    since_ms = int(newest_ms) - WEEK_MS
    found = warehouse.rows(connection, EVENT_ITEMS, (shop_id, since_ms, since_ms))
    return {item_id: int(count) for item_id, count in found}


def compare(ids: Mapping[str, Set[str]], items: Mapping[str, int]) -> list[Known]:
    """Return one comparison per choice, the best first."""
    compared = [
        Known(
            choice,
            len(items),
            len(items.keys() & known),
            sum(items.values()),
            sum(count for item_id, count in items.items() if item_id in known),
        )
        for choice, known in ids.items()
    ]
    return sorted(compared, key=lambda one: -one.known_events)
