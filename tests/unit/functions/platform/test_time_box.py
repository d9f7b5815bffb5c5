"""A call ends at its deadline, and what it raises reaches its caller."""

import threading
import time
from contextvars import ContextVar

import pytest

from functions.platform import time_box
from functions.platform.time_box import ANSWER_S, CALLS_MAX, Deadline, DeadlinePassed, call_until


def test_the_result_and_the_error_of_a_call_reach_the_caller() -> None:
    assert call_until(Deadline.after(20), lambda: 7) == 7

    def fail() -> None:
        raise TimeoutError("of the call itself")

    with pytest.raises(TimeoutError, match="of the call itself"):
        call_until(Deadline.after(20), fail)


def test_a_call_that_hangs_is_left_alone_at_the_deadline() -> None:
    over = threading.Event()
    began = time.monotonic()
    with pytest.raises(DeadlinePassed):
        call_until(Deadline.after(0.05), lambda: over.wait(20))
    assert time.monotonic() - began < 10
    over.set()


def test_when_all_threads_hang_the_next_call_is_never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    time_box.executor.cache_clear()
    over, made = threading.Event(), []
    for _ in range(CALLS_MAX):
        with pytest.raises(DeadlinePassed):
            call_until(Deadline.after(0), lambda: over.wait(20))
    with pytest.raises(DeadlinePassed):
        call_until(Deadline.after(0.05), lambda: made.append(1))
    over.set()
    assert call_until(Deadline.after(20), lambda: 7) == 7
    assert made == []
    time_box.executor.cache_clear()


def test_a_deadline_leaves_the_lambda_time_to_answer_and_never_moves_back() -> None:
    whole = Deadline.of_lambda(10_000)
    assert whole.remaining_s() <= 10 - ANSWER_S
    assert whole.at_most(60) == whole
    assert whole.at_most(1).remaining_s() <= 1
    assert Deadline.of_lambda(0).remaining_s() == 0


def test_a_call_has_the_context_of_its_caller() -> None:
    request: ContextVar[str] = ContextVar("request")
    request.set("r1")
    assert call_until(Deadline.after(20), request.get) == "r1"
