"""Executions that start executions: their results, their failures and their stops, as Step Functions documents them."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from local.testing import wait_for
from local.tests.integration.aws.clients import ROLE, Aws

pytestmark = [pytest.mark.local_stack, pytest.mark.timeout(120)]

INNER = {
    "QueryLanguage": "JSONata",
    "StartAt": "Which",
    "States": {
        "Which": {
            "Type": "Choice",
            "Choices": [
                {"Condition": "{% $states.input.do = 'fail' %}", "Next": "Bad"},
                {"Condition": "{% $states.input.do = 'wait' %}", "Next": "Wait"},
            ],
            "Default": "Good",
        },
        "Bad": {"Type": "Fail", "Error": "NoSessions", "Cause": "the shop has none"},
        "Wait": {"Type": "Wait", "Seconds": 60, "Next": "Good"},
        "Good": {"Type": "Pass", "Output": {"Kept": "{% $states.input.do %}"}, "End": True},
    },
}


def machine(aws: Aws, definition: dict[str, Any]) -> str:
    created = aws.client("stepfunctions").create_state_machine(
        name=f"m-{uuid.uuid4().hex[:10]}", definition=json.dumps(definition), roleArn=ROLE
    )
    return str(created["stateMachineArn"])


@pytest.fixture(scope="module")
def inner(aws: Aws) -> str:
    return machine(aws, INNER)


def over_map(inner: str, resource: str = "states:startExecution.sync:2") -> dict[str, Any]:
    """Return a definition that starts the inner machine for each item of its input, with a Catch per item."""
    item = {
        "Type": "Task",
        "Resource": f"arn:aws:states:::{resource}",
        "Arguments": {
            "StateMachineArn": inner,
            "Name": "{% $states.context.Execution.Name & '-' & $states.input %}",
            "Input": {"do": "{% $states.input %}"},
        },
        "Catch": [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}],
        "End": True,
    }
    states = {"Start": item, "Caught": {"Type": "Pass", "End": True}}
    return {
        "QueryLanguage": "JSONata",
        "StartAt": "Each",
        "States": {
            "Each": {
                "Type": "Map",
                "Items": "{% $states.input %}",
                "MaxConcurrency": 2,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "INLINE"},
                    "StartAt": "Start",
                    "States": states,
                },
                "End": True,
            }
        },
    }


def run(aws: Aws, arn: str, items: list[str]) -> Any:
    client = aws.client("stepfunctions")
    started = client.start_execution(
        stateMachineArn=arn, name=f"e-{uuid.uuid4().hex[:10]}", input=json.dumps(items)
    )["executionArn"]
    wait_for(lambda: client.describe_execution(executionArn=started)["status"] != "RUNNING", 60, 0.1)
    described = client.describe_execution(executionArn=started)
    assert described["status"] == "SUCCEEDED", described
    return json.loads(described["output"])


def test_one_that_fails_leaves_the_results_of_the_others(aws: Aws, inner: str) -> None:
    good, bad = run(aws, machine(aws, over_map(inner)), ["good", "fail"])
    assert (good["Status"], good["Output"], good["Input"]) == ("SUCCEEDED", {"Kept": "good"}, {"do": "good"})
    assert bad["Error"] == "States.TaskFailed"
    cause = json.loads(bad["Cause"])
    assert (cause["Status"], cause["Error"], cause["Cause"]) == ("FAILED", "NoSessions", "the shop has none")


def test_without_the_second_version_the_output_is_a_text(aws: Aws, inner: str) -> None:
    (found,) = run(aws, machine(aws, over_map(inner, "states:startExecution.sync")), ["good"])
    assert json.loads(found["Output"]) == {"Kept": "good"}


def test_without_sync_nobody_waits(aws: Aws, inner: str) -> None:
    client = aws.client("stepfunctions")
    (found,) = run(aws, machine(aws, over_map(inner, "states:startExecution")), ["wait"])
    arn = found["ExecutionArn"]
    assert client.describe_execution(executionArn=arn)["status"] == "RUNNING"
    client.stop_execution(executionArn=arn)


def test_stopping_an_execution_stops_those_that_it_waits_for(aws: Aws, inner: str) -> None:
    client = aws.client("stepfunctions")
    name = f"e-{uuid.uuid4().hex[:10]}"
    outer = machine(aws, over_map(inner))
    arn = client.start_execution(stateMachineArn=outer, name=name, input='["wait"]')["executionArn"]
    waiting = f"{inner.replace(':stateMachine:', ':execution:')}:{name}-wait"

    def status() -> str:
        try:
            return str(client.describe_execution(executionArn=waiting)["status"])
        except client.exceptions.ExecutionDoesNotExist:
            return ""

    wait_for(lambda: status() == "RUNNING", 20, 0.1)
    client.stop_execution(executionArn=arn)
    wait_for(lambda: status() == "ABORTED", 20, 0.1)
