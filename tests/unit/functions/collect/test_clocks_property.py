"""Times and order of a browser's events, whatever its clock and the network do.

A browser that numbers events and measures its clock as the SDK does sends them through the collector.
The warehouse's rule of sessions then reads what is stored.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from functions.collect.collect import collect_batch
from functions.collect.origin import Origin
from functions.platform.contract import COLLECT_CLOCK_ERROR_MIN_MS
from functions.platform.errors import Reason
from functions.platform.events.intake import Intake
from functions.platform.http import ApiRequest
from functions.platform.receipt_keys import ReceiptKeys
from functions.platform.settings import CollectSettings
from testing.fakes import FakeFirehose, FakeS3, FakeSecrets
from testing.session_rule import Event, Place, placed

START_MS = 1_770_000_000_000
SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000
# As in storefront/sdk/1-settings.js.
SESSION_SILENCE_MS = 30 * MINUTE_MS
REQUEST_TIMEOUT_MS = 20 * SECOND_MS
SMALL_MS = COLLECT_CLOCK_ERROR_MIN_MS
# With the error of a right clock, it stays below two minutes.
LONGEST_STALL_MS = 85 * SECOND_MS
SETTINGS = CollectSettings("test", {"key": "demo"}, "events", "rejected", "bucket", "receipts", "secret-keys")


class Action(NamedTuple):
    """A pause, and then an event and perhaps a request in one of the tabs."""

    pause_ms: int
    tab: int
    sends: bool
    # A request that nobody waits for, as the beacon of a page that closes.
    leaves: bool
    stall_ms: int
    # The device sleeps while the request is on its way.
    sleep_ms: int
    # The request arrives, but its answer is lost, so the events are sent again.
    loses_answer: bool


class Jump(NamedTuple):
    """The clock is set after so many actions; from then on it differs by `error_ms` from the server's."""

    after: int
    error_ms: int


