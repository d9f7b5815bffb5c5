"""InvokeEndpoint with the response of the model server; moto 5.2.5 answers from a queue of prepared results."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import unquote

from moto.core.exceptions import JsonRESTError
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse

from local.aws.cloudwatch.store import record
from local.aws.sagemaker.endpoints import Servers
from local.aws.sagemaker.servers import ServerResponse

_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
MAX_BODY_BYTES = 6 * 1024 * 1024


def install(servers: Servers) -> None:
    """Patch moto's SageMaker Runtime."""

    def invoke_endpoint(self: SageMakerRuntimeResponse) -> tuple[int, dict[str, Any], bytes | str]:
        name = unquote(self.path.split("/")[2])
        server = servers.get(name)
        if server is None:
            raise JsonRESTError(
                "ValidationError", f"Endpoint {name} of account {self.current_account} not found."
            )
        began = time.monotonic()
        answer = answered(self, name, server)
        values = {
            "Invocations": 1,
            "Invocation5XXErrors": float(_is_servers_fault(answer)),
            "ModelLatency": round((time.monotonic() - began) * 1e6, -3),
        }
        record("AWS/SageMaker", values, EndpointName=name, VariantName=server.spec.variant)
        return answer

    def answered(
        self: SageMakerRuntimeResponse, name: str, server: Any
    ) -> tuple[int, dict[str, Any], bytes | str]:
        body = self.body if isinstance(self.body, bytes) else (self.body or "").encode()
        if len(body) > MAX_BODY_BYTES:
            raise JsonRESTError("ValidationError", f"Body is larger than {MAX_BODY_BYTES} bytes.")
        try:
            response = server.invoke(
                body,
                self.headers.get("Content-Type") or "application/octet-stream",
                self.headers.get("Accept") or self.headers.get("X-Amzn-SageMaker-Accept") or "*/*",
                self.headers.get(_ATTRIBUTES),
            )
        except TimeoutError:
            return _model_error(name, ServerResponse(0, b"Your invocation timed out", "text/plain"))
        except OSError as error:
            return _error(503, "ServiceUnavailable", f"The model server of {name} does not answer: {error}")
        if response.status >= 400:
            return _model_error(name, response)
        headers = {
            "Content-Type": response.content_type,
            "x-Amzn-Invoked-Production-Variant": server.spec.variant,
        }
        return 200, headers, response.body

    SageMakerRuntimeResponse.invoke_endpoint = invoke_endpoint


def _is_servers_fault(answer: tuple[int, dict[str, Any], bytes | str]) -> bool:
    """Return True if the container failed. The status 424 wraps both kinds of errors of a model."""
    status, _, body = answer
    return status >= 500 or (status == 424 and json.loads(body)["ErrorCode"] == "INTERNAL_FAILURE_FROM_MODEL")


def _model_error(endpoint: str, response: ServerResponse) -> tuple[int, dict[str, Any], str]:
    message = response.body.decode(errors="replace")
    kind = "client" if 400 <= response.status < 500 else "server"
    body = {
        "ErrorCode": "CLIENT_ERROR_FROM_MODEL" if kind == "client" else "INTERNAL_FAILURE_FROM_MODEL",
        "Message": f'Received {kind} error ({response.status}) from primary with message "{message}". '
        f"See the log group /aws/sagemaker/Endpoints/{endpoint} in account for more information.",
        "OriginalMessage": message,
        "OriginalStatusCode": response.status,
        "LogStreamArn": "",
    }
    return 424, _headers(424, "ModelError"), json.dumps(body)


def _error(status: int, kind: str, message: str) -> tuple[int, dict[str, Any], str]:
    return status, _headers(status, kind), json.dumps({"Message": message})


def _headers(status: int, kind: str) -> dict[str, Any]:
    return {"status": status, "Content-Type": "application/json", "x-amzn-ErrorType": kind}
