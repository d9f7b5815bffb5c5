"""Threads that a test does not have to wait for."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class _AtOnce(Executor):
    """Call at once, in the thread of the caller."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


def at_once() -> Executor:
    """Return an executor whose results are there at once."""
    return _AtOnce()
