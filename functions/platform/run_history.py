"""Read a state machine's execution history as states: when each began, ended, was retried or failed."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

HistoryEvent = dict[str, Any]

# The figures of a step's output that the live view shows, in this order.
KEY_FIGURES = (
    "files_loaded",
    "rows_loaded",
    "files_skipped",
    "files_failed",
    "passed",
    "checks",
    "failures",
    "interactions",
    "sessions",
    "items",
    "snapshot_id",
    "valid_hr_at_20",
    "valid_mrr_at_20",
    "hr_at_20",
    "mrr_at_20",
    "model_version",
    "endpoint_config_name",
    "endpoint_status",
    "proved",
    "golden_sessions",
    "status",
)
FAILURES = ("Failed", "TimedOut", "Aborted")
# The states of the pipeline whose own failures do not explain why a run failed.
AFTER_A_FAILURE = ("StartListsAfterFailure", "Failed")


@dataclass
class State:
    """One visit of one state."""

    name: str
    kind: str
    entered: datetime
    exited: datetime | None = None
    failures: list[str] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)
    status: str = "running"
    visits: int = 1
    # What the state assigned to its output, the last call that it made, and the answer of the called service.
    output: Any = None
    call: Any = None
    response: Any = None

    @property
    def attempts(self) -> int:
        """Return the number of tries of its task."""
        return len(self.failures) + (0 if self.status in ("failed", "caught") else 1)

    def seconds(self, now: datetime) -> float:
        """Return its duration, until now if it is running."""
        return max(0.0, ((self.exited or now) - self.entered).total_seconds())


@dataclass
class Execution:
    """An execution, as its history shows it."""

    states: list[State] = field(default_factory=list)
    status: str = "RUNNING"
    error: str = ""
    cause: str = ""
    redrives: int = 0


HIDDEN_KINDS = ("Choice", "Pass", "Succeed")


def folded(states: list[State]) -> list[State]:
    """Return one state per line of the view: no choices, and a state that a loop polls only once."""
    found: dict[str, State] = {}
    for state in states:
        if state.kind in HIDDEN_KINDS:
            continue
        earlier = found.get(state.name)
        if earlier is None:
            found[state.name] = replace(state, failures=list(state.failures))
        else:
            earlier.visits += 1
            earlier.exited, earlier.status = state.exited, state.status
            earlier.figures = state.figures or earlier.figures
            earlier.output = state.output or earlier.output
            earlier.call, earlier.response = state.call or earlier.call, state.response or earlier.response
            earlier.failures += state.failures
    return list(found.values())


def _details(event: HistoryEvent) -> dict[str, Any]:
    return next(
        (value for key, value in event.items() if key.endswith("EventDetails") and isinstance(value, dict)),
        {},
    )


def read_history(client: Any, execution_arn: str) -> list[HistoryEvent]:
    """Read all pages of the history, oldest event first."""
    events: list[HistoryEvent] = []
    token: dict[str, str] = {}
    while True:
        page = client.get_execution_history(
            executionArn=execution_arn,
            maxResults=1000,
            includeExecutionData=True,
            reverseOrder=False,
            **token,
        )
        events += page["events"]
        if not page.get("nextToken"):
            return events
        token = {"nextToken": page["nextToken"]}


def parse(events: list[HistoryEvent]) -> Execution:
    """Build the execution's states: follow each event back to its state."""
    execution = Execution()
    state_of: dict[int, State] = {}
    for event in events:
        kind, details = event["type"], _details(event)
        if kind.endswith("StateEntered"):
            state = State(
                str(details.get("name", "?")), kind.removesuffix("StateEntered"), event["timestamp"]
            )
            state.figures = {"input": str(details.get("input", ""))}
            execution.states.append(state)
            state_of[event["id"]] = state
            continue
        owner = state_of.get(event.get("previousEventId", 0))
        if owner is not None:
            state_of[event["id"]] = owner
        if kind.startswith("Execution"):
            _end(execution, kind, details)
        elif kind.endswith("StateExited"):
            exited = _exited_state(execution, owner, str(details.get("name", "")))
            if exited is not None:
                _exit(exited, event["timestamp"], str(details.get("output", "")))
        elif kind == "TaskScheduled" and owner is not None:
            owner.call = parsed(details.get("parameters"))
        elif kind == "TaskSucceeded" and owner is not None:
            owner.response = parsed(details.get("output"))
        elif kind.endswith(FAILURES) and owner is not None:
            error, cause = str(details.get("error", kind)), readable(str(details.get("cause", "")))
            owner.failures.append(f"{error}: {cause}")
    _settle(execution)
    return execution


