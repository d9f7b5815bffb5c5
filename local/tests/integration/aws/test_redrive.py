"""RedriveExecution: what continues, what is refused, and what history, descriptions and events contain.

https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
"""

from __future__ import annotations

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.testing import wait_for
from local.tests.integration.aws.clients import ROLE, Aws

pytestmark = pytest.mark.local_stack

REDRIVES = "$states.context.Execution.RedriveCount"


class Machine:
    """A state machine whose task `Read` fails until `repair` is called."""

    def __init__(self, aws: Aws) -> None:
        self.aws, self.client = aws, aws.client("stepfunctions")
        self.bucket = aws.make_bucket()

    def read(self, **fields: Any) -> dict[str, Any]:
        """Return the task."""
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
            "Arguments": {"Bucket": self.bucket, "Key": "it"},
            "Output": "{% $states.result.Body %}",
            **fields,
        }

    def repair(self) -> None:
        self.aws.client("s3").put_object(Bucket=self.bucket, Key="it", Body=b"found")

    def start(self, states: dict[str, Any], given: Any = None, **top_level: Any) -> str:
        definition = {
            "QueryLanguage": "JSONata",
            "StartAt": next(iter(states)),
            "States": states,
            **top_level,
        }
        machine = self.client.create_state_machine(
            name=f"redriven-{uuid.uuid4().hex[:8]}", definition=json.dumps(definition), roleArn=ROLE
        )["stateMachineArn"]
        started = self.client.start_execution(stateMachineArn=machine, input=json.dumps(given or {}))
        return str(started["executionArn"])

    def end(self, execution: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = self.client.describe_execution(executionArn=execution)
            return found if found["status"] != "RUNNING" else None

        found: dict[str, Any] = wait_for(ended, timeout_s=30, pause_s=0.05)
        print(found, *self.history(execution), sep="\n")  # pytest shows this if the test fails
        return found

    def redrive(self, execution: str) -> dict[str, Any]:
        self.client.redrive_execution(executionArn=execution)
        return self.end(execution)

    def history(self, execution: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.client.get_execution_history(executionArn=execution)["events"]
        return events

    def kinds(self, execution: str) -> list[str]:
        return [event["type"] for event in self.history(execution)]


@pytest.fixture
def machine(aws: Aws) -> Machine:
    return Machine(aws)


def refused(machine: Machine, execution: str) -> tuple[str, str]:
    with pytest.raises(ClientError) as refusal:
        machine.client.redrive_execution(executionArn=execution)
    error = refusal.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_failed_task_runs_again_with_its_input_and_variables_and_what_succeeded_does_not(
    machine: Machine,
) -> None:
    execution = machine.start(
        {
            "First": {
                "Type": "Pass",
                "Assign": {"kept": "{% $uuid() %}"},
                "Output": {"a": 1},
                "Next": "Read",
            },
            "Read": machine.read(
                Output={
                    "input": "{% $states.input %}",
                    "kept": "{% $kept %}",
                    "redrives": f"{{% {REDRIVES} %}}",
                    "at": "{% $states.context.Execution.RedriveTime %}",
                },
                End=True,
            ),
        }
    )
    failed = machine.end(execution)
    assert (failed["status"], failed["redriveStatus"], failed["redriveCount"]) == ("FAILED", "REDRIVABLE", 0)
    assert "redriveDate" not in failed
    before = machine.history(execution)
    machine.repair()
    ended = machine.redrive(execution)
    assert (ended["status"], ended["redriveCount"]) == ("SUCCEEDED", 1)
    assert "error" not in ended
    output, after = json.loads(ended["output"]), machine.history(execution)
    assert (output["input"], output["redrives"]) == ({"a": 1}, 1)
    assert output["at"].endswith("Z")
    assert after[: len(before)] == before
    (assigned,) = [
        event["stateExitedEventDetails"]["assignedVariables"]["kept"]
        for event in after
        if event.get("stateExitedEventDetails", {}).get("name") == "First"
    ]
    assert output["kept"] == assigned.strip('"')
    assert [event["id"] for event in after] == list(range(1, len(after) + 1))
    redriven, scheduled = after[len(before) : len(before) + 2]
    assert redriven["type"] == "ExecutionRedriven"
    assert redriven["executionRedrivenEventDetails"] == {"redriveCount": 1}
    assert scheduled["type"] == "TaskScheduled"
    (entered,) = [event for event in after if event["type"] == "TaskStateEntered"]
    assert scheduled["previousEventId"] == entered["id"]


def test_a_task_has_all_its_retries_again(machine: Machine) -> None:
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1, "BackoffRate": 1}]
    execution = machine.start({"Read": machine.read(Retry=retry, End=True)})
    machine.end(execution)
    assert machine.kinds(execution).count("TaskFailed") == 2
    assert machine.redrive(execution)["status"] == "FAILED"
    assert machine.kinds(execution).count("TaskFailed") == 4


