"""RedriveExecution, which moto 5.2.5 lacks: an unsuccessful execution continues at the state that did not succeed.

The state has the input and the variables of its first try, and counts its retries again. Its new events follow the event that
entered it. The context object, descriptions and lists have the number of redrives.
A state inside a Parallel or Map state cannot be redriven here. Neither can an execution of an earlier process: its variables
are lost with the process.
https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult
from moto.stepfunctions.parser.api import ExecutionStatus, HistoryEventType
from moto.stepfunctions.parser.asl.component.common.flow.start_at import StartAt
from moto.stepfunctions.parser.asl.component.state.exec.state_map.state_map import StateMap
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.state_parallel import StateParallel
from moto.stepfunctions.parser.asl.component.state.fail.state_fail import StateFail
from moto.stepfunctions.parser.asl.component.state.state import CommonStateField
from moto.stepfunctions.parser.asl.component.state.state_pass.state_pass import StatePass
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.backend.execution import Execution
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.models import StepFunctionsParserBackend
from moto.stepfunctions.responses import StepFunctionResponse

REDRIVABLE_FOR = timedelta(days=14)
OPEN_FOR_MAX = timedelta(days=365)
# The event ExecutionRedriven and one more must fit: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
EVENTS_MAX = 24_999
OPEN_EXECUTIONS_MAX = 1_000_000
TOKENS_KEPT, TOKEN_VALID_FOR = 10, timedelta(minutes=15)
HISTORY_LOST = "The local Step Functions was restarted since: start a new execution"
COMPOUND = "The local Step Functions redrives no Parallel or Map state: start a new execution"

_redriving = threading.Lock()


class ExecutionNotRedrivable(AWSError):
    """The execution runs, has succeeded, or is too old or too long."""

    TYPE = "ExecutionNotRedrivable"
    STATUS = 400


class ExecutionLimitExceeded(AWSError):
    """As many executions run as the account may have."""

    TYPE = "ExecutionLimitExceeded"
    STATUS = 400


class _Entry(NamedTuple):
    """How a top-level state was entered."""

    state: CommonStateField
    event_id: int
    given: Any
    variables: Any


def install(resumes: Callable[[Execution], None]) -> None:
    """Patch moto's interpreter and responses. `resumes` is called with each execution just before it runs again."""
    _keep_entries()
    _count_redrives()

    def redrive_execution(self: StepFunctionResponse) -> ActionResult:
        token = self._get_param("clientToken")
        backend = self.stepfunction_backend
        with _redriving:
            execution = backend.describe_execution(self._get_param("executionArn"))
            tokens = vars(execution).setdefault("redrive_tokens", {})
            known = tokens.get(token)
            if known is None or datetime.now(UTC) - known > TOKEN_VALID_FOR:
                _redrive(execution, backend, resumes)
                tokens[token] = known = execution.redrive_date
                for old in list(tokens)[:-TOKENS_KEPT]:
                    del tokens[old]
        return ActionResult({"redriveDate": known})

    StepFunctionResponse.redrive_execution = redrive_execution
    describe, listed = StepFunctionResponse.describe_execution, StepFunctionResponse.list_executions

    def describe_execution(self: StepFunctionResponse) -> ActionResult:
        found = describe(self)
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        if execution.status == "TIMED_OUT":
            found.result["stopDate"] = execution.stop_date  # which moto 5.2.5 leaves out
        found.result.update(described(execution))
        return found

    def list_executions(self: StepFunctionResponse) -> ActionResult:
        found = listed(self)
        for one in found.result["executions"]:
            execution = self.stepfunction_backend.describe_execution(one["executionArn"])
            one |= {name: value for name, value in described(execution).items() if name in _LISTED}
            if execution.status == "TIMED_OUT":
                one["stopDate"] = execution.stop_date
        return found

    of_execution = StepFunctionResponse.describe_state_machine_for_execution

    def describe_state_machine_for_execution(self: StepFunctionResponse) -> ActionResult:
        found = of_execution(self)
        execution = self.stepfunction_backend.describe_execution(self._get_param("executionArn"))
        # moto 5.2.5 describes the current state machine.
        found.result["definition"] = execution.state_machine.definition
        return found

    StepFunctionResponse.describe_state_machine_for_execution = describe_state_machine_for_execution
    StepFunctionResponse.describe_execution = describe_execution
    StepFunctionResponse.list_executions = list_executions


_LISTED = ("redriveCount", "redriveDate")


def described(execution: Execution) -> dict[str, Any]:
    """Return the fields of DescribeExecution about redrives."""
    reason = refusal(execution)
    fields = {
        "redriveCount": redrive_count(execution),
        "redriveDate": getattr(execution, "redrive_date", None),
        "redriveStatus": "NOT_REDRIVABLE" if reason else "REDRIVABLE",
        "redriveStatusReason": reason,
    }
    return {name: value for name, value in fields.items() if value is not None}


def redrive_count(execution: Execution) -> int:
    """Return how often the execution was redriven."""
    return getattr(execution, "redrive_count", 0)


