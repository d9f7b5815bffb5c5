"""A fact of an execution environment that is read again in the background while the old one is used."""

import time
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Generic, TypeVar

from functions.platform import time_box
from functions.platform.errors import UNREADABLE
from functions.platform.log import get_logger
from functions.platform.time_box import Deadline

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

log = get_logger(__name__)
T = TypeVar("T")

# After a failure, the fact is read again this much later. Until then nobody waits for it.
RETRY_S = 10.0
# A reading that takes longer is abandoned: it drips, or Lambda froze it between two requests.
HUNG_S = 10.0


class Refreshed(Generic[T]):
    """The latest value that was read. Only the first reading is waited for; an old value is better than none.

    `read` runs in a thread. It returns None if there is no value yet: then the next request reads, and waits, again.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], T | None],
        fresh_s: float,
        clock: Callable[[], float] = time.monotonic,
        threads: Callable[[], "Executor"] = time_box.executor,
    ) -> None:
        """Read nothing yet.

        Args:
            name: what the log calls the value.
            read: reads the value from a service.
            fresh_s: the age in seconds at which a value is read again.
            clock: the time in seconds.
            threads: opens the executor of the readings.
        """
        self.name, self.failure = name, ""
        self._read, self._fresh_s, self._clock, self._threads = read, fresh_s, clock, threads
        self._value: T | None = None
        self._reading: Future[T | None] | None = None
        self._begun_at_s = self._due_at_s = self._value_at_s = float("-inf")
        self._waited_for = False

    def begin(self) -> None:
        """Begin to read if the value is due, and wait for nothing."""
        now_s = self._clock()
        if self._reading and not self._reading.done() and now_s - self._begun_at_s > HUNG_S:
            self._reading.cancel()
            self._failed("hangs")
        if self._reading is None and now_s >= self._due_at_s:
            self._begun_at_s, self._waited_for = now_s, False
            self._reading = self._threads().submit(copy_context().run, self._read)

    def get(self, deadline: Deadline) -> T | None:
        """Return the value; before the first one, wait until the deadline.

        Returns:
            None if there is no value yet, or if it was not read: then `failure` is the cause.
        """
        self.begin()
        waits = self._value is None and not self.failure
        self._take(deadline if waits else Deadline.after(0))
        if waits and self._reading:
            self.failure = "no answer in time"
        return self._value

    def read_again(self, older_than_s: float, deadline: Deadline) -> bool:
        """Read again and wait, if the last reading began longer ago. Return True if the value changed."""
        before = self._value
        if self._clock() - self._begun_at_s >= older_than_s:
            self._due_at_s = float("-inf")
        self.begin()
        # A batch may have hundreds of callers. A reading that hangs is waited for once, not once per caller.
        self._take(Deadline.after(0) if self._waited_for else deadline)
        self._waited_for = True
        return self._value != before

    def get_younger_than(self, age_s: float, deadline: Deadline) -> T | None:
        """Return the value. Wait until the deadline for the first one, and for a new one if the old one is too old.

        An environment that was idle has an old value, and would use it for one more request. While readings fail, nobody waits.
        """
        if self._value is not None and not self.failure and self._clock() - self._value_at_s > age_s:
            self.read_again(age_s, deadline)
        return self.get(deadline)

    def forget(self) -> None:
        """Drop the value: the next request reads it again and waits."""
        self._value, self.failure, self._due_at_s = None, "", float("-inf")

    def _take(self, deadline: Deadline) -> None:
        """Take the result of the reading if it ends before the deadline."""
        from botocore.exceptions import BotoCoreError, ClientError

        if self._reading is None:
            return
        try:
            value = self._reading.result(deadline.remaining_s())
        except TimeoutError:
            return
        except (BotoCoreError, ClientError, *UNREADABLE) as error:
            self._failed(_cause(error))
            return
        self._reading, self.failure = None, ""
        if value is None:
            self._due_at_s = float("-inf")
        else:
            self._value, self._value_at_s = value, self._begun_at_s
            self._due_at_s = self._begun_at_s + self._fresh_s

    def _failed(self, cause: str) -> None:
        self._reading, self.failure = None, cause
        self._due_at_s = self._clock() + RETRY_S
        log.warning("not read", what=self.name, cause=cause, old_one_is_used=self._value is not None)


def _cause(error: Exception) -> str:
    """Return the service's code of an error, or the error's type."""
    response = getattr(error, "response", None)
    return str(response["Error"]["Code"]) if response else type(error).__name__
