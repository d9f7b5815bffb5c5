"""The warehouse's rule of sessions in Python: a reference for tests of its SQL and of what comes before it."""

from collections.abc import Iterable
from typing import NamedTuple

GAP_MS = 30 * 60_000


class Event(NamedTuple):
    """An event as the rule reads it. `counter` names what numbered it: the storefront's session id."""

    key: str
    client: str
    time_ms: int
    counter: str = ""
    sequence: int | None = None


class Place(NamedTuple):
    """The session of an event, and its position in the session from 1."""

    client: str
    start_ms: int
    number: int


def placed(events: Iterable[Event]) -> dict[str, Place]:
    """Return the place of each event by its key."""
    sessions: list[list[Event]] = []
    for event in sorted(events, key=lambda event: (event.client, event.time_ms, event.key)):
        last = sessions[-1][-1] if sessions else None
        if last is None or last.client != event.client or event.time_ms - last.time_ms > GAP_MS:
            sessions.append([])
        sessions[-1].append(event)
    return {
        event.key: Place(event.client, session[0].time_ms, number)
        for session in sessions
        for number, event in enumerate(_in_order(session), start=1)
    }


def _in_order(session: list[Event]) -> list[Event]:
    """Sort by time, and the events of one counter by their sequence: none is placed after its successor."""
    times = {event.key: event.time_ms for event in session}
    earliest: dict[str, int] = {}
    numbered = [(event.sequence, event.time_ms, event) for event in session if event.sequence is not None]
    for _, _, event in sorted(numbered, key=lambda one: (one[0], one[1], one[2].key), reverse=True):
        earliest[event.counter] = min(event.time_ms, earliest.get(event.counter, event.time_ms))
        times[event.key] = earliest[event.counter]
    return sorted(
        session, key=lambda event: (times[event.key], event.sequence or 0, event.time_ms, event.key)
    )
