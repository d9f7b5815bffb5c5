"""Send a shop's events to Tugboat, and ask it for recommendations.

with Tugboat(api_url, shop="demo", secret_key="...") as tugboat:
    tugboat.track("view_item", client_id="c-7d21", session_id="s-1", items=[{"item_id": "boot-7"}])
"""

from tugboat_events.catalogue import CatalogueError, ChangedProducts, RefusedChange
from tugboat_events.client import Tugboat
from tugboat_events.contract import EventName, Fields, Item, Recommendation, RecommendedItem
from tugboat_events.sender import Refused
from tugboat_events.version import VERSION as __version__
from tugboat_events.waiting import Counts

__all__ = [
    "CatalogueError",
    "ChangedProducts",
    "Counts",
    "EventName",
    "Fields",
    "Item",
    "Recommendation",
    "RecommendedItem",
    "Refused",
    "RefusedChange",
    "Tugboat",
    "__version__",
]
