"""Lambda proxy integration, payload format 1.0: from a request to the event, and from a result to the response."""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from local.aws.settings import ACCOUNT_ID, REGION

_IDENTITY = (
    *("cognitoIdentityPoolId", "accountId", "cognitoIdentityId", "caller", "accessKey"),
    *("cognitoAuthenticationType", "cognitoAuthenticationProvider", "userArn", "user"),
)


@dataclass(frozen=True)
class Request:
    """One HTTP request; `peer` is the address of the client."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    peer: str

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None; names ignore case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True)
class Response:
    """One HTTP response."""

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)


class MalformedProxyResponse(ValueError):
    """API Gateway does not accept the result of the function."""


def is_binary(media_type: str | None, binary_types: Sequence[str]) -> bool:
    """Return True if API Gateway treats this media type as binary; parameters of the type do not count."""
    if "*/*" in binary_types:
        return True
    return media_type is not None and media_type.partition(";")[0].strip().lower() in (
        binary.lower() for binary in binary_types
    )


def build_event(
    request: Request,
    *,
    api_id: str,
    stage: str,
    resource: str,
    path: str,
    path_parameters: Mapping[str, str],
    binary_types: Sequence[str],
    trace: str,
) -> dict[str, Any]:
    """Return the event of a Lambda proxy integration."""
    forwarded = request.header("X-Forwarded-For")
    headers = [pair for pair in request.headers if pair[0].lower() not in _REPLACED]
    headers += [
        ("X-Amzn-Trace-Id", trace),
        ("X-Forwarded-For", f"{forwarded}, {request.peer}" if forwarded else request.peer),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Proto", "https"),
    ]
    query = parse_qsl(request.query, keep_blank_values=True)
    now = time.time()
    binary = is_binary(request.header("Content-Type"), binary_types)
    if binary:
        body: str | None = base64.b64encode(request.body).decode()
    else:
        body = request.body.decode("utf-8", "replace")
    domain = f"{api_id}.execute-api.{REGION}.amazonaws.com"
    return {
        "resource": resource,
        "path": path,
        "httpMethod": request.method,
        "headers": dict(headers),
        "multiValueHeaders": _many(headers),
        "queryStringParameters": dict(query) or None,
        "multiValueQueryStringParameters": _many(query) or None,
        "pathParameters": dict(path_parameters) or None,
        "stageVariables": None,
        "requestContext": {
            "resourceId": "local",
            "resourcePath": resource,
            "httpMethod": request.method,
            "extendedRequestId": uuid.uuid4().hex[:16],
            "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "requestTimeEpoch": int(now * 1000),
            "path": f"/{stage}{path}",
            "accountId": ACCOUNT_ID,
            "protocol": "HTTP/1.1",
            "stage": stage,
            "domainPrefix": api_id,
            "domainName": domain,
            "requestId": str(uuid.uuid4()),
            "apiId": api_id,
            "identity": {
                **dict.fromkeys(_IDENTITY),
                "sourceIp": request.peer,
                "userAgent": request.header("User-Agent"),
            },
        },
        "body": body if request.body else None,
        "isBase64Encoded": binary and bool(request.body),
    }


def build_response(payload: bytes, accept: str | None, binary_types: Sequence[str]) -> Response:
    """Return the HTTP response for the result of a function.

    Raises:
        MalformedProxyResponse: the result is invalid; API Gateway then answers 502.
    """
    try:
        result = json.loads(payload)
    except ValueError:
        raise MalformedProxyResponse("the result is not JSON") from None
    if not isinstance(result, dict) or not isinstance(result.get("statusCode", 200), int | str):
        raise MalformedProxyResponse("the result is not an object with a statusCode")
    try:
        status = int(result.get("statusCode", 200))
    except ValueError:
        raise MalformedProxyResponse("statusCode is not a number") from None
    body = result.get("body")
    if body is not None and not isinstance(body, str):
        raise MalformedProxyResponse("body is not a string")
    many = result.get("multiValueHeaders") or {}
    one = result.get("headers") or {}
    if not isinstance(many, dict) or not isinstance(one, dict):
        raise MalformedProxyResponse("headers are not an object")
    headers = [(name, str(value)) for name, values in many.items() for value in values]
    known = {name.lower() for name, _ in headers}
    headers += [(name, str(value)) for name, value in one.items() if name.lower() not in known]
    raw = (body or "").encode()
    # API Gateway decodes an encoded body only if the first type of Accept is binary.
    first = (accept or "").split(",")[0].strip() or None
    if result.get("isBase64Encoded") and is_binary(first, binary_types):
        try:
            raw = base64.b64decode(raw, validate=True)
        except binascii.Error:
            raise MalformedProxyResponse("body is not base64") from None
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return Response(status, raw, headers)


_REPLACED = {
    *("connection", "content-length", "expect", "keep-alive", "transfer-encoding", "upgrade"),
    *("x-amzn-trace-id", "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"),
}


def _many(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values