def refusal(execution: Execution) -> str | None:
    """Return why an execution cannot be redriven, in the words of Step Functions, or None."""
    now = datetime.now(UTC)
    if execution.status in ("RUNNING", "SUCCEEDED"):
        return f"Execution is {execution.status} and cannot be redriven"
    if now - execution.start_date > OPEN_FOR_MAX:
        return "Execution has exceeded the max execution time"
    if now - execution.stop_date > REDRIVABLE_FOR:
        return "Execution redrivable period exceeded"
    env = execution.exec_worker.env
    if env is None:
        return HISTORY_LOST
    if len(env.event_manager.get_event_history()) >= EVENTS_MAX:
        return "Execution history event limit exceeded"
    return COMPOUND if isinstance(env.entry.state, StateParallel | StateMap) else None


def _redrive(
    execution: Execution, backend: StepFunctionsParserBackend, resumes: Callable[[Execution], None]
) -> None:
    if execution.sm_type == "EXPRESS":
        raise ExecutionNotRedrivable("Executions of EXPRESS state machines cannot be redriven")
    if reason := refusal(execution):
        raise ExecutionNotRedrivable(reason)
    if len(backend._get_executions(ExecutionStatus.RUNNING)) >= OPEN_EXECUTIONS_MAX:
        raise ExecutionLimitExceeded("The maximum number of running executions has been reached")
    ended = execution.exec_worker.env
    execution.redrive_count = redrive_count(execution) + 1
    execution.redrive_date = datetime.now(UTC)
    execution.stop_date = execution.error = execution.cause = execution.output = None
    execution.exec_worker = _Redrive(execution, ended.entry, ended.event_manager)
    execution.exec_status = ExecutionStatus.RUNNING
    resumes(execution)
    execution.exec_worker.start()


class _Redrive(ExecutionWorker):
    """A worker that continues an execution. Threads of the earlier try keep their own history."""

    def __init__(self, execution: Execution, entry: _Entry, history: EventManager) -> None:
        first = execution._get_start_execution_worker()
        super().__init__(
            evaluation_details=first._evaluation_details,
            exec_comm=first._execution_communication,
            cloud_watch_logging_session=first._cloud_watch_logging_session,
            activity_store=first._activity_store,
        )
        self._entry = entry
        env = self._get_evaluation_environment()
        known = history.get_event_history()
        env.event_manager._history_event_list.extend(known)
        env.event_manager._event_id_gen._next_id = len(known) + 1
        env.event_history_context.source_event_id = known[-1]["id"]
        env.states.context_object.context_object_data["Execution"] |= {
            "RedriveCount": execution.redrive_count,
            "RedriveTime": execution.redrive_date.isoformat().replace("+00:00", "Z"),
        }
        details = {"redriveCount": execution.redrive_count}
        env.event_manager.add_event(
            context=env.event_history_context,
            event_type=HistoryEventType.ExecutionRedriven,
            event_details=EventDetails(executionRedrivenEventDetails=details),
        )
        env.variable_store = copy.deepcopy(entry.variables)
        env.states.reset(input_value=entry.given)
        env.resumes = entry
        self.env = env

    def _execution_logic(self) -> None:
        program = self._get_evaluation_entrypoint()
        program.start_at = StartAt(self._entry.state.name)
        program.eval(self.env)
        self._execution_communication.terminated()


def _count_redrives() -> None:
    original = ExecutionWorker._get_evaluation_environment

    def with_count(self: ExecutionWorker) -> Environment:
        env = original(self)
        env.states.context_object.context_object_data["Execution"].setdefault("RedriveCount", 0)
        return env

    ExecutionWorker._get_evaluation_environment = with_count


def _keep_entries() -> None:
    """Record how each top-level state is entered, and enter the state that a redrive continues without an event."""
    original = CommonStateField._eval_body

    def eval_body(self: CommonStateField, env: Environment) -> None:
        if env.is_frame():
            original(self, env)
            return
        resumes: _Entry | None = getattr(env, "resumes", None)
        env.resumes = None
        if resumes is None or isinstance(self, StateFail):
            # A Fail state is entered again, and fails again.
            entered = env.event_manager._event_id_gen._next_id
            env.entry = _Entry(self, entered, env.states.get_input(), copy.deepcopy(env.variable_store))
            original(self, env)
            return
        env.entry = resumes
        env.event_history_context.source_event_id = resumes.event_id
        if isinstance(self, StatePass):
            _leave(self, env)
            return
        with _without_entered(env.event_manager, resumes.event_id):
            original(self, env)

    CommonStateField._eval_body = eval_body


@contextmanager
def _without_entered(history: EventManager, event_id: int) -> Iterator[None]:
    """Leave out the next event, which is the entering of the state: the history has it already."""

    def add_event(*_: Any, **__: Any) -> int:
        del history.add_event
        return event_id

    history.add_event = add_event
    try:
        yield
    finally:
        vars(history).pop("add_event", None)


def _leave(state: CommonStateField, env: Environment) -> None:
    """Exit a Pass state without running it, as Step Functions does."""
    state._set_next(env)
    env.event_manager.add_event(
        context=env.event_history_context,
        event_type=HistoryEventType.PassStateExited,
        event_details=EventDetails(stateExitedEventDetails=state._get_state_exited_event_details(env=env)),
    )
