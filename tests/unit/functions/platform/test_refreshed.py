"""A refreshed value: waited for once, then read again behind the back of its users."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from functions.platform.refreshed import HUNG_S, RETRY_S, Refreshed
from functions.platform.time_box import Deadline

NOW = Deadline.after(0)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Source:
    """A service that answers with `value` once `open` is set."""

    def __init__(self) -> None:
        self.value: int | None = 1
        self.open = threading.Event()
        self.open.set()
        self.reads = 0

    def read(self) -> int | None:
        self.reads += 1
        assert self.open.wait(20)
        return self.value


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_an_old_value_is_served_while_the_new_one_hangs(threads: ThreadPoolExecutor) -> None:
    clock, source = Clock(), Source()
    value = Refreshed("a number", source.read, 60, clock, lambda: threads)
    assert value.get(Deadline.after(20)) == 1
    source.value = 2
    source.open.clear()
    clock.now_s += 61
    for _ in range(5):
        assert value.get(Deadline.after(20)) == 1
    source.open.set()
    assert value._reading
    wait([value._reading])
    assert value.get(NOW) == 2
    assert source.reads == 2, "one reading at a time"


def test_a_reading_that_hangs_is_waited_for_once_however_many_callers_need_a_new_value(
    threads: ThreadPoolExecutor,
) -> None:
    clock, source = Clock(), Source()
    value = Refreshed("a number", source.read, 60, clock, lambda: threads)
    assert value.get(Deadline.after(20)) == 1
    source.open.clear()
    assert not value.read_again(0, Deadline.after(0.05))
    began_s = time.monotonic()
    for _ in range(3):
        assert not value.read_again(0, Deadline.after(20))
    assert time.monotonic() - began_s < 20
    source.value = 2
    source.open.set()
    assert value._reading
    wait([value._reading])
    assert value.read_again(20, NOW), "a reading that ended is taken without waiting"


def test_a_reading_that_hangs_for_long_is_replaced(threads: ThreadPoolExecutor) -> None:
    clock, source = Clock(), Source()
    source.open.clear()
    value = Refreshed("a number", source.read, 60, clock, lambda: threads)
    assert value.get(Deadline.after(0.05)) is None
    assert value.failure
    clock.now_s += HUNG_S + 1
    assert value.get(NOW) is None
    clock.now_s += RETRY_S
    source.open.set()
    value.begin()
    assert value._reading
    wait([value._reading])
    assert value.get(NOW) == 1
    assert source.reads == 2


def test_only_the_first_reading_is_waited_for(threads: ThreadPoolExecutor) -> None:
    source = Source()
    source.open.clear()
    value = Refreshed("a number", source.read, 60, Clock(), lambda: threads)
    assert value.get(Deadline.after(0.05)) is None
    assert value.get(Deadline.after(3600)) is None, "an hour would be waited for here"
    source.open.set()
    assert value._reading
    wait([value._reading])
    assert value.get(NOW) == 1


def test_a_value_that_does_not_exist_yet_is_read_at_every_request(threads: ThreadPoolExecutor) -> None:
    source = Source()
    source.value = None
    value = Refreshed("a number", source.read, 60, Clock(), lambda: threads)
    assert [value.get(Deadline.after(20)) for _ in range(3)] == [None] * 3
    source.value = 5
    assert value.get(Deadline.after(20)) == 5
    assert (source.reads, value.failure) == (4, "")
