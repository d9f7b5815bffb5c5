"""Deadlines: a call that somebody waits for ends in time, whatever the other side does.

The timeouts of an HTTP client hold per connection and per read, so an answer that drips byte by byte passes them all.
"""

import time
from collections.abc import Callable
from contextvars import copy_context
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Executor

T = TypeVar("T")

# Calls that are still running beside the one that is waited for. More than that means that a service never answers.
CALLS_MAX = 16
# The time that a Lambda needs to answer after its last call.
ANSWER_S = 0.5


class DeadlinePassed(Exception):
    """A call did not end in time. It may still succeed in the background."""


class Deadline(NamedTuple):
    """A point on the monotonic clock, in seconds."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Return the point that lies `seconds` ahead."""
        return cls(time.monotonic() + seconds)

    @classmethod
    def of_lambda(cls, remaining_ms: int) -> "Deadline":
        """Return the deadline of all calls of a Lambda that has `remaining_ms` left."""
        return cls.after(remaining_ms / 1000 - ANSWER_S)

    def at_most(self, seconds: float) -> "Deadline":
        """Return this deadline, or the one after `seconds` if that is earlier."""
        return min(self, Deadline.after(seconds))

    def remaining_s(self) -> float:
        """Return the seconds that are left, never less than 0."""
        return max(0.0, self.at_s - time.monotonic())


def call_until(deadline: Deadline, call: Callable[[], T]) -> T:
    """Call in a thread, and return the result if it arrives before the deadline.

    Raises:
        DeadlinePassed: the result did not arrive, or `CALLS_MAX` earlier calls still hang.
        Exception: whatever `call` raises.
    """
    # With the caller's context, so that log lines carry the request's id.
    pending = executor().submit(copy_context().run, call)
    try:
        return pending.result(deadline.remaining_s())
    except TimeoutError:
        if pending.done():  # it ended just now, or raised this error itself
            return pending.result()
        pending.cancel()
        raise DeadlinePassed from None


@lru_cache(maxsize=1)
def executor() -> "Executor":
    """Return the threads of this execution environment."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(CALLS_MAX, thread_name_prefix="call")
