"""Work outside the thread of a request, and asynchronous Lambda invocations with AWS's retries."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from local.aws.settings import ACCOUNT_ID

log = logging.getLogger(__name__)

_POOL = ThreadPoolExecutor(16, thread_name_prefix="asynchronous")
# AWS waits one minute, then two. A developer should not have to.
RETRY_DELAYS_S = (1.0, 2.0)


def submit(function: Callable[..., Any], *arguments: Any) -> None:
    """Run a short task in a pool of threads and log its failure."""
    _POOL.submit(_logged, function, *arguments)


def in_thread(function: Callable[..., Any], *arguments: Any) -> None:
    """Run a long task in a thread of its own and log its failure."""
    threading.Thread(target=_logged, args=(function, *arguments), daemon=True).start()


def invoke_lambda(function_arn: str, event: Any) -> None:
    """Invoke a function as `InvocationType=Event` does: in the background, with two retries; log the last failure."""
    submit(_invoke_with_retries, function_arn, event)


def _invoke_with_retries(function_arn: str, event: Any) -> None:
    from moto.awslambda.models import lambda_backends

    region, account = function_arn.split(":")[3], function_arn.split(":")[4] or ACCOUNT_ID
    function = lambda_backends[account][region].get_function(function_arn)
    configured: dict[str, Any] = {}
    for config in function.event_invoke_config:
        configured.update(config.config or {})
    retries = int(configured.get("MaximumRetryAttempts", len(RETRY_DELAYS_S)))
    response = b""
    for attempt in range(retries + 1):
        if attempt:
            time.sleep(RETRY_DELAYS_S[attempt - 1])
        response_headers: dict[str, Any] = {}
        # Without this header, lambda_.py would send the invocation back to this module.
        headers = {"x-amz-invocation-type": "RequestResponse"}
        response = function.invoke(json.dumps(event), headers, response_headers)
        if "x-amz-function-error" not in response_headers:
            return
    log.error("%s failed %s times; no more retries: %s", function_arn, retries + 1, response.decode())
    destination = (configured.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination")
    if destination:
        _send(destination, _failure_record(function_arn, event, retries + 1, response))
    dead_letters = (function.dead_letter_config or {}).get("TargetArn")
    if dead_letters:
        _send(dead_letters, event)


def _failure_record(function_arn: str, event: Any, attempts: int, response: bytes) -> dict[str, Any]:
    """Return the message for a failure destination. A dead-letter queue receives the event alone."""
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
        "responsePayload": json.loads(response or b"null"),
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
        log.error("no delivery to %s, which is neither SQS nor SNS: %s", arn, json.dumps(message))


def _logged(function: Callable[..., Any], *arguments: Any) -> None:
    try:
        function(*arguments)
    except Exception:  # the outermost frame of a thread: an exception here would be lost
        log.exception("%s failed", getattr(function, "__qualname__", function))
