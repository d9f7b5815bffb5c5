"""A stopped execution is ABORTED, and its history ends there, as with Step Functions.

moto 5.2.5 stops between the parts of a state, so that the state goes on with half of its values. What it records then can be
anything: events that no answer can hold (GetExecutionHistory returns 500), or a failure, which would hide the stop.
It also loses a stop that comes before the first state, or before the first state of an iteration of a Map.
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html
"""

from __future__ import annotations

import time
from typing import Any

from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext, EventManager
from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

_STARTS_WITHIN_S = 10.0


def install() -> None:
    """Patch moto's interpreter."""
    stop, fail, add = Environment.set_stop, Environment.set_error, EventManager.add_event
    stop_worker = ExecutionWorker.stop
    next_state = Environment.next_state_name

    def stop_when_started(self: ExecutionWorker, *args: Any, **kwargs: Any) -> None:
        until_s = time.monotonic() + _STARTS_WITHIN_S
        # The state that a redrive would continue (stepfunctions_redrive.py).
        while not hasattr(self.env, "entry") and time.monotonic() < until_s:
            time.sleep(0.01)
        stop_worker(self, *args, **kwargs)

    def set_stop(self: Environment, stop_date: Any, cause: str | None, error: str | None) -> None:
        with self._state_mutex:
            stop(self, stop_date, cause, error)
            if self._program_state is None:
                self._program_state = ProgramStopped(stop_date=stop_date, cause=cause, error=error)
            # A frame shares the history of its execution, and is stopped when that is stopped.
            self.event_manager.stopped = isinstance(self._program_state, ProgramStopped)

    def set_next_state(self: Environment, name: str) -> None:
        with self._state_mutex:
            if not isinstance(self._program_state, ProgramStopped):
                next_state.__set__(self, name)

    def set_error(self: Environment, *args: Any, **kwargs: Any) -> None:
        with self._state_mutex:
            if not isinstance(self._program_state, ProgramStopped):
                fail(self, *args, **kwargs)

    def add_event(
        self: EventManager,
        context: EventHistoryContext,
        event_type: HistoryEventType,
        *args: Any,
        **kwargs: Any,
    ) -> int:
        if getattr(self, "stopped", False) and event_type != HistoryEventType.ExecutionAborted:
            return int(context.last_published_event_id)
        return int(add(self, context, event_type, *args, **kwargs))

    Environment.set_stop, Environment.set_error, EventManager.add_event = set_stop, set_error, add_event
    Environment.next_state_name = property(next_state.__get__, set_next_state)
    ExecutionWorker.stop = stop_when_started
