"""A stopped execution is ABORTED, and its history ends there, as with Step Functions.

moto 5.2.5 stops between the parts of a state, so that the state goes on with half of its values. What it records then can be
anything: events that no answer can hold (GetExecutionHistory returns 500), or a failure, which would hide the stop.
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html
"""

from __future__ import annotations

from typing import Any

from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext, EventManager
from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped


def install() -> None:
    """Patch moto's interpreter."""
    stop, fail, add = Environment.set_stop, Environment.set_error, EventManager.add_event

    def set_stop(self: Environment, *args: Any, **kwargs: Any) -> None:
        with self._state_mutex:
            stop(self, *args, **kwargs)
            # A frame shares the history of its execution, and is stopped when that is stopped.
            self.event_manager.stopped = isinstance(self._program_state, ProgramStopped)

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
