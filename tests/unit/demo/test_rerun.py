"""make rerun: which run continues, where, and what is refused with a next step."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from demo.environment import Environment
from demo.rerun import NotRerun, choose, continues_at, main, redrive
from functions.platform.run_history import parse
from functions.platform.run_names import run_id_of

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:tugboat-dev-pipeline"
NOW = datetime(2026, 11, 29, 3, 30, tzinfo=UTC)
DEFINITION = json.dumps({"States": {"Failed": {"Type": "Task"}}})
BEFORE_REDRIVES = json.dumps({"States": {"Failed": {"Type": "Fail"}}})
REFUSAL = {"status": "FAILED", "error": "AlreadyRunning"}
PUBLISHED = {"status": "SUCCEEDED", "output": '{"outcome": "published"}'}
TRANSFORMED = {"status": "SUCCEEDED", "output": '{"outcome": "transformed"}'}


def history(*states: str, resume: str | None = None) -> list[dict[str, Any]]:
    """Return a history that enters these states and is in the last one."""
    events: list[dict[str, Any]] = []
    for name in states:
        events.append({"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": name}})
        exited: dict[str, Any] = {"name": name}
        if name == "Train" and resume:
            exited["assignedVariables"] = {"resume": json.dumps(resume), "job_failures": "1"}
        events.append({"type": "TaskStateExited", "stateExitedEventDetails": exited})
    return events[:-1]


FAILED = history("Prepare", "Load", "Train", "NotifyFailure", "Failed", resume="Train")


class States:
    """Step Functions with these executions, the newest first."""

    def __init__(self, *executions: dict[str, Any]) -> None:
        self.executions: dict[str, dict[str, Any]] = {}
        for number, given in enumerate(executions):
            name = f"run-{len(executions) - number}"
            arn = f"{MACHINE.replace(':stateMachine:', ':execution:')}:{name}"
            known = {
                **{"executionArn": arn, "name": name, "startDate": NOW - timedelta(hours=number)},
                **{"status": "FAILED", "error": "BatchRefused", "cause": "rows fell", "redriveCount": 0},
                **{"redriveStatus": "REDRIVABLE", "definition": DEFINITION, "events": FAILED},
            }
            self.executions[arn] = known | given
        self.refuses: str | None = None
        self.shows_after = 1

    def arn(self, name: str) -> str:
        return next(arn for arn in self.executions if arn.endswith(f":{name}"))

    def get_paginator(self, _: str) -> States:
        return self

    def paginate(self, stateMachineArn: str) -> list[dict[str, Any]]:
        return [{"executions": [one]} for one in self.executions.values()]

    def describe_execution(self, executionArn: str) -> dict[str, Any]:
        found = self.executions[executionArn]
        if found.get("redriven"):
            self.shows_after -= 1
            return found | {"redriveCount": found["redriveCount"] + (self.shows_after <= 0)}
        return found

    def describe_state_machine_for_execution(self, executionArn: str) -> dict[str, Any]:
        return {"definition": self.executions[executionArn]["definition"]}

    def describe_state_machine(self, stateMachineArn: str) -> dict[str, Any]:
        return {"definition": DEFINITION}

    def get_execution_history(self, executionArn: str, **_: Any) -> dict[str, Any]:
        return {"events": self.executions[executionArn]["events"]}

    def redrive_execution(self, executionArn: str) -> None:
        if self.refuses:
            raise ClientError({"Error": {"Code": self.refuses, "Message": "no"}}, "RedriveExecution")
        self.executions[executionArn]["redriven"] = True


def chosen(states: States, named: str | None = None) -> Any:
    return choose(states, MACHINE, named, " STAGE=dev")


def refusal(states: States, named: str | None = None) -> str:
    with pytest.raises(NotRerun) as refused:
        chosen(states, named)
    return str(refused.value)


def test_the_latest_failed_run_continues_at_the_step_that_failed_and_says_why() -> None:
    found = chosen(States({"redriveCount": 1}, {}))
    assert found.arn.endswith(":run-2")
    assert str(found).splitlines() == [
        f"run {found.run_id} failed in Train with BatchRefused: rows fell",
        "try 3 continues at Train",
    ]


def test_a_run_that_was_refused_the_lock_is_not_the_latest_failure() -> None:
    assert chosen(States(REFUSAL, REFUSAL, {})).arn.endswith(":run-1")
    assert chosen(States(REFUSAL, {}), "run-2").arn.endswith(":run-2")


def test_a_run_whose_redrive_was_refused_the_lock_is_still_to_repair() -> None:
    assert chosen(States(REFUSAL | {"redriveCount": 1}, {})).step == "Train"


def test_a_run_is_named_by_its_id_its_execution_or_its_arn() -> None:
    states = States({}, {}, {})
    arn = states.arn("run-2")
    run_id = run_id_of(arn, states.executions[arn]["startDate"])
    assert {chosen(states, named).arn for named in (run_id, "run-2", arn)} == {arn}
    assert "is the run 20261129-0" in refusal(states, "20261129-0")


def test_of_several_shops_the_latest_run_of_the_named_one_continues() -> None:
    of_second, of_tables = {"input": '{"shop_id": "second"}'}, {"input": '{"only_tables": true}'}
    states = States({"status": "SUCCEEDED", "input": "{}"}, of_tables, of_second, {"input": "{}"})
    assert choose(states, MACHINE, None, "", "second", "demo").arn.endswith(states_name(states, 2))
    with pytest.raises(NotRerun, match="succeeded"):
        choose(states, MACHINE, None, "", "demo", "demo")


def states_name(states: States, position: int) -> str:
    return list(states.executions)[position].rsplit(":", 1)[1]


def test_a_later_release_of_another_shop_does_not_forbid_a_redrive() -> None:
    published = {
        "status": "SUCCEEDED",
        "output": '{"outcome": "published"}',
        "input": '{"shop_id": "second"}',
    }
    states = States(published, {})
    named = states_name(states, 1)
    assert choose(states, MACHINE, named, "", None, "demo").arn.endswith(named)
    published["input"] = "{}"
    with pytest.raises(NotRerun, match="published its model"):
        choose(States(published, {}), MACHINE, named, "", None, "demo")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("RUNNING", "still runs: follow it with `make status STAGE=dev`"),
        ("SUCCEEDED", "no step is left to repair"),
    ],
)
def test_a_run_that_did_not_fail_is_refused(status: str, said: str) -> None:
    states = States({"status": status})
    assert said in refusal(states)
    assert said in refusal(states, "run-1")


def test_an_older_run_does_not_replace_the_model_of_a_later_one() -> None:
    assert "`make run STAGE=dev` starts a new run" in refusal(States(PUBLISHED, {}), "run-1")
    assert chosen(States(TRANSFORMED, {}), "run-1").step == "Train"
    assert "runs and holds the lock" in refusal(States({"status": "RUNNING"}, {}), "run-1")


def test_what_step_functions_refuses_is_refused_with_its_reason() -> None:
    old = {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": "Execution redrivable period exceeded"}
    said = refusal(States(old))
    assert "Execution redrivable period exceeded" in said
    assert "`make run STAGE=dev`" in said


def test_a_run_that_would_only_fail_again_is_refused() -> None:
    assert "where a redrive fails again" in refusal(States({"definition": BEFORE_REDRIVES}))
    stopped = {"definition": BEFORE_REDRIVES, "status": "ABORTED", "events": history("Prepare", "Load")}
    assert chosen(States(stopped)).step == "Load"


def test_a_new_deployment_since_is_mentioned() -> None:
    changed = json.dumps({"States": {"Failed": {"Type": "Task"}, "New": {"Type": "Task"}}})
    assert "deployed again since" in str(chosen(States({"definition": changed})))


def test_a_stage_without_a_run_says_how_to_start_one() -> None:
    assert "`make run STAGE=dev` starts a new run" in refusal(States())


@pytest.mark.parametrize(
    ("events", "step"),
    [
        (FAILED, "Train"),
        (history("Prepare", "Load", "Failed"), "Load"),
        (history("Prepare", "Load", "Transform"), "Transform"),
        (history("Prepare", "Train", "Publish", "WaitForEndpoint", resume="Train"), "WaitForEndpoint"),
    ],
)
def test_a_redrive_continues_at_the_recorded_step_or_inside_the_state_that_did_not_end(
    events: list[dict[str, Any]], step: str
) -> None:
    assert continues_at(events) == step


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("ExecutionNotRedrivable", "make status"),
        ("ExecutionLimitExceeded", "repeat the command"),
        ("AccessDeniedException", "states:RedriveExecution on arn:aws:states"),
    ],
)
def test_a_refused_redrive_says_what_to_do(code: str, advice: str) -> None:
    states = States({})
    failed = chosen(states)
    states.refuses = code
    with pytest.raises(NotRerun, match=advice):
        redrive(states, failed)


def test_the_command_waits_until_the_redrive_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.rerun.time.sleep", lambda _: None)
    states = States({})
    failed = chosen(states)
    states.shows_after = 3
    redrive(states, failed)
    assert states.shows_after <= 0


class Dev(Environment):
    """A stage with these executions."""

    states = States(PUBLISHED)

    def client(self, service: str, config: Any = None) -> Any:
        return self.states

    def account(self) -> str:
        return "123456789012"


def test_the_command_ends_with_the_refusal_and_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "demo.rerun.environment.from_variables", lambda: Dev("dev", "http://x/api", "us-east-1", None, {})
    )
    assert main([]) == 1
    assert capsys.readouterr().err.startswith("rerun: run 20261129-")


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "example: python -m demo.rerun --run 20261129-1a2b3c4d5e6f" in capsys.readouterr().out


def test_the_view_of_a_redriven_run_counts_the_tries_of_its_steps() -> None:
    def event(number: int, previous: int, kind: str, **details: Any) -> dict[str, Any]:
        at = NOW + timedelta(seconds=number)
        return {
            "id": number,
            "previousEventId": previous,
            "type": kind,
            "timestamp": at,
            "anyEventDetails": details,
        }

    events = [
        event(1, 0, "ExecutionStarted"),
        event(2, 1, "TaskStateEntered", name="Load", input="{}"),
        event(3, 2, "TaskFailed", error="E", cause="no answer"),
        event(4, 3, "ExecutionFailed", error="E", cause="no answer"),
        event(5, 4, "ExecutionRedriven", redriveCount=1),
        event(6, 2, "TaskScheduled"),
    ]
    running = parse(events)
    assert (running.status, running.error, running.redrives) == ("RUNNING", "", 1)
    (load,) = running.states
    assert (load.attempts, load.failures) == (2, ["E: no answer"])
    events += [
        event(7, 6, "TaskSucceeded"),
        event(8, 7, "TaskStateExited", name="Load", output="{}"),
        event(9, 8, "ExecutionSucceeded", output="{}"),
    ]
    ended = parse(events)
    assert (ended.status, [state.status for state in ended.states]) == ("SUCCEEDED", ["done"])