def test_a_caught_failure_is_not_run_again_and_the_fail_state_fails_again(machine: Machine) -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Failed"}]
    execution = machine.start(
        {
            "Read": machine.read(Catch=catch, End=True),
            "Failed": {"Type": "Fail", "Error": f"{{% 'try' & $string({REDRIVES}) %}}"},
        }
    )
    assert machine.end(execution)["error"] == "try0"
    machine.repair()
    assert machine.redrive(execution)["error"] == "try1"
    kinds = machine.kinds(execution)
    assert [kinds.count(kind) for kind in ("TaskScheduled", "FailStateEntered", "ExecutionFailed")] == [
        1,
        2,
        2,
    ]


def test_a_choice_is_evaluated_again(machine: Machine) -> None:
    rule = {"Condition": f"{{% {REDRIVES} > 1 %}}", "Next": "Done"}
    execution = machine.start(
        {"Which": {"Type": "Choice", "Choices": [rule]}, "Done": {"Type": "Succeed"}},
    )
    assert machine.end(execution)["status"] == "FAILED"
    assert [machine.redrive(execution)["status"] for _ in range(2)] == ["FAILED", "SUCCEEDED"]


def test_a_stopped_execution_waits_again_and_each_status_is_an_event_that_counts_redrives(
    aws: Aws, machine: Machine
) -> None:
    topic = aws.client("sns").create_topic(Name=f"redriven-{uuid.uuid4().hex[:8]}")["TopicArn"]
    seconds = f"{{% {REDRIVES} = 0 ? 60 : 1 %}}"
    execution = machine.start({"Wait": {"Type": "Wait", "Seconds": seconds, "End": True}})
    events, rule = aws.client("events"), topic.rsplit(":", 1)[1]
    pattern = {"source": ["aws.states"], "detail": {"executionArn": [execution]}}
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=rule, Targets=[{"Id": "topic", "Arn": topic}])
    machine.client.stop_execution(executionArn=execution)
    assert machine.end(execution)["status"] == "ABORTED"
    assert machine.redrive(execution)["status"] == "SUCCEEDED"

    def details() -> list[dict[str, Any]]:
        lines = (aws.stack.logs / "notifications.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        return [json.loads(one["message"])["detail"] for one in found if one["topic"] == topic]

    sent = wait_for(lambda: details() if len(details()) == 3 else None)
    assert [(one["status"], one["redriveCount"], one["redriveStatus"]) for one in sent] == [
        ("ABORTED", 0, "REDRIVABLE"),
        ("RUNNING", 1, "NOT_REDRIVABLE"),
        ("SUCCEEDED", 1, "NOT_REDRIVABLE"),
    ]
    assert sent[0]["redriveDate"] is None
    assert sent[1]["redriveDate"] > sent[1]["startDate"]
    assert sent[1]["stopDate"] is None
    assert sent[1]["redriveStatusReason"] == "Execution is RUNNING and cannot be redriven"


def test_the_time_limit_of_the_state_machine_starts_again(machine: Machine) -> None:
    execution = machine.start(
        {"Wait": {"Type": "Wait", "Seconds": f"{{% {REDRIVES} = 0 ? 30 : 1 %}}", "End": True}},
        TimeoutSeconds=3,
    )
    timed_out = machine.end(execution)
    assert (timed_out["status"], timed_out["redriveStatus"]) == ("TIMED_OUT", "REDRIVABLE")
    assert timed_out["stopDate"] > timed_out["startDate"]
    assert machine.redrive(execution)["status"] == "SUCCEEDED"
    (listed,) = machine.client.list_executions(stateMachineArn=timed_out["stateMachineArn"])["executions"]
    assert listed["redriveCount"] == 1


def test_a_running_a_succeeded_and_an_unknown_execution_are_refused(machine: Machine) -> None:
    running = machine.start({"Wait": {"Type": "Wait", "Seconds": 3, "End": True}})
    for status in ("RUNNING", "SUCCEEDED"):
        reason = f"Execution is {status} and cannot be redriven"
        assert refused(machine, running) == ("ExecutionNotRedrivable", reason)
        described = machine.client.describe_execution(executionArn=running)
        assert (described["redriveStatus"], described["redriveStatusReason"]) == ("NOT_REDRIVABLE", reason)
        machine.end(running)
    assert refused(machine, f"{running}-unknown")[0] == "ExecutionDoesNotExist"
    with pytest.raises(ClientError, match="InvalidArn"):
        machine.client.redrive_execution(executionArn="run-1")


def test_a_parallel_state_is_refused_with_what_to_do(machine: Machine) -> None:
    branch = {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "E"}}}
    execution = machine.start({"Both": {"Type": "Parallel", "Branches": [branch], "End": True}})
    machine.end(execution)
    code, message = refused(machine, execution)
    assert code == "ExecutionNotRedrivable"
    assert "start a new execution" in message


