"""The queue of the Python SDK: nothing is lost, the contract's limits hold, and the order stays."""

import json
import threading
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from tugboat_events import waiting
from tugboat_events.contract import BODY_MAX_BYTES, EVENTS_MAX
from tugboat_events.event import Encoded
from tugboat_events.waiting import ROOM_BYTES, Waiting, body

# Around the limits: tiny events reach the limit of their number, large ones that of the bytes.
sizes = st.lists(
    st.integers(20, 200) | st.integers(ROOM_BYTES // 2 - 2, ROOM_BYTES // 2 + 2) | st.just(ROOM_BYTES),
    max_size=12,
)


def event(number: int, size: int = 20) -> Encoded:
    head = b'{"n":"%d' % number
    return Encoded(str(number), "page_view", head + b"." * (size - len(head) - 2) + b'"}')


@given(st.lists(st.tuples(sizes, st.integers(0, 700), st.integers(1, EVENTS_MAX)), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_batches_keep_the_limits_and_the_order_and_lose_nothing(
    rounds: list[tuple[list[int], int, int]],
) -> None:
    queue = Waiting(max_events=2_000, max_age_s=0.0)
    taken: list[Encoded] = []
    sent: list[Encoded] = []
    offered = 0
    for large, small, limit in rounds:
        for size in [*large, *[20] * small]:
            one = event(offered, size)
            offered += 1
            if queue.offer(one):
                taken.append(one)
        batch = queue.next_batch(limit) if queue.counts().waiting else []
        assert batch is not None
        assert len(batch) <= limit
        queue.settle(len(batch), 0)
        sent += batch
    while queue.counts().waiting:
        batch = queue.next_batch()
        assert batch
        assert len(batch) <= EVENTS_MAX
        text = body(batch)
        assert len(text) <= BODY_MAX_BYTES
        assert len(json.loads(text)["events"]) == len(batch)
        queue.settle(len(batch), 0)
        sent += batch
    assert sent == taken
    counts = queue.counts()
    assert (counts.accepted, counts.dropped) == (len(taken), offered - len(taken))


def test_a_batch_takes_as_many_events_as_fit() -> None:
    queue = Waiting(1_000, 0.0)
    for number in range(EVENTS_MAX + 1):
        queue.offer(event(number))
    batch = queue.next_batch()
    assert batch is not None
    assert len(batch) == EVENTS_MAX
    queue = Waiting(1_000, 0.0)
    half = (ROOM_BYTES - 1) // 2
    for number in range(3):
        queue.offer(event(number, half))
    batch = queue.next_batch()
    assert batch is not None
    assert len(batch) == 2


def test_a_batch_is_due_when_it_is_full_and_not_before_its_age() -> None:
    queue = Waiting(1_000, 60.0)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(len(queue.next_batch() or ())), daemon=True)
    thread.start()
    for number in range(EVENTS_MAX - 1):
        queue.offer(event(number))
    thread.join(0.05)
    assert thread.is_alive()
    queue.offer(event(EVENTS_MAX))
    thread.join(5)
    assert found == [EVENTS_MAX]


def test_a_full_queue_keeps_what_it_took_and_drops_the_new_event() -> None:
    queue = Waiting(2, 0.0)
    assert [queue.offer(event(number)) for number in range(4)] == [True, True, False, False]
    assert [one.event_id for one in queue.next_batch() or ()] == ["0", "1"]
    assert queue.counts() == (0, 0, 2, 2)
    large = Waiting(1_000, 0.0)
    taken = [large.offer(event(number, ROOM_BYTES)) for number in range(40)]
    assert taken.count(True) == waiting.WAITING_MAX_BYTES // ROOM_BYTES


def test_a_batch_that_was_under_way_at_a_stop_counts_once() -> None:
    queue = Waiting(10, 0.0)
    queue.offer(event(1))
    assert len(queue.next_batch() or ()) == 1
    assert queue.stop() == 1
    queue.settle(1, 0)
    assert queue.counts() == (0, 0, 1, 0)
    assert queue.next_batch() is None


def test_a_close_shortens_the_own_pause_and_not_that_of_the_server() -> None:
    def waited_s(backoff_s: float, asked_s: float) -> float:
        queue = Waiting(10, 0.0)
        queue.wait_settled(0.0, closing=True)
        began = time.monotonic()
        queue.pause(backoff_s, asked_s)
        return time.monotonic() - began

    assert waited_s(60.0, 0.0) < 5
    assert waited_s(0.0, 0.4) >= 0.4
