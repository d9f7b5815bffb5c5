"""Lambda functions that really run: the deployed zip and its layers, under AWS's own runtime client, in warm processes.

moto 5.2.5 runs functions in Docker, in one container per invocation. This module patches LambdaFunction.invoke (workers, error
types, asynchronous invocations, log groups, throttling) and the configuration that moto drops (dead-letter queues, tracing).
"""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import Any

from moto.awslambda import models
from moto.awslambda.exceptions import LambdaClientError

from local.aws import asynchronous, xray
from local.aws.authorization.sessions import CannotAssumeRole, Session
from local.aws.cloudwatch.store import record
from local.aws.lambda_workers import FunctionVersion, Outcome, Pool, TooManyRequests, session_of
from local.aws.logs import append_events
from local.aws.settings import Settings

MAX_PAYLOAD_BYTES = 6 * 1024 * 1024
_INVOCATION_TYPE = "x-amz-invocation-type"


class TooManyRequestsException(LambdaClientError):
    """The error of a throttled invocation."""

    def __init__(self) -> None:
        super().__init__("TooManyRequestsException", "Rate Exceeded.")
        self.code = 429


class RoleCannotBeAssumed(LambdaClientError):
    """The role of a function does not exist or does not trust Lambda."""

    def __init__(self) -> None:
        super().__init__(
            "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."
        )


class RequestTooLargeException(LambdaClientError):
    """The event is larger than Lambda's limit."""

    def __init__(self, size: int) -> None:
        super().__init__(
            "RequestTooLargeException",
            f"Request must be smaller than {MAX_PAYLOAD_BYTES} bytes for the InvokeFunction operation: {size}",
        )
        self.code = 413


def install(settings: Settings, pool: Pool) -> None:
    """Patch moto's Lambda."""
    _run_in_workers(settings, pool)
    _refuse_roles_that_do_not_trust_lambda()
    _retire_deleted(pool)
    _keep_dead_letter_and_tracing_config()


def _run_in_workers(settings: Settings, pool: Pool) -> None:
    def invoke(function: models.LambdaFunction, body: Any, request: Any, response: Any) -> str | bytes:
        raw = body if isinstance(body, bytes) else (body or "{}").encode()
        if len(raw) > MAX_PAYLOAD_BYTES:
            raise RequestTooLargeException(len(raw))
        kind = request.get(_INVOCATION_TYPE) or request.get("X-Amz-Invocation-Type") or "RequestResponse"
        if kind == "DryRun":
            return b""
        if kind == "Event":
            asynchronous.invoke_lambda(function.function_arn, json.loads(raw))
            return b""
        outcome = run(settings, pool, function, raw, request.get("X-Amzn-Trace-Id"))
        if outcome.failed:
            response["x-amz-function-error"] = "Unhandled"
        response["x-amz-log-result"] = base64.b64encode(outcome.log.encode()[-4096:]).decode()
        response["x-amz-executed-version"] = str(function.version)
        return outcome.payload

    models.LambdaFunction.invoke = invoke


def run(
    settings: Settings, pool: Pool, function: models.LambdaFunction, payload: bytes, trace_header: str | None
) -> Outcome:
    """Invoke a function synchronously; keep its log and its X-Ray segment."""
    trace = xray.continue_trace(trace_header, function.tracing_config["Mode"] == "Active")
    try:
        outcome = pool.invoke(_version(function), payload, str(trace))
    except TooManyRequests:
        raise TooManyRequestsException() from None
    except CannotAssumeRole:
        raise RoleCannotBeAssumed() from None
    record(
        "AWS/Lambda",
        {
            "Invocations": 1,
            "Errors": float(outcome.failed),
            "Duration": round((outcome.ended - outcome.began) * 1000, 1),
        },
        FunctionName=function.function_name,
    )
    session = session_of(function.role, function.function_name)
    _keep_log(settings, session, function, outcome)
    if trace.sampled and function.tracing_config["Mode"] == "Active":
        xray.put_lambda_segment(session, trace, function.function_name, function.function_arn, outcome)
    return outcome


def _version(function: models.LambdaFunction) -> FunctionVersion:
    backend = models.lambda_backends[function.account_id][function.region]
    layers = [backend.layers_versions_by_arn(layer["Arn"]).code_bytes for layer in function.layers]
    reserved = function.reserved_concurrency
    return FunctionVersion(
        name=function.function_name,
        arn=function.function_arn,
        version=str(function.version),
        role=function.role,
        handler=function.handler,
        code=function.code_bytes,
        layers=tuple(layers),
        environment=tuple(sorted((name, str(value)) for name, value in function.environment_vars.items())),
        memory_mb=int(function.memory_size),
        timeout_s=int(function.timeout),
        reserved_concurrency=None if reserved is None else int(reserved),
    )


_log_file_lock = threading.Lock()


def _keep_log(
    settings: Settings, session: Session, function: models.LambdaFunction, outcome: Outcome
) -> None:
    path = settings.logs / "lambda" / f"{function.function_name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with _log_file_lock, path.open("a") as file:
        file.write(outcome.log)
    append_events(
        session,
        function.logs_group_name,
        outcome.log_stream,
        outcome.log.splitlines(),
        int(time.time() * 1000),
    )


def _refuse_roles_that_do_not_trust_lambda() -> None:
    original = models.LambdaBackend.create_function

    def create_function(self: models.LambdaBackend, spec: dict[str, Any]) -> models.LambdaFunction:
        try:
            session_of(spec["Role"], spec["FunctionName"])
        except CannotAssumeRole:
            raise RoleCannotBeAssumed() from None
        return original(self, spec)

    models.LambdaBackend.create_function = create_function


def _retire_deleted(pool: Pool) -> None:
    original = models.LambdaBackend.delete_function

    def delete_function(self: models.LambdaBackend, function_name: str, qualifier: str | None = None) -> None:
        original(self, function_name, qualifier)
        if qualifier is None:
            pool.retire(function_name.rpartition(":")[2])

    models.LambdaBackend.delete_function = delete_function


def _keep_dead_letter_and_tracing_config() -> None:
    # moto 5.2.5 drops DeadLetterConfig always, and TracingConfig in updates.
    create, update = models.LambdaFunction.__init__, models.LambdaFunction.update_configuration
    describe = models.LambdaFunction.get_configuration

    def __init__(self: models.LambdaFunction, account_id: str, spec: Any, *args: Any, **kwargs: Any) -> None:
        create(self, account_id, spec, *args, **kwargs)
        self.dead_letter_config = spec.get("DeadLetterConfig")

    def update_configuration(self: models.LambdaFunction, config_updates: dict[str, Any]) -> Any:
        if "DeadLetterConfig" in config_updates:
            self.dead_letter_config = config_updates["DeadLetterConfig"]
        if "TracingConfig" in config_updates:
            self.tracing_config = config_updates["TracingConfig"]
        update(self, config_updates)
        return self.get_configuration()

    def get_configuration(self: models.LambdaFunction, on_create: bool = False) -> Any:
        described = describe(self, on_create)
        if self.dead_letter_config:
            described["DeadLetterConfig"] = self.dead_letter_config
        return described

    models.LambdaFunction.__init__ = __init__
    models.LambdaFunction.update_configuration = update_configuration
    models.LambdaFunction.get_configuration = get_configuration
