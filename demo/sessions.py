"""Build sessions as the warehouse does, for the baselines and for held-out tests.

The rules are those of the table training_interactions.
A session ends after 30 minutes without an event, a run of the same item counts once,
and nothing after the session's first purchase counts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import contracts

SESSION_GAP_MS = 30 * 60 * 1000
INTERACTIONS = frozenset(contracts.training_events())

Event = dict[str, Any]
Moment = tuple[int, str, str]  # time in ms, event name, item id ("" if the event has no item)


@dataclass
class EventLog:
    """The events of each client, reduced to the fields of the baselines."""

    moments: dict[str, list[Moment]] = field(default_factory=dict)
    item_names: dict[str, str] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)

    def add(self, event: Event) -> None:
        """Add one contract event; a repeated event_id counts once."""
        key = hash((event["shop_id"], event["event_id"]))
        if key in self._seen:
            return
        self._seen.add(key)
        moments = self.moments.setdefault(event["client_id"], [])
        name, time_ms = event["event_name"], event["client_time_ms"]
        items = event.get("items") or ()
        if name in INTERACTIONS and items:
            for item in items:
                moments.append((time_ms, name, item["item_id"]))
                if "item_name" in item:
                    self.item_names[item["item_id"]] = item["item_name"]
        else:
            moments.append((time_ms, name, ""))


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


def interactions(session: Iterable[Moment]) -> Iterator[Moment]:
    """Yield the first moment of each run of one item, oldest first, without items after the first purchase."""
    purchased_ms: int | None = None
    last_item = ""
    for moment in session:
        time_ms, name, item_id = moment
        if purchased_ms is not None and (name != "purchase" or time_ms > purchased_ms):
            return
        if name == "purchase":
            purchased_ms = time_ms
        if item_id and item_id != last_item:
            last_item = item_id
            yield moment


def item_sequence(session: Iterable[Moment]) -> list[str]:
    """Return the session's items, oldest first, without immediate repeats and without items after the first purchase."""
    return [item_id for _, _, item_id in interactions(session)]


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