def test_of_two_redrives_at_once_one_is_refused_and_a_repeated_token_redrives_once(machine: Machine) -> None:
    execution = machine.start(
        {"Read": machine.read(Next="Wait"), "Wait": {"Type": "Wait", "Seconds": 1, "End": True}}
    )
    machine.end(execution)
    machine.repair()

    def redrive(token: str) -> Any:
        try:
            return machine.client.redrive_execution(executionArn=execution, clientToken=token)["redriveDate"]
        except ClientError as error:
            return error.response["Error"]["Code"]

    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(redrive, ["one", "two"]))
    assert answers.count("ExecutionNotRedrivable") == 1
    (accepted,) = [answer for answer in answers if answer != "ExecutionNotRedrivable"]
    token = "one" if answers[0] == accepted else "two"
    machine.end(execution)
    assert redrive(token) == accepted
    assert machine.client.describe_execution(executionArn=execution)["redriveCount"] == 1


def test_what_a_stopped_try_still_does_changes_neither_the_history_nor_the_next_try(
    aws: Aws, machine: Machine
) -> None:
    name = aws.make_function(
        "import time\ndef handler(event, context):\n    time.sleep(event['s'])\n    return event['s']"
    )
    arguments = {"FunctionName": name, "Payload": {"s": f"{{% {REDRIVES} = 0 ? 5 : 0 %}}"}}
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": arguments}
    execution = machine.start(
        {
            "Call": task | {"Assign": {"slept": "{% $states.result.Payload %}"}, "Next": "Done"},
            "Done": {"Type": "Pass", "Output": "{% $slept %}", "End": True},
        },
        TimeoutSeconds=3,
    )
    assert machine.end(execution)["status"] == "TIMED_OUT"
    ended = machine.redrive(execution)
    time.sleep(3)  # the first call ends
    assert (ended["status"], ended["output"]) == ("SUCCEEDED", "0")
    assert machine.kinds(execution).count("TaskSucceeded") == 1
    assert machine.client.describe_execution(executionArn=execution)["status"] == "SUCCEEDED"
