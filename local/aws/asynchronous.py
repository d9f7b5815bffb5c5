"""Work off the request's thread, and asynchronous Lambda invocations with AWS's retries."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from local.aws.settings import ACCOUNT_ID

log = logging.getLogger(__name__)

_POOL = ThreadPoolExecutor(16, thread_name_prefix="asynchronous")
# AWS waits a minute, then two; a developer should not.
RETRY_DELAYS_S = (1.0, 2.0)


def submit(function: Callable[..., Any], *arguments: Any) -> None:
    """Runs this soon; a failure is logged, never lost."""
    _POOL.submit(_logged, function, *arguments)


def invoke_lambda(function_arn: str, event: Any) -> None:
    """Invokes as `InvocationType=Event`: off the thread, retried twice, the event kept in the log if all fails."""
    submit(_invoke_with_retries, function_arn, event)


def _invoke_with_retries(function_arn: str, event: Any) -> None:
    from moto.awslambda.models import lambda_backends

    region, account = function_arn.split(":")[3], function_arn.split(":")[4] or ACCOUNT_ID
    function = lambda_backends[account][region].get_function(function_arn)
    configured: dict[str, Any] = {}
    for config in function.event_invoke_config:
        configured.update(config.config or {})
    retries = int(configured.get("MaximumRetryAttempts", len(RETRY_DELAYS_S)))
    answer = b""
    for attempt in range(retries + 1):
        if attempt:
            time.sleep(RETRY_DELAYS_S[attempt - 1])
        answered: dict[str, Any] = {}
        # Synchronous from here: lambda_.py hands asynchronous invocations to this module.
        headers = {"x-amz-invocation-type": "RequestResponse"}
        answer = function.invoke(json.dumps(event), headers, answered)
        if "x-amz-function-error" not in answered:
            return
    log.error("gave up on %s after %s attempts: %s", function_arn, retries + 1, answer.decode())
    destination = (configured.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination")
    if destination:
        _send(destination, _failure_record(function_arn, event, retries + 1, answer))
    dead_letters = (function.dead_letter_config or {}).get("TargetArn")
    if dead_letters:
        _send(dead_letters, event)


def _failure_record(function_arn: str, event: Any, attempts: int, answer: bytes) -> dict[str, Any]:
    """What a destination gets; a dead-letter queue gets the event alone."""
    return {
        "version": "1.0",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": f"{function_arn}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": attempts,
        },
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": json.loads(answer or b"null"),
    }


def _send(arn: str, message: Any) -> None:
    from moto.sns.models import sns_backends
    from moto.sqs.models import sqs_backends

    service, region, account = arn.split(":")[2:5]
    if service == "sqs":
        sqs_backends[account][region].send_message(arn.rpartition(":")[2], json.dumps(message))
    elif service == "sns":
        sns_backends[account][region].publish(json.dumps(message), arn=arn)
    else:
        log.error("cannot deliver to %s: %s", arn, json.dumps(message))


def _logged(function: Callable[..., Any], *arguments: Any) -> None:
    try:
        function(*arguments)
    except Exception:  # the outermost frame of a background thread: anything here would vanish
        log.exception("%s failed", getattr(function, "__qualname__", function))
