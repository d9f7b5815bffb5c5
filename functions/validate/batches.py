"""Judge the lists of a shop's batch: their age, and their number of clients. A breach warns: no run depends on them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from functions.platform import warehouse
from functions.platform.contract import SESSION_ITEM_EVENTS
from functions.platform.settings import WarehouseSettings
from functions.validate.rules import Check, judge, share, skipped
from functions.validate.thresholds import Thresholds

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
NAMES = ("batch age", "batch clients")
LISTS = """
select max(MADE_AT_MS), count(distinct CLIENT_KEY), max(LAST_EVENT_TIME_MS)
from MARTS.RECOMMENDATIONS_BATCH
where SHOP_ID = %s
"""
CLIENTS = "select count(distinct CLIENT_KEY) from INTERMEDIATE.INT_SESSION_EVENTS where SHOP_ID = %s"
CLIENTS += " and EVENT_TIME_MS > %s and EVENT_TIME_MS <= %s and EVENT_NAME in ({})".format(
    ", ".join(f"'{name}'" for name in SESSION_ITEM_EVENTS)
)


def batch_checks(
    connection: Any, settings: WarehouseSettings, shop_id: str, now: datetime, limits: Thresholds
) -> Iterator[Check]:
    """Yield the checks of the newest batch. They are skipped where only people start batches."""
    over = f"shop {shop_id}"
    if not settings.batch_nightly:
        for name in NAMES:
            yield skipped(limits, name, over, "batch_nightly is off in this stage")
        return
    made_at_ms, listed, newest_ms = warehouse.one(connection, LISTS, (shop_id,))
    if made_at_ms is None:
        for name in NAMES:
            yield skipped(limits, name, over, "no batch has been made yet")
        return
    hours = (now.timestamp() * 1000 - int(made_at_ms)) / HOUR_MS
    reason = (
        f"The lists for mail were made {hours:.1f} hours ago; {limits.batch.largest_hours:g} are allowed. "
        "Look at the last execution of the batch (make batch)."
    )
    yield _warned(judge(limits, "batch age", over, hours, 1, reason, ""))
    period = (shop_id, int(newest_ms) - settings.batch_days * DAY_MS, int(newest_ms))
    clients = int(warehouse.one(connection, CLIENTS, period)[0])
    ratio = share(int(listed), clients)
    reason = (
        f"{listed} of {clients} clients of {settings.batch_days} days have a list, a share of {ratio:.2f}; "
        f"{limits.batch.lowest_ratio:g} is the least."
    )
    yield _warned(judge(limits, "batch clients", over, ratio, clients, reason, f"only {clients} clients"))


def _warned(check: Check) -> Check:
    return replace(check, verdict="warned") if check.verdict == "failed" else check
