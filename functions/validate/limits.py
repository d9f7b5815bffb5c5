"""Limits of one shop: QA.LIMITS has them with who set them and why, and a run reads them without a deployment.

The table is append-only. The newest row of a shop and a name holds, and a row without a value returns to the default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.platform import warehouse
from functions.platform.log import get_logger
from functions.validate.rules import RULES, Check
from functions.validate.thresholds import LimitRefused, Thresholds, limit_names, with_limits

log = get_logger(__name__)

LIMITS = """
    select LIMIT_NAME, VALUE, SET_BY, REASON, SET_AT
    from QA.LIMITS
    where SHOP_ID = %s
    qualify row_number() over (partition by LIMIT_NAME order by SET_AT desc) = 1
"""


@dataclass(frozen=True)
class ShopLimit:
    """A limit of a shop. The name is that of a threshold, or of an expectation: then it is its `mostly`."""

    name: str
    value: float
    set_by: str
    reason: str
    set_at: datetime

    def __str__(self) -> str:
        """Return who set the limit and why."""
        return f"{self.value:g}, set by {self.set_by} on {self.set_at:%Y-%m-%d}: {self.reason}"


def read_limits(connection: Any, shop_id: str) -> dict[str, ShopLimit]:
    """Return the limits that hold for a shop, by their names."""
    found = (ShopLimit(*row) for row in warehouse.rows(connection, LIMITS, (shop_id,)))
    return {limit.name: limit for limit in found if limit.value is not None}


def shop_thresholds(limits: Mapping[str, ShopLimit]) -> Thresholds:
    """Return the thresholds of a shop. A limit that this release refuses is logged, and its default holds."""
    allowed: dict[str, float] = {}
    for name, limit in limits.items():
        if name not in limit_names():
            continue
        try:
            with_limits(allowed | {name: limit.value})
            allowed[name] = limit.value
        except LimitRefused as error:
            log.warning("limit of a shop ignored", limit=name, value=limit.value, error=str(error))
    return with_limits(allowed)


def expectation_limits(limits: Mapping[str, ShopLimit]) -> dict[str, float]:
    """Return the limits of expectations. dbt ignores one whose expectation was removed."""
    return {name: limit.value for name, limit in limits.items() if name not in limit_names()}


def limit_of(check: Check, limits: Mapping[str, ShopLimit]) -> str | None:
    """Return who set the limits of a check and why, or None if it has the defaults."""
    names = [check.name]
    if rule := RULES.get(check.name):
        names = rule.limit_names()
    found = [f"{name} {limits[name]}" for name in names if name in limits]
    return "; ".join(found) or None
