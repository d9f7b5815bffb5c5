"""The soak's reconciliation finds lost and repeated events; its client drops nothing; its drill misses no failure."""

import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks import soak_count, soak_drill
from benchmarks.soak_client import Events, Ledger
from benchmarks.soak_count import reconcile
from benchmarks.soak_drill import Drill, Failure, hang
from local.testing import wait_for
from testing.fakes import FakeS3
from testing.stage import EVENTS_BUCKET


class World:
    """Ten events with responses, one invalid, all stored; the first is stored twice, because a response was lost."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.raw = [*(f"e{number}" for number in range(9)), "e0"]
        self.rejected = ["e9"]
        self.raw_events = self.staged = 0
        events = [{"event_id": f"e{number}"} for number in range(10)]
        self.ledger.answered(events, {"accepted": 9, "refused": [{"index": 9}]})

    def client(self, service: str) -> FakeS3:
        s3 = FakeS3()
        for prefix, ids in (("raw/", self.raw), ("rejected/", self.rejected)):
            lines = b"".join(json.dumps({"event_id": one}).encode() + b"\n" for one in ids)
            s3.objects[EVENTS_BUCKET, f"{prefix}2026/11/24/10/one.gz"] = gzip.compress(lines)
        return s3

    def rows(self, sql: str) -> list[tuple[int, int]]:
        if "RAW.EVENTS" in sql:
            count = len(self.raw) + self.raw_events
            return [(count, count)]
        count = len(set(self.raw)) + self.staged
        return [(count, len(set(self.raw)))]


def wrong(world: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(soak_count, "LANDING_TIMEOUT_S", 0.0)
    monkeypatch.setattr(soak_count.time, "sleep", lambda seconds: None)
    return reconcile(world, 10, world.ledger, lambda step: {})[1]


def test_counts_that_are_even_are_no_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrong(World(), monkeypatch) == []


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda world: world.raw.remove("e3"), "every accepted event is in raw/"),
        (lambda world: world.raw.append("e7-of-nobody"), "nothing else is in raw/"),
        (lambda world: world.rejected.clear(), "every refused event is in rejected/"),
        (lambda world: world.rejected.append("e1"), "nothing else is in rejected/"),
        (lambda world: world.ledger.accepted.discard("e4"), "every event was answered for"),
        (lambda world: setattr(world, "raw_events", 1), "every line of raw/ is loaded once"),
        (lambda world: setattr(world, "raw_events", -1), "every line of raw/ is loaded once"),
        (lambda world: setattr(world, "staged", 1), "every event is staged once"),
        (
            lambda world: setattr(world.ledger, "acknowledged_sends", 11),
            "no acknowledged send is missing in raw/",
        ),
    ],
)
def test_what_is_lost_or_twice_is_named(
    spoil: Callable[[Any], Any], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    spoil(world)
    assert complaint in wrong(world, monkeypatch)


def test_an_answer_that_does_not_account_for_every_event_ends_the_soak() -> None:
    with pytest.raises(ValueError, match="accounts for"):
        Ledger().answered([{"event_id": "a"}, {"event_id": "b"}], {"accepted": 1, "refused": []})


def test_shoppers_send_each_event_and_some_again_out_of_order_and_some_late_or_invalid() -> None:
    events = Events(5000, seed=1, shop="demo")
    sent = [event for batch in events.batches(5000, 50) for event in batch]
    numbers = [int(event["event_id"].removeprefix("soak-")) for event in sent]
    assert set(numbers) == set(range(5000))
    assert 5000 * 1.01 < len(sent) < 5000 * 1.03
    assert numbers != sorted(numbers)
    times = [event["client_time_ms"] for event in sent if event["client_time_ms"] != "wrong"]
    assert max(times) - min(times) > 24 * 3_600_000
    assert 5 < sum("wrong" in event.values() for event in sent) < 60


def test_the_longest_wait_is_found_among_the_requests_that_ran_meanwhile() -> None:
    ledger = Ledger()
    for began_s, ended_s in ((0.0, 9.0), (10.0, 11.0), (12.0, 14.0), (30.0, 37.0)):
        ledger.waited(began_s, ended_s)
    assert ledger.longest_wait_s(10.5, 13) == 2
    assert ledger.longest_wait_s(8, 11) == 9
    assert ledger.longest_wait_s(20, 25) == 0


def test_a_small_soak_meets_each_failure_at_its_share_because_the_shoppers_wait() -> None:
    sent = 0
    met: list[tuple[str, int]] = []

    def fail(name: str) -> Callable[[], None]:
        def cause() -> None:
            time.sleep(0.05)
            met.append((name, sent))

        return cause

    drill = Drill([Failure(0.1, "a", fail("a")), Failure(0.4, "b", fail("b")), Failure(0.6, "c", fail("c"))])
    over = threading.Event()
    driller = threading.Thread(target=drill.run, args=(lambda: sent / 100, over))
    driller.start()
    for sent in range(101):
        time.sleep(0.002)
        while sent / 100 >= drill.open_until:
            time.sleep(0.005)
    over.set()
    driller.join()
    assert [name for name, _ in met] == ["a", "b", "c"]
    assert [happened.failure.name for happened in drill.happened] == ["a", "b", "c"]
    assert met[0][1] <= 41
    assert met[1][1] <= 61


def test_a_failure_that_needs_events_does_not_stop_the_shoppers() -> None:
    drill = Drill([])

    def cause() -> None:
        assert drill.open_until == float("inf")

    drill.plan = [Failure(0, "needs events", cause, needs_events=True), Failure(0.5, "later", lambda: None)]
    drill.run(lambda: 1.0, threading.Event())
    assert drill.broken is None
    assert len(drill.happened) == 2


def test_a_failure_that_breaks_the_stack_ends_the_soak() -> None:
    def cause() -> None:
        raise soak_drill.DrillFailed("no answer")

    drill, over = Drill([Failure(0, "broken", cause), Failure(0, "later", lambda: None)]), threading.Event()
    drill.run(lambda: 1.0, over)
    assert isinstance(drill.broken, soak_drill.DrillFailed)
    assert over.is_set()
    assert drill.happened == []


def test_a_process_hangs_and_wakes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_drill, "HANG_S", 0.3)
    child = subprocess.Popen([sys.executable, "-c", "print(input())"], stdin=-1, stdout=-1, text=True)
    assert child.stdin
    assert child.stdout
    hanging = threading.Thread(target=hang, args=([child.pid, 2**22 + 1],))
    hanging.start()
    wait_for(lambda: _state(child.pid) == "T")
    hanging.join()
    assert child.communicate("awake")[0] == "awake\n"


def _state(pid: int) -> str:
    """Return the state of a process as `ps` names it; T is stopped."""
    listed = subprocess.run(
        ["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()[:1]
