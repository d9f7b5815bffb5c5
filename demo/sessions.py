"""Build sessions as the warehouse does, for the baselines and for held-out tests.

The rules are those of the table training_interactions.
A session ends after 30 minutes without an event, and a run of the same item counts once.
Nothing after the session's first order counts, but the order counts with all of its events and items.
An item of an order counts once, for the first client that reports the order with items.
A test compares both on the same events (tests/integration/warehouse/test_orders.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import contracts

SESSION_GAP_MS = 30 * 60 * 1000
INTERACTIONS = frozenset(contracts.training_events())

Event = dict[str, Any]
# Time in ms, event name, item id ("" if the event has no item), and order ("" if the event is no purchase).
Moment = tuple[int, str, str, str]
DAY_MS = 24 * 60 * 60 * 1000


@dataclass
class EventLog:
    """The events of each client, reduced to the fields of the baselines."""

    moments: dict[str, list[Moment]] = field(default_factory=dict)
    item_names: dict[str, str] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)
    _order_clients: dict[str, str] = field(default_factory=dict)
    _ordered: set[tuple[str, str]] = field(default_factory=set)

    def add(self, event: Event) -> None:
        """Add one contract event; a repeat of an event, or of an item of an order, counts once."""
        name, time_ms, client = event["event_name"], event["client_time_ms"], event["client_id"]
        identity = event["shop_id"], client, name, event["event_id"], time_ms // DAY_MS
        order = self._order(event) if name == "purchase" else ""
        key = hash(identity)
        # Reports of an order under one id can have different items.
        if key in self._seen and not order:
            return
        self._seen.add(key)
        moments = self.moments.setdefault(client, [])
        items = event.get("items") or ()
        if order:
            items = self._first_reported(order, client, items)
        if name in INTERACTIONS and items:
            for item in items:
                moments.append((time_ms, name, item["item_id"], order))
                if "item_name" in item:
                    self.item_names[item["item_id"]] = item["item_name"]
        else:
            moments.append((time_ms, name, "", order))

    @staticmethod
    def _order(event: Event) -> str:
        """Return the identity of an order. A purchase without transaction_id is an order of its own."""
        transaction = event.get("transaction_id", "").strip()
        own = (event["client_id"], event["event_id"], str(event["client_time_ms"] // DAY_MS))
        return "\x1f".join((event["shop_id"], transaction) if transaction else (event["shop_id"], *own))

    def _first_reported(self, order: str, client: str, items: Sequence[Event]) -> list[Event]:
        """Return the items that nobody has reported in this order, or none if the order is another client's."""
        if not items or self._order_clients.setdefault(order, client) != client:
            return []
        new = [item for item in items if (order, item["item_id"]) not in self._ordered]
        self._ordered.update((order, item["item_id"]) for item in items)
        return new


def cut(moments: Iterable[Moment]) -> Iterator[list[Moment]]:
    """Split one client's moments into sessions, in time order."""
    session: list[Moment] = []
    for moment in sorted(moments, key=lambda moment: moment[0]):
        if session and moment[0] - session[-1][0] > SESSION_GAP_MS:
            yield session
            session = []
        session.append(moment)
    if session:
        yield session


def runs(session: Iterable[Moment]) -> Iterator[list[Moment]]:
    """Yield the moments of each run of one item, oldest first, without what follows the first order."""
    moments = list(session)
    purchases = [moment for moment in moments if moment[1] == "purchase"]
    # A repeat of an older order has no items that count. It ends the session only if no order does.
    first = next((moment for moment in purchases if moment[2]), purchases[0] if purchases else None)
    is_over = False
    run: list[Moment] = []
    for moment in moments:
        _, _, item_id, order = moment
        is_over = is_over or moment is first
        if not item_id or (is_over and first is not None and order != first[3]):
            continue
        if run and item_id != run[0][2]:
            yield run
            run = []
        run.append(moment)
    if run:
        yield run


def interactions(session: Iterable[Moment]) -> Iterator[Moment]:
    """Yield the first moment of each run."""
    return (run[0] for run in runs(session))


def item_sequence(session: Iterable[Moment]) -> list[str]:
    """Return the session's items, oldest first, without immediate repeats and without what follows the first order."""
    return [item_id for _, _, item_id, _ in interactions(session)]


def training_sessions(log: EventLog) -> list[list[str]]:
    """Return the sessions of two items or more, in the order in which they ended."""
    found: list[tuple[int, list[str]]] = []
    for moments in log.moments.values():
        for session in cut(moments):
            items = item_sequence(session)
            if len(items) >= 2:
                found.append((session[-1][0], items))
    found.sort(key=lambda pair: pair[0])
    return [items for _, items in found]


def held_out_sessions(held_out: EventLog, training: EventLog) -> list[list[str]]:
    """Return the sessions that begin in the held-out time, without the rest of sessions that began earlier."""
    found: list[tuple[int, list[str]]] = []
    for client_id, moments in held_out.moments.items():
        last_trained_ms = max((moment[0] for moment in training.moments.get(client_id, ())), default=None)
        for session in cut(moments):
            starts_ms = session[0][0]
            if last_trained_ms is not None and starts_ms - last_trained_ms <= SESSION_GAP_MS:
                last_trained_ms = session[-1][0]
                continue
            items = item_sequence(session)
            if len(items) >= 2:
                found.append((starts_ms, items))
    found.sort(key=lambda pair: pair[0])
    return [items for _, items in found]
