"""An execution as one trace: its segment, a subsegment for each state, and below these the segments of the Lambdas it invokes.

moto 5.2.5 does nothing with a state machine's TracingConfiguration. Its calls of Lambda get the trace header here.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from datetime import datetime
from typing import Any

from moto.stepfunctions.models import StateMachine
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.backend import execution as executions

from local.aws import xray

_calling = threading.local()


def install() -> None:
    """Patches moto's interpreter."""
    _send_the_header()
    terminated = executions.BaseExecutionWorkerCommunication.terminated

    def tell(self: executions.BaseExecutionWorkerCommunication) -> None:
        terminated(self)
        if _is_traced(self.execution):
            xray.put_segment(_segment(self.execution))

    executions.BaseExecutionWorkerCommunication.terminated = tell
    _read_the_template()


def _read_the_template() -> None:
    # moto 5.2.5 leaves TracingConfiguration of a template out.
    create, update = (
        StateMachine.create_from_cloudformation_json.__func__,
        StateMachine.update_from_cloudformation_json.__func__,
    )

    def traced(make: Any) -> Any:
        def made(cls: type[StateMachine], *arguments: Any, **named: Any) -> StateMachine:
            machine: StateMachine = make(cls, *arguments, **named)
            template = next(one for one in (*arguments, *named.values()) if isinstance(one, dict))
            asked = template.get("Properties", {}).get("TracingConfiguration", {})
            machine.tracingConfiguration = {"enabled": asked.get("Enabled", False)}
            return machine

        return classmethod(made)

    StateMachine.create_from_cloudformation_json = traced(create)
    StateMachine.update_from_cloudformation_json = traced(update)


def _send_the_header() -> None:
    invoke, client_for = (
        lambda_eval_utils.execute_lambda_function_integration,
        lambda_eval_utils.boto_client_for,
    )

    def execute(env: Any, **named: Any) -> None:
        context = env.states.context_object.context_object_data
        arn, state = context["Execution"]["Id"], context["State"]["Name"]
        _calling.header = f"Root={_trace_id(arn)};Parent={_id(arn, state)};Sampled=1"
        try:
            invoke(env, **named)
        finally:
            _calling.header = None

    def boto_client_for(*arguments: Any, **named: Any) -> Any:
        client, header = client_for(*arguments, **named), getattr(_calling, "header", None)

        def add_header(params: dict[str, Any], **_: Any) -> None:
            params["headers"]["X-Amzn-Trace-Id"] = header

        if header:
            client.meta.events.register("before-call.lambda.Invoke", add_header)
        return client

    lambda_eval_utils.execute_lambda_function_integration = execute
    lambda_eval_utils.boto_client_for = boto_client_for


def _is_traced(execution: executions.Execution) -> bool:
    return bool(execution.state_machine.tracingConfiguration.get("enabled"))


def _trace_id(arn: str) -> str:
    """Of an execution's ARN, so that nobody has to remember it. On AWS its first part is a time, which nothing here reads."""
    digest = hashlib.sha256(arn.encode()).hexdigest()
    return f"1-{digest[:8]}-{digest[8:32]}"


def _id(arn: str, state: str) -> str:
    return hashlib.sha256(f"{arn} {state}".encode()).hexdigest()[:16]


def _segment(execution: executions.Execution) -> dict[str, Any]:
    arn, ended = execution.exec_arn, execution.stop_date.timestamp()
    subsegments: list[dict[str, Any]] = []
    open_states: dict[str, dict[str, Any]] = {}
    for event in execution.exec_worker.env.event_manager.get_event_history():
        at = datetime.fromisoformat(event["timestamp"]).timestamp()
        if entered := event.get("stateEnteredEventDetails"):
            name = entered["name"]
            first = all(one["name"] != name for one in subsegments)
            state = {
                "name": name,
                "id": _id(arn, name) if first else secrets.token_hex(8),
                "start_time": at,
                "end_time": ended,
            }
            subsegments.append(state)
            open_states[name] = state
        elif left := event.get("stateExitedEventDetails"):
            open_states[left["name"]]["end_time"] = at
    return {
        "name": execution.state_machine.name,
        "id": _id(arn, ""),
        "trace_id": _trace_id(arn),
        "start_time": execution.start_date.timestamp(),
        "end_time": ended,
        "origin": "AWS::StepFunctions::StateMachine",
        "aws": {"execution_arn": arn},
        "fault": execution.status != "SUCCEEDED",
        "subsegments": subsegments,
    }
