"""The limits of RedriveExecution that no test can wait for."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from local.aws import stepfunctions_redrive
from local.aws.stepfunctions_redrive import (
    EVENTS_MAX,
    OPEN_FOR_MAX,
    REDRIVABLE_FOR,
    ExecutionLimitExceeded,
    ExecutionNotRedrivable,
    described,
    refusal,
)

SOON = timedelta(minutes=1)


def execution(started: timedelta = SOON, stopped: timedelta = SOON, events: int = 5, **fields: Any) -> Any:
    """Return a failed execution that started and stopped this long ago."""
    now = datetime.now(UTC)
    history = SimpleNamespace(get_event_history=lambda: [{}] * events)
    env = SimpleNamespace(event_manager=history, entry=SimpleNamespace(state=object()))
    failed = {
        "status": "FAILED",
        "sm_type": "STANDARD",
        "start_date": now - started,
        "stop_date": now - stopped,
        "exec_worker": SimpleNamespace(env=env),
    }
    return SimpleNamespace(**(failed | fields))


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({}, None),
        ({"stopped": REDRIVABLE_FOR - SOON, "started": REDRIVABLE_FOR}, None),
        (
            {"stopped": REDRIVABLE_FOR + SOON, "started": REDRIVABLE_FOR + SOON},
            "Execution redrivable period exceeded",
        ),
        ({"started": OPEN_FOR_MAX + SOON}, "Execution has exceeded the max execution time"),
        ({"events": EVENTS_MAX - 1}, None),
        ({"events": EVENTS_MAX}, "Execution history event limit exceeded"),
    ],
)
def test_the_reasons_are_those_of_step_functions(about: dict[str, Any], reason: str | None) -> None:
    found = execution(**about)
    assert refusal(found) == reason
    assert described(found)["redriveStatus"] == ("NOT_REDRIVABLE" if reason else "REDRIVABLE")
    assert described(found).get("redriveStatusReason") == reason


def test_an_execution_of_an_earlier_process_is_refused_with_what_to_do() -> None:
    reason = refusal(execution(exec_worker=SimpleNamespace(env=None)))
    assert reason is not None
    assert "start a new execution" in reason


def test_an_express_execution_is_refused() -> None:
    with pytest.raises(ExecutionNotRedrivable):
        stepfunctions_redrive._redrive(execution(sm_type="EXPRESS"), SimpleNamespace(), lambda _: None)


def test_a_redrive_beyond_the_limit_of_running_executions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepfunctions_redrive, "OPEN_EXECUTIONS_MAX", 1)
    backend = SimpleNamespace(_get_executions=lambda _: [object()])
    with pytest.raises(ExecutionLimitExceeded):
        stepfunctions_redrive._redrive(execution(), backend, lambda _: None)
