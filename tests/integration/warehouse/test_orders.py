"""One definition of an order: several events, repeats, strangers, back ends, refunds and currencies."""

from typing import Any

import pytest

from demo.sessions import EventLog, training_sessions
from functions.platform import warehouse
from testing.warehouse_stack import Stack, connected
from tests.integration.warehouse.events import DAY_MS, MIDNIGHT_MS, MINUTE_MS, deliver, raw_event
from tests.integration.warehouse.test_pipeline import run_to_tables

SHOP, FILE_SHOP = "orders", "file"
ORDERS = """
    select TRANSACTION_ID, AMOUNT, CONFIRMED_REVENUE, CLAIMED_REVENUE, REFUNDS
    from INTERMEDIATE.INT_ORDERS where SHOP_ID = 'orders'
"""
SESSIONS = """
    select CLIENT_ID, sum(PURCHASES), sum(REVENUE), sum(NET_REVENUE)
    from MARTS.SESSIONS where SHOP_ID = 'orders' group by CLIENT_ID having sum(PURCHASES) > 0
"""
DAYS = """
    select sum(PURCHASES), sum(REVENUE), sum(CONFIRMED_REVENUE), sum(CLAIMED_REVENUE), sum(REFUNDS), sum(NET_REVENUE)
    from MARTS.DAILY_KPIS where SHOP_ID = 'orders'
"""
PRODUCTS = "select ITEM_ID, PURCHASES from MARTS.PRODUCTS where SHOP_ID = 'orders' and PURCHASES > 0"
CREDITED = "select RECOMMENDATION_ID, ITEMS_BOUGHT, REVENUE, CONFIRMED_REVENUE from MARTS.RECOMMENDATIONS"
LEARNED = """
    select s.CLIENT_ID, s.STARTED_AT_MS, listagg(i.ITEM_ID, ' ') within group (order by i.POSITION)
    from TRAINING.TRAINING_INTERACTIONS as i inner join MARTS.SESSIONS as s on i.SESSION_KEY = s.SESSION_KEY
    where i.SHOP_ID = '{}' group by s.CLIENT_ID, s.STARTED_AT_MS
"""