def _exited_state(execution: Execution, owner: State | None, name: str) -> State | None:
    if owner is not None and owner.name == name:
        return owner
    return next(
        (state for state in reversed(execution.states) if state.name == name and state.exited is None), None
    )


def _exit(state: State, at: datetime, output: str) -> None:
    state.exited = at
    state.figures = key_figures(state.figures.get("input", ""), output)
    state.output = parsed(output)
    state.status = "done"


def _end(execution: Execution, kind: str, details: dict[str, Any]) -> None:
    if kind == "ExecutionStarted":
        return
    if kind == "ExecutionRedriven":
        # The events that follow belong to the state that did not succeed, or to later ones.
        execution.status, execution.error, execution.cause = "RUNNING", "", ""
        execution.redrives = int(details.get("redriveCount", execution.redrives + 1))
        return
    execution.status = {
        "ExecutionSucceeded": "SUCCEEDED",
        "ExecutionTimedOut": "TIMED_OUT",
        "ExecutionAborted": "ABORTED",
    }.get(kind, "FAILED")
    execution.error = str(details.get("error", ""))
    execution.cause = readable(str(details.get("cause", "")))


def _settle(execution: Execution) -> None:
    """Set the status of states without an exit: caught if another state follows, failed if the run has ended."""
    for position, state in enumerate(execution.states):
        if state.exited is None:
            state.figures = {}
            over = execution.status != "RUNNING"
            if state.kind == "Fail":
                state.status = "failed"
            elif over:
                state.status = "failed" if execution.status != "SUCCEEDED" else "done"
            elif state.failures and position + 1 < len(execution.states):
                state.status = "caught"
            elif state.failures:
                state.status = "retrying"
            if over or state.status == "caught":
                later = (
                    execution.states[position + 1].entered if position + 1 < len(execution.states) else None
                )
                state.exited = later
        elif state.failures and state.kind not in ("Parallel", "Map") and _caught(execution, position):
            state.status = "caught"


def _caught(execution: Execution, position: int) -> bool:
    """Return True if a Catch put an error into the state's output instead of its result."""
    return execution.states[position].figures.get("caught") == "yes"


def parsed(text: str | None) -> Any:
    """Return the JSON value of a text, or None if there is no such value."""
    try:
        return json.loads(text or "null")
    except ValueError:
        return None


def readable(cause: str) -> str:
    """Extract the message from a cause; a Lambda's cause is JSON that contains it."""
    try:
        parsed = json.loads(cause)
    except ValueError:
        return cause
    if isinstance(parsed, dict):
        for key in ("errorMessage", "FailureReason", "ExitMessage", "Cause", "message"):
            if parsed.get(key):
                return str(parsed[key])
    return cause


def readable_failure(error: str, cause: str) -> str:
    """Return the failure of an execution whose cause is `State: cause`, as the state machines here end."""
    state, _, inner = cause.partition(": ")
    return ": ".join(part for part in (error, state, readable(inner)) if part)


def key_figures(before: str, after: str) -> dict[str, str]:
    """Return at most five known figures that a state added to its data."""
    try:
        old, new = json.loads(before or "{}"), json.loads(after or "{}")
    except ValueError:
        return {}
    known_before = set(_leaves(old))
    added = dict(pair for pair in _leaves(new) if pair not in known_before)
    figures: dict[str, str] = {}
    if "Error" in added and "Cause" in added:
        figures["caught"] = "yes"
    for name in KEY_FIGURES:
        if name in added and len(figures) < 5:
            figures[name] = added[name]
    return figures


def _leaves(value: Any) -> list[tuple[str, str]]:
    """List every named scalar; SageMaker's metrics get the metric's name, lists their content or length."""
    found: list[tuple[str, str]] = []
    if isinstance(value, dict):
        if "MetricName" in value and "Value" in value:
            return [(str(value["MetricName"]).replace(":", "_"), _figure(value["Value"]))]
        for key, inner in value.items():
            if isinstance(inner, dict | list):
                if isinstance(inner, list) and all(isinstance(one, str) for one in inner):
                    found.append((key, "; ".join(inner)[:120] or "none"))
                elif isinstance(inner, list) and key == "files_failed":
                    found.append((key, str(len(inner))))
                found += _leaves(inner)
            else:
                found.append((key, _figure(inner)))
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict | list):
                found += _leaves(inner)
    return found


def _figure(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)[:80]
