"""Orders in other currencies than the shop's: their amounts are kept in INT_ORDERS and are no revenue."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from functions.platform import warehouse
from functions.validate.rules import Check, judge, share
from functions.validate.thresholds import Thresholds

CHECK = "other currencies"
ORDERS = """
    select orders.SHOP_ID, shops.CURRENCY, orders.CURRENCY, IS_SHOP_CURRENCY, IS_TRUSTED, count(*), sum(AMOUNT)
    from INTERMEDIATE.INT_ORDERS as orders
    left join INTERMEDIATE.INT_SHOP_CURRENCIES as shops on orders.SHOP_ID = shops.SHOP_ID
    where {bounds}
    group by 1, 2, 3, 4, 5
    order by 1, 2, 3, 4, 5
"""


@dataclass
class ShopOrders:
    """Recent orders of a shop. The back end confirms an order; pages only claim it."""

    currency: str = ""
    orders: int = 0
    confirmed: int = 0
    others: int = 0
    confirmed_others: int = 0
    amounts: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by other currency


def recent_orders(connection: Any, newest: Mapping[str, datetime], days: int) -> dict[str, ShopOrders]:
    """Return the orders of each shop's last days. `newest` is the time of the shop's newest event."""
    if not newest:
        return {}
    # The bounds are constants: Snowflake skips micro-partitions by them.
    bounds = " or ".join(["(orders.SHOP_ID = %s and ORDER_DATE > %s and ORDER_DATE <= %s)"] * len(newest))
    parameters = [
        value
        for shop_id, at in newest.items()
        for value in (shop_id, at.date() - timedelta(days=days), at.date())
    ]
    found: dict[str, ShopOrders] = {}
    for shop_id, own, currency, is_own, is_trusted, orders, amount in warehouse.rows(
        connection, ORDERS.format(bounds=bounds), tuple(parameters)
    ):
        shop = found.setdefault(shop_id, ShopOrders(own or ""))
        shop.orders += int(orders)
        shop.confirmed += int(orders) if is_trusted else 0
        if not is_own:
            shop.others += int(orders)
            shop.confirmed_others += int(orders) if is_trusted else 0
            shop.amounts[currency] += float(amount)
    return found


def currency_checks(found: Mapping[str, ShopOrders], limits: Thresholds) -> Iterator[Check]:
    """Judge the currencies of the back end's orders. A page's orders are reported only: anybody can claim one."""
    for shop_id, shop in found.items():
        amounts = ", ".join(f"{currency} {amount:,.2f}" for currency, amount in sorted(shop.amounts.items()))
        told = f"{shop.others} of {shop.orders} recent orders of shop {shop_id} are in other currencies than {shop.currency}"
        told += (
            f" ({amounts}) and are no revenue. Set currencies in deploy/stages.toml, or send {shop.currency}"
        )
        if not shop.others:
            told = (
                f"{shop.orders} recent orders of shop {shop_id} are in its currency {shop.currency}".rstrip()
            )
        part = share(shop.confirmed_others, shop.confirmed)
        reason = (
            f"{told}. Of the back end's orders, these are {part:.1%}; "
            f"{limits.other_currencies.largest_share:.0%} is allowed."
        )
        too_few = f"the back end reported only {shop.confirmed} of them. {told}"
        yield judge(limits, CHECK, f"shop {shop_id}", part, shop.confirmed, reason, too_few)
