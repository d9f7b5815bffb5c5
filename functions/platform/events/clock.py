"""Corrections of a client's clock, from what its requests show.

A request that arrives late by the client's clock has two explanations.
The clock is behind, or the request took long: docs/decisions/0056-clocks-and-order.md explains the choice.
"""

from typing import Any

from functions.platform.contract import COLLECT_CLOCK_ERROR_MIN_MS as _SMALL_MS


def clock_shift_ms(received_at_ms: int, sent_at_ms: int | None, measured_error_ms: int | None) -> int:
    """Return the milliseconds to add to the client's times, so that they are on the server's clock.

    Args:
        received_at_ms: the time of receipt by the server's clock.
        sent_at_ms: the time of sending by the client's clock, or None if the client's times are authoritative.
        measured_error_ms: the client's clock minus the server's, as an earlier answer showed it; None if unknown.
    """
    if sent_at_ms is None:
        return 0
    delay_ms = received_at_ms - sent_at_ms
    error_ms = -delay_ms
    if measured_error_ms is not None:
        transit_ms = delay_ms + measured_error_ms
        # A measurement is outdated if by it the request arrived before it was sent. It is also outdated if by it the
        # request took long, although the clock now fits the server's.
        if -_SMALL_MS < transit_ms < _SMALL_MS or (transit_ms > 0 and abs(delay_ms) >= _SMALL_MS):
            error_ms = measured_error_ms
    # A small difference is the time that the request took. Shifting by it would reverse events of a slow network.
    return -error_ms if abs(error_ms) >= _SMALL_MS else 0


def set_back_ms(events: list[Any], sent_at_ms: int | None) -> list[int]:
    """Return how far the client's clock was set back between each event of a request and the sending, at least.

    An event whose time is after that of its successor by `sequence`, or after the sending, was stamped by the clock as
    it was before. So were the events before it.

    Args:
        events: the events before validation. Events without `sequence` give 0.
        sent_at_ms: the time of sending by the client's clock, if known.
    """
    numbered: dict[tuple[Any, Any], list[tuple[int, int, int]]] = {}
    for index, event in enumerate(events):
        if not isinstance(event, dict):
            continue
        sequence, time_ms = event.get("sequence"), event.get("client_time_ms")
        counter = event.get("client_id"), event.get("session_id")
        if type(sequence) is int and type(time_ms) is int and all(type(part) is str for part in counter):
            numbered.setdefault(counter, []).append((sequence, time_ms, index))
    found = [0] * len(events)
    for places in numbered.values():
        back_ms, next_ms = 0, sent_at_ms
        for _, time_ms, index in sorted(places, reverse=True):
            if next_ms is not None:
                back_ms += max(0, time_ms - back_ms - next_ms)
            next_ms = time_ms - back_ms
            found[index] = back_ms
    return found