@dataclass
class World:
    """A browser with tabs, and the collector. `truth` has the true time of each event, in their true order."""

    error_ms: int
    now_ms: int = START_MS
    session: dict[str, Any] | None = None
    queues: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    busy: set[int] = field(default_factory=set)
    due: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    truth: dict[str, int] = field(default_factory=dict)
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Per event: how long its request took, and whether the browser had measured its clock.
    transit_ms: dict[str, int] = field(default_factory=dict)
    measured: dict[str, bool] = field(default_factory=dict)
    sent_ms: dict[str, int] = field(default_factory=dict)
    made: int = 0
    too_old: set[str] = field(default_factory=set)

    @property
    def clock_ms(self) -> int:
        return self.now_ms + self.error_ms

    def wait(self, pause_ms: int) -> None:
        """Let time pass, with the receipts and answers that are due."""
        until_ms = self.now_ms + pause_ms
        while self.due and self.due[0][0] <= until_ms:
            self.now_ms, _, happen = heapq.heappop(self.due)
            happen()
        self.now_ms = until_ms

    def later(self, delay_ms: int, happen: Callable[[], None]) -> None:
        self.made += 1
        heapq.heappush(self.due, (self.now_ms + delay_ms, self.made, happen))

    def current_session(self) -> dict[str, Any]:
        silent = self.session is None or self.clock_ms - self.session["at"] > SESSION_SILENCE_MS
        self.made += silent
        return {"id": f"s{self.made}"} if self.session is None or silent else self.session

    def track(self, tab: int) -> None:
        session = self.session = self.current_session()
        session["at"] = self.clock_ms
        session["sequence"] = max(session.get("sequence", -1) + 1, session["at"])
        # Ids in no order, so that no test passes by the order of the ids.
        event_id = f"{len(self.truth) * 619 % 1000:03}"
        self.truth[event_id] = self.now_ms
        event = {
            "schema_version": 1,
            "event_id": event_id,
            "event_name": "page_view",
            "shop_id": "demo",
            "client_id": "c1",
            "session_id": session["id"],
            "client_time_ms": session["at"],
            "sequence": session["sequence"],
        }
        self.queues.setdefault(tab, []).append(event)

    def send(self, action: Action) -> None:
        events = list(self.queues.get(action.tab, []))
        if not events or action.tab in self.busy:
            return
        error_ms = self.current_session().get("clock_error_ms")
        body = json.dumps(
            {"sent_at_ms": self.clock_ms, "clock_error_ms": error_ms, "events": events}
        ).encode()
        sent_ms, sent_at_ms = self.now_ms, self.clock_ms
        # Nobody can tell an unmeasured clock that is behind from a device that slept.
        transit_ms = action.stall_ms + (action.sleep_ms if error_ms is not None else 0)

        def receive() -> None:
            lines, too_old = collected(body, self.now_ms)
            self.too_old.update(too_old)
            for line in lines:
                key = line["event_id"]
                if key not in self.stored:
                    self.stored[key] = line
                    self.transit_ms[key], self.measured[key] = transit_ms, error_ms is not None
                    self.sent_ms[key] = sent_ms

        def answer() -> None:
            self.busy.discard(action.tab)
            if action.loses_answer:
                return
            self.settle(action.tab, events)
            if self.session is not None and self.clock_ms - sent_at_ms < REQUEST_TIMEOUT_MS:
                self.session["clock_error_ms"] = self.clock_ms - received_ms[0]

        received_ms = [sent_ms + transit_ms]
        self.later(transit_ms, receive)
        if action.leaves:
            self.settle(action.tab, events)
        else:
            self.busy.add(action.tab)
            self.later(transit_ms + action.stall_ms // 10, answer)

    def settle(self, tab: int, events: list[dict[str, Any]]) -> None:
        self.queues[tab] = [event for event in self.queues[tab] if event not in events]

    def error_of(self, key: str) -> int:
        """Return how far the stored time of an event is after the true one."""
        return int(self.stored[key]["server"]["event_time_ms"]) - self.truth[key]

    def places(self) -> dict[str, Place]:
        return placed(
            Event(key, "c1", line["server"]["event_time_ms"], line["session_id"], line["sequence"])
            for key, line in self.stored.items()
        )

    def true_places(self) -> dict[str, Place]:
        # The sequence breaks ties of the true time.
        return placed(Event(key, "c1", self.truth[key], "", place) for place, key in enumerate(self.truth))


def collected(body: bytes, now_ms: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what the collector stores of a request, and the ids of events from before the clock was set by days."""
    firehose = FakeFirehose()
    keys = ReceiptKeys("receipts", FakeSecrets)
    intake = Intake(SETTINGS, firehose, FakeS3(), keys, lambda: 60_000)
    request = ApiRequest("r", "POST", {"key": "key"}, body)
    refused = collect_batch(request, Origin(None, "mobile", False), intake, now_ms).refused
    assert {refusal.reason for refusal in refused} <= {Reason.EVENT_TOO_OLD.value}
    return firehose.lines("events"), [str(refusal.event_id) for refusal in refused]


def lived(actions: list[Action], error_ms: int, jumps: tuple[Jump, ...] = ()) -> World:
    """Return the world after all events have arrived."""
    world = World(error_ms)
    for number, action in enumerate(actions):
        for jump in jumps:
            if jump.after == number:
                world.error_ms = jump.error_ms
        world.wait(action.pause_ms)
        world.track(action.tab)
        if action.sends:
            # The SDK waits a second for further events.
            world.wait(SECOND_MS)
            world.send(action)
    world.wait(10 * HOUR_MS)
    for tab in sorted(world.queues):
        world.send(Action(0, tab, True, False, 50, 0, False))
        world.wait(MINUTE_MS)
    # A repeat can be refused although its first copy is stored.
    for key in world.too_old - world.stored.keys():
        del world.truth[key]
    assert world.stored.keys() == world.truth.keys(), "an event is lost, or refused though it is young"
    return world


STALLS = st.sampled_from([20, 300, 5 * SECOND_MS, 16 * SECOND_MS, LONGEST_STALL_MS])
SLEEPS = st.sampled_from([0, 0, 0, 40 * MINUTE_MS, 2 * HOUR_MS + 7 * MINUTE_MS])
# Far from the silence that ends a session, because a time can be wrong by two minutes.
PAUSES = st.sampled_from([0, 1, 700, 4 * SECOND_MS, MINUTE_MS, 20 * MINUTE_MS, 50 * MINUTE_MS, 5 * HOUR_MS])
ACTIONS = st.lists(
    st.builds(Action, PAUSES, st.integers(0, 2), st.booleans(), st.booleans(), STALLS, SLEEPS, st.booleans()),
    min_size=1,
    max_size=14,
)
DAY_MS = 24 * HOUR_MS
WRONG = [-400 * DAY_MS, -DAY_MS, -3 * HOUR_MS, -SMALL_MS, SMALL_MS, 10 * MINUTE_MS, HOUR_MS, DAY_MS]


def longest_error_ms(world: World, key: str) -> int:
    """Return the bound of an event's error: what is not corrected, and the time that a request or its answer took."""
    return SMALL_MS + (REQUEST_TIMEOUT_MS if world.measured[key] else world.transit_ms[key])


@settings(deadline=None)
@given(actions=ACTIONS, error_ms=st.integers(-30 * SECOND_MS, 30 * SECOND_MS))
def test_a_right_clock_is_never_corrected_however_long_requests_take(
    actions: list[Action], error_ms: int
) -> None:
    world = lived(actions, error_ms)
    assert len(world.truth) == len(actions), "an event was refused"
    assert {world.error_of(key) for key in world.truth} == {error_ms}
    right = world.true_places()
    for key, place in world.places().items():
        assert place == right[key]._replace(start_ms=right[key].start_ms + error_ms)


@settings(deadline=None)
@given(actions=ACTIONS, error_ms=st.sampled_from(WRONG))
def test_a_clock_that_is_always_wrong_costs_two_minutes_and_no_order_or_session(
    actions: list[Action], error_ms: int
) -> None:
    world = lived(actions, error_ms)
    assert len(world.truth) == len(actions), "an event was refused"
    for key in world.truth:
        assert abs(world.error_of(key)) <= longest_error_ms(world, key)
    right, places = world.true_places(), world.places()
    for key, place in places.items():
        assert place.number == right[key].number
        assert abs(place.start_ms - right[key].start_ms) <= SMALL_MS + LONGEST_STALL_MS


@settings(deadline=None)
@given(
    actions=ACTIONS,
    error_ms=st.sampled_from([0, *WRONG]),
    jumps=st.lists(st.builds(Jump, st.integers(0, 12), st.sampled_from([0, *WRONG])), max_size=3).map(tuple),
)
def test_whatever_the_clock_does_events_arrive_before_now_and_keep_their_order_in_a_session(
    actions: list[Action], error_ms: int, jumps: tuple[Jump, ...]
) -> None:
    world = lived(actions, error_ms, jumps)
    for line in world.stored.values():
        assert line["server"]["event_time_ms"] <= line["server"]["received_at_ms"] + SMALL_MS
    order = list(world.truth)
    places = world.places()
    sessions: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for key, place in places.items():
        session = place.start_ms, world.stored[key]["session_id"]
        sessions.setdefault(session, []).append((place.number, order.index(key)))
    for numbers in sessions.values():
        in_truth = [at for _, at in sorted(numbers)]
        assert in_truth == sorted(in_truth)


@settings(deadline=None)
@given(
    pauses=st.lists(st.sampled_from([0, 4 * SECOND_MS, 5 * MINUTE_MS]), min_size=1, max_size=8),
    ahead_ms=st.sampled_from([10 * MINUTE_MS, HOUR_MS, DAY_MS]),
    after=st.integers(0, 8),
)
def test_events_that_wait_while_the_clock_is_set_back_are_at_most_a_pause_late(
    pauses: list[int], ahead_ms: int, after: int
) -> None:
    """A computer starts with a clock that is ahead, and the network sets it right before the first request."""
    actions = [Action(pause_ms, 0, False, False, 0, 0, False) for pause_ms in pauses]
    world = lived(actions, ahead_ms, (Jump(after, 0),))
    assume(world.error_ms == 0)
    keys = list(world.truth)
    late = [world.error_of(key) for key in keys]
    assert late[after:] == [0] * len(late[after:])
    # The clock was set between the last wrong event and the next event or, without one, the sending.
    next_ms = world.truth[keys[after]] if after < len(keys) else world.sent_ms[keys[-1]]
    assert all(0 <= error_ms <= next_ms - world.truth[keys[after - 1]] for error_ms in late[:after])
    assert [
        place.number for _, place in sorted(world.places().items(), key=lambda one: keys.index(one[0]))
    ] == [place.number for place in world.true_places().values()]
