"""Raw events in the format of collect, in files as Firehose delivers them."""

import gzip
import json
from typing import Any

MIDNIGHT_MS = 1_767_312_000_000  # 2026-01-02 00:00 UTC
MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS


def raw_event(
    event_id: str, name: str = "view_item", *, client: str = "c1", at_ms: int = MIDNIGHT_MS, shop: str = "demo",
    items: list[str] | None = None, bot: bool = False, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return one line of raw/."""
    listed = [{"item_id": item, "item_name": f"Name of {item}", "price": 9.5} for item in items or []]
    return {
        "schema_version": 1,
        "event_id": event_id,
        "event_name": name,
        "shop_id": shop,
        "client_id": client,
        "session_id": "given-by-the-storefront",
        "client_time_ms": at_ms,
        **({"items": listed} if items is not None else {}),
        **more,
        "server": {
            "received_at_ms": at_ms, "event_time_ms": at_ms, "source": "events", "ip_prefix": "192.0.2.0/24",
            "device": "mobile", "is_bot": bot, "request_id": "r",
        },
    }  # fmt: skip


def deliver(s3: Any, bucket: str, name: str, events: list[dict[str, Any]]) -> str:
    """Write events to raw/ as one file of Firehose; return its key."""
    lines = "".join(json.dumps(event) + "\n" for event in events)
    key = f"raw/2026/01/02/00/{name}.gz"
    s3.put_object(Bucket=bucket, Key=key, Body=gzip.compress(lines.encode()))
    return key