def order(
    event_id: str, transaction: str, lines: dict[str, float], value: float | None = None, *, client: str,
    minute: float = 0, trusted: bool = False, name: str = "purchase", currency: str | None = "EUR",
    shop: str = SHOP, recommendation: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Return a purchase or a refund with the prices of its items. `recommendation` names the receipt of its first item."""
    event = raw_event(
        event_id, name, client=client, shop=shop, at_ms=MIDNIGHT_MS + int(minute * MINUTE_MS), transaction_id=transaction,
    )  # fmt: skip
    if value is not None:
        event["value"] = value
    if currency:
        event["currency"] = currency
    if lines:
        event["items"] = [{"item_id": item, "price": price, "quantity": 1} for item, price in lines.items()]
    if trusted:
        event["server"]["trusted"] = True
    if recommendation:
        event["server"]["receipts"] = [
            {
                "verdict": "valid", "recommendation_id": recommendation, "model_version": "m", "variant": "v",
                "issued_at_ms": event["client_time_ms"] - MINUTE_MS, "items": [{"item_id": next(iter(lines)), "slot": 0}],
            }
        ]  # fmt: skip
    return event


def view(client: str, item: str, minute: float, shop: str = SHOP) -> dict[str, Any]:
    at_ms = MIDNIGHT_MS + int(minute * MINUTE_MS)
    return raw_event(f"{client}-{item}-{minute}", client=client, shop=shop, at_ms=at_ms, items=[item])


DAY = DAY_MS // MINUTE_MS
# By transaction: amount, confirmed revenue, claimed revenue, refunds. The comments name each kind of fault.
EXPECTED = {
    "1003": (250, 250, 0, 0),
    "T1": (60, 0, 60, 0),
    "T8": (100, 0, 100, 0),
    "S1": (70, 70, 0, 0),
    "S2": (30, 0, 30, 0),
    "B1": (90, 90, 0, 0),
    "A1": (20, 0, 20, 0),
    "W1": (10, 0, 10, 0),
    "W2": (15, 0, 15, 0),
    "R1": (45, 45, 0, 20),
    "R2": (45, 0, 45, 45),
    "E1": (100, 0, 100, 0),
    "J1": (15_000, 0, 0, 0),
}
FIRST_NIGHT = [
    # A stranger sends the id and the number of the next order, as another event and as an order.
    raw_event("purchase-1003", client="stranger", shop=SHOP, items=["z"]),
    order("purchase-1003", "1003", {"z": 1}, 1, client="stranger", minute=1),
    view("victim", "a", 2),
    # An order as one event per row, with the total of the row.
    view("rows", "v", 0),
    order("t1-1", "T1", {"i1": 10}, 10, client="rows", minute=1),
    order("t1-2", "T1", {"i2": 20}, 20, client="rows", minute=1.1),
    order("t1-3", "T1", {"i3": 30}, 30, client="rows", minute=1.2),
    view("rows", "i1", 3),
    order("x1", "T8", {"i1": 100}, 100, client="repeats"),
    # Shipments, by the back end and by a page, whose event ids are the same.
    order("s1-1", "S1", {"i1": 30}, 30, client="back-end", trusted=True),
    order("purchase-S2", "S2", {"i2": 10}, 10, client="ships"),
    order("purchase-B1", "B1", {"i1": 100}, 100, client="buyer", recommendation="R-buyer"),
    # The advertising copy has no items.
    order("purchase-A1", "A1", {}, 20, client="ads"),
    order("w1", "W1", {"i1": 10}, 10, client="two"),
    order("w2", "W2", {"i1": 15}, 15, client="two", minute=2),
    order("r1", "R1", {"i1": 20, "i2": 25}, 45, client="returns", trusted=True),
    order("r2", "R2", {"i1": 20, "i2": 25}, 45, client="returns", minute=2, currency=None),
    order("e1", "E1", {"i1": 100}, 100, client="euro"),
    order("j1", "J1", {"i1": 15_000}, 15_000, client="yen", currency="JPY"),
]
SECOND_NIGHT = [
    order("purchase-1003", "1003", {"a": 250}, 250, client="victim", minute=3, trusted=True),
    # The same order in a later session, by another client, and long after the first.
    order("x2", "T8", {"i1": 100}, 100, client="repeats", minute=3 * DAY),
    order("x3", "T8", {"i1": 100}, 100, client="shop-server", minute=1),
    order("x4", "T8", {"i1": 100}, 100, client="repeats", minute=40 * DAY),
    order("s1-2", "S1", {"i2": 40}, 40, client="back-end", minute=2 * DAY, trusted=True),
    order("purchase-S2", "S2", {"i3": 20}, 20, client="ships", minute=5),
    # The back end reports what the page claimed, and a stranger claims it after that.
    order("b1", "B1", {"i1": 90}, 90, client="buyer", minute=600, trusted=True),
    order("b1x", "B1", {"z": 9_999}, 9_999, client="stranger", minute=5),
    order("b1y", "B1", {"i1": 9_999}, 9_999, client="stranger", minute=5, recommendation="R-stranger"),
    order("purchase-A1", "A1", {"i1": 20}, 20, client="ads"),
    order("f1", "R1", {"i1": 20}, client="another-back-end", minute=9 * DAY, trusted=True, name="refund"),
    # A repeat, a page's refund of what the back end sold, and a stranger's refunds.
    order("f2", "R1", {"i1": 20}, client="another-back-end", minute=9 * DAY, trusted=True, name="refund"),
    order("f3", "R1", {}, client="returns", minute=DAY, name="refund"),
    order("f4", "B1", {}, client="stranger", minute=DAY, name="refund"),
    order("f5", "E1", {}, 100, client="stranger", minute=DAY, name="refund"),
    order("f6", "R2", {}, client="returns", minute=3, name="refund"),
    order("f7", "unknown", {}, client="returns", minute=3, name="refund"),
]
# Claims only, in the order of their times: the rules of demo/sessions.py must give the same sessions.
FILE = [
    view("c", "v", 0, FILE_SHOP),
    order("l1", "T1", {"i1": 1}, client="c", minute=1, shop=FILE_SHOP),
    order("l2", "T1", {"i2": 1, "i3": 2}, client="c", minute=1.1, shop=FILE_SHOP),
    view("c", "i1", 2, FILE_SHOP),
    order("l3", "T1", {"i3": 2, "i4": 2}, client="c", minute=3, shop=FILE_SHOP),
    order("l4", "T2", {"x": 1, "y": 2}, client="c", minute=4, shop=FILE_SHOP),
    view("d", "v", 10, FILE_SHOP),
    view("d", "w", 11, FILE_SHOP),
    order("l5", "T1", {"i1": 1}, client="d", minute=12, shop=FILE_SHOP),
    view("d", "after", 13, FILE_SHOP),
    order("l6", "T1", {"i1": 1, "i2": 1}, client="c", minute=100, shop=FILE_SHOP),
    order("l7", "T3", {"p": 1, "q": 1}, client="c", minute=101, shop=FILE_SHOP),
    order("l8", "T4", {}, client="e", minute=200, shop=FILE_SHOP),
    view("f", "v", 200, FILE_SHOP),
    order("l9", "T4", {"p": 1, "q": 1}, client="f", minute=201, shop=FILE_SHOP),
]


@pytest.fixture(scope="module")
def stack(new_stack: Any) -> Stack:
    made: Stack = new_stack("orders")
    deliver(made.s3, made.settings.events_bucket, "1", [*FIRST_NIGHT, *FILE])
    run_to_tables(made, "n1")
    # Everything of the first night comes again, as after a replay.
    deliver(made.s3, made.settings.events_bucket, "2", [*FIRST_NIGHT, *SECOND_NIGHT])
    run_to_tables(made, "n2")
    return made


def figures(stack: Stack) -> dict[str, Any]:
    with connected(stack) as connection:
        found = {
            "orders": {name: tuple(rest) for name, *rest in warehouse.rows(connection, ORDERS)},
            "sessions": sorted(warehouse.rows(connection, SESSIONS)),
            "days": [float(value) for value in warehouse.one(connection, DAYS)],
            "products": dict(warehouse.rows(connection, PRODUCTS)),
            "credited": sorted(warehouse.rows(connection, CREDITED)),
        }
        for shop in (SHOP, FILE_SHOP):
            found[f"learned by {shop}"] = sorted(warehouse.rows(connection, LEARNED.format(shop)))
    return found


def test_an_order_counts_once_by_its_most_trusted_report_incrementally_and_from_scratch(stack: Stack) -> None:
    found = figures(stack)
    assert found["orders"] == EXPECTED
    confirmed, claimed, refunds = (sum(row[column] for row in EXPECTED.values()) for column in (1, 2, 3))
    assert found["days"] == [
        len(EXPECTED), confirmed + claimed, confirmed, claimed, refunds, confirmed + claimed - refunds,
    ]  # fmt: skip
    assert {client: (orders, money, net) for client, orders, money, net in found["sessions"]} == {
        "ads": (1, 20, 20),
        "back-end": (1, 70, 70),
        "buyer": (1, 90, 90),
        "euro": (1, 100, 100),
        "repeats": (1, 100, 100),
        "returns": (2, 90, 25),
        "rows": (1, 60, 60),
        "ships": (1, 30, 30),
        "two": (2, 25, 25),
        "victim": (1, 250, 250),
        "yen": (1, 0, 0),
    }
    # i1 is in T1, T8, S1, B1, A1, W1, W2, R1, R2, E1 and J1; nobody bought what a stranger claims.
    assert found["products"] == {"a": 1, "i1": 11, "i2": 5, "i3": 2}
    assert found["credited"] == [("R-buyer", 1, 90.0, 90.0), ("R-stranger", 0, 0.0, 0.0)]
    assert run_to_tables(stack, "full", full_refresh=True)
    assert figures(stack) == found


def test_all_items_of_an_order_are_learned_once(stack: Stack) -> None:
    learned = {(client, items) for client, _, items in figures(stack)[f"learned by {SHOP}"]}
    assert learned >= {("rows", "v i1 i2 i3"), ("ships", "i2 i3"), ("returns", "i1 i2")}
    assert not any(client in ("stranger", "shop-server", "repeats") for client, _ in learned)


def test_the_demos_sessions_are_those_of_the_warehouse(stack: Stack) -> None:
    log = EventLog()
    for event in FILE:
        log.add(event)
    learned = sorted(items.split(" ") for _, _, items in figures(stack)[f"learned by {FILE_SHOP}"])
    assert learned == sorted(training_sessions(log))
    assert ["v", "i1", "i2", "i3", "i4"] in learned
