"""One X-Ray trace per execution: a segment per try, a subsegment per state, and below them the segments of functions.

moto 5.2.5 ignores the TracingConfiguration of a state machine. These patches add the trace header to its calls of Lambda.
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
from local.aws.authorization import documented
from local.aws.authorization.sessions import AccessDenied
from local.aws.patching import patch_resource_type
from local.aws.stepfunctions_roles import session_of

_calling = threading.local()


def install() -> None:
    """Patch moto's interpreter."""
    _send_trace_header()
    terminated = executions.BaseExecutionWorkerCommunication.terminated

    def terminated_and_traced(self: executions.BaseExecutionWorkerCommunication) -> None:
        terminated(self)
        if _is_traced(self.execution) and _may_trace(self.execution.role_arn):
            xray.put_segment(_segment(self.execution))

    executions.BaseExecutionWorkerCommunication.terminated = terminated_and_traced
    patch_resource_type(StateMachine, after=_set_tracing)


def _set_tracing(machine: StateMachine, properties: dict[str, Any]) -> None:
    # moto 5.2.5 ignores TracingConfiguration in a template.
    tracing = properties.get("TracingConfiguration", {})
    machine.tracingConfiguration = {"enabled": tracing.get("Enabled", False)}


def _send_trace_header() -> None:
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


def _may_trace(role_arn: str) -> bool:
    try:
        session_of(role_arn).require(*documented.execution_traces())
    except AccessDenied:  # recorded by require(); as on AWS, the trace is lost
        return False
    return True


def _trace_id(arn: str) -> str:
    """Derive the trace id from the ARN, so that it need not be stored. On AWS its first part is a time, unused here."""
    digest = hashlib.sha256(arn.encode()).hexdigest()
    return f"1-{digest[:8]}-{digest[8:32]}"


def _id(arn: str, state: str) -> str:
    return hashlib.sha256(f"{arn} {state}".encode()).hexdigest()[:16]


def _segment(execution: executions.Execution) -> dict[str, Any]:
    arn, ended = execution.exec_arn, execution.stop_date.timestamp()
    started, tries = execution.start_date.timestamp(), ""
    subsegments: list[dict[str, Any]] = []
    open_states: dict[str, dict[str, Any]] = {}
    for event in execution.exec_worker.env.event_manager.get_event_history():
        time_s = datetime.fromisoformat(event["timestamp"]).timestamp()
        if entered := event.get("stateEnteredEventDetails"):
            name = entered["name"]
            first = all(subsegment["name"] != name for subsegment in subsegments)
            state = {
                "name": name,
                "id": _id(arn, name) if first else secrets.token_hex(8),
                "start_time": time_s,
                "end_time": ended,
            }
            subsegments.append(state)
            open_states[name] = state
        elif exited := event.get("stateExitedEventDetails"):
            # Iterations of a Map state enter and exit states of one name.
            open_states.pop(exited["name"], {})["end_time"] = time_s
        elif redriven := event.get("executionRedrivenEventDetails"):
            # A segment per try. The state that did not succeed continues.
            started, tries = time_s, f"redrive {redriven['redriveCount']}"
            open_states = {
                name: state | {"id": secrets.token_hex(8), "start_time": time_s, "end_time": ended}
                for name, state in open_states.items()
            }
            subsegments = list(open_states.values())
    return {
        "name": execution.state_machine.name,
        "id": _id(arn, tries),
        "trace_id": _trace_id(arn),
        "start_time": started,
        "end_time": ended,
        "origin": "AWS::StepFunctions::StateMachine",
        "aws": {"execution_arn": arn},
        "fault": execution.status != "SUCCEEDED",
        "subsegments": subsegments,
    }
