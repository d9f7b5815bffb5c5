"""API Gateway's data plane: http://127.0.0.1:<gateway port>/<API stage>/<path> invokes the deployed Lambda function."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TimedOut
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from moto.awslambda.models import lambda_backends
from moto.core.exceptions import JsonRESTError

from local.aws import compression, xray
from local.aws.apigateway import (
    Deployment,
    default_response_headers,
    minimum_compression_bytes,
    newest_deployment,
    throttle,
)
from local.aws.authorization.function_policies import may_invoke
from local.aws.cloudwatch.store import record
from local.aws.lambda_ import MAX_PAYLOAD_BYTES, run
from local.aws.lambda_workers import Pool
from local.aws.proxy_event import MalformedProxyResponse, Request, Response, build_event, build_response
from local.aws.settings import ACCOUNT_ID, HOST, REGION, Settings

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 10 * 1024 * 1024
# Of a regional API, in characters. The documentation gives the limit without the response; 414 is HTTP's.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
MAX_URL_LENGTH = 10_240
INTEGRATION_TIMEOUT_S = 29
_FUNCTION = re.compile(r"functions/(?P<arn>arn:[^/]+)/invocations")
# The header of responses that the gateway itself creates.
_ERROR_TYPE = "x-amzn-ErrorType"
# Headers of one connection, which a proxy does not forward.
_HOP_BY_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding"}


class _Throttles:
    """One token bucket per method: `rate` tokens per second, at most `burst` of them. A request takes one.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Tokens, and the time at which they were counted.
        self._buckets: dict[tuple[str, str, str, str], tuple[float, float]] = {}

    def refuses(self, deployment: Deployment, resource: str, method: str) -> bool:
        """Take a token; return True if there is none."""
        limits = throttle(deployment.api_id, deployment.stage, resource, method)
        if limits is None:
            return False
        rate, burst = limits
        key = (deployment.api_id, deployment.stage, resource, method)
        now = time.monotonic()
        with self._lock:
            tokens, counted = self._buckets.get(key, (float(burst), now))
            tokens = min(float(burst), tokens + (now - counted) * rate)
            self._buckets[key] = (tokens - 1 if tokens >= 1 else tokens, now)
        return tokens < 1


_throttles = _Throttles()


def serve(settings: Settings, pool: Pool) -> ThreadingHTTPServer:
    """Start the gateway on its port, in threads of its own."""
    integrations = ThreadPoolExecutor(64, thread_name_prefix="gateway")

    class Handler(_Handler):
        def respond(self, request: Request) -> Response:
            return respond(settings, pool, integrations, request)

    server = _Server((HOST, settings.gateway_port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True, name="gateway").start()
    return server


def respond(settings: Settings, pool: Pool, integrations: ThreadPoolExecutor, request: Request) -> Response:
    """Return the response to one request."""
    stage, _, rest = request.path.lstrip("/").partition("/")
    deployment = newest_deployment(stage)
    if deployment is None:
        return _error(403, "Forbidden", "ForbiddenException")
    began = time.monotonic()
    response = _respond(settings, pool, integrations, request, deployment, "/" + rest)
    record(
        "AWS/ApiGateway",
        {
            "Count": 1,
            "4XXError": float(400 <= response.status < 500),
            "5XXError": float(response.status >= 500),
            "Latency": round((time.monotonic() - began) * 1000),
        },
        ApiName=deployment.api_name,
        Stage=deployment.stage,
    )
    if any(name == _ERROR_TYPE for name, _ in response.headers):
        response.headers.extend(default_response_headers(deployment.api_id, response.status))
    return response


def _respond(
    settings: Settings,
    pool: Pool,
    integrations: ThreadPoolExecutor,
    request: Request,
    deployment: Deployment,
    path: str,
) -> Response:
    resource, parameters = match(tuple(deployment.document["paths"]), path)
    methods = deployment.document["paths"].get(resource, {})
    method = methods.get(request.method.lower()) or methods.get("x-amazon-apigateway-any-method")
    if method is None:
        return _error(403, "Missing Authentication Token", "MissingAuthenticationTokenException")
    if len(request.body) > MAX_BODY_BYTES:
        return _error(413, "Request Too Long", "RequestTooLongException")
    if _throttles.refuses(deployment, resource, request.method):
        return _error(429, "Too Many Requests", "TooManyRequestsException")
    integration = method["x-amazon-apigateway-integration"]
    if integration["type"].lower() == "mock":
        return _mock(integration)
    try:
        plain = compression.decompress(request, MAX_BODY_BYTES)
    except compression.UnsupportedCoding:
        return _error(415, "Unsupported Media Type", "UnsupportedMediaTypeException")
    except compression.TooLarge:
        return _error(413, "Request Too Long", "RequestTooLongException")
    response = _invoke(
        settings, pool, integrations, plain, deployment, resource, path, parameters, integration["uri"]
    )
    return compression.compress(
        response, request.header("Accept-Encoding"), minimum_compression_bytes(deployment.api_id)
    )


def match(resources: Sequence[str], path: str) -> tuple[str, dict[str, str]]:
    """Return the resource and the parameters of a path.

    A fixed segment has precedence over `{parameter}`, which has precedence over `{greedy+}`.
    """
    wanted = [unquote(part) for part in path.strip("/").split("/")]
    best: tuple[list[int], str, dict[str, str]] | None = None
    for resource in resources:
        found = _match_one(resource.strip("/").split("/"), wanted)
        if found is not None and (best is None or found[0] < best[0]):
            best = (found[0], resource, found[1])
    return ("", {}) if best is None else (best[1], best[2])


def _match_one(pattern: list[str], wanted: list[str]) -> tuple[list[int], dict[str, str]] | None:
    ranks: list[int] = []
    parameters: dict[str, str] = {}
    for position, part in enumerate(pattern):
        if part.startswith("{") and part.endswith("+}"):
            if len(wanted) <= position:
                return None
            parameters[part[1:-2]] = "/".join(wanted[position:])
            return [*ranks, 2], parameters
        if position >= len(wanted):
            return None
        if part.startswith("{"):
            if not wanted[position]:
                return None
            parameters[part[1:-1]] = wanted[position]
            ranks.append(1)
        elif part == wanted[position]:
            ranks.append(0)
        else:
            return None
    return (ranks, parameters) if len(pattern) == len(wanted) else None


def _invoke(
    settings: Settings,
    pool: Pool,
    integrations: ThreadPoolExecutor,
    request: Request,
    deployment: Deployment,
    resource: str,
    path: str,
    parameters: dict[str, str],
    uri: str,
) -> Response:
    arn = _FUNCTION.search(uri)
    if arn is None:
        log.error("the integration of %s is not a Lambda function: %s", resource, uri)
        return _error(500, "Internal server error", "InternalServerErrorException")
    binary_types = deployment.document.get("x-amazon-apigateway-binary-media-types", [])
    trace = request.header("X-Amzn-Trace-Id") or f"Root={xray.new_trace_id()}"
    event = build_event(
        request,
        api_id=deployment.api_id,
        stage=deployment.stage,
        resource=resource,
        path=path,
        path_parameters=parameters,
        binary_types=binary_types,
        trace=trace,
    )
    payload = json.dumps(event, separators=(",", ":")).encode()
    if len(payload) > MAX_PAYLOAD_BYTES:
        return _error(413, "Request Too Long", "RequestTooLongException")
    parts = arn["arn"].split(":")
    try:
        function = lambda_backends[parts[4]][parts[3]].get_function(arn["arn"])
        if not may_invoke(function, "apigateway.amazonaws.com", _method_arn(request, deployment, path)):
            log.error("the API may not invoke %s: add_permission() is missing", arn["arn"])
            return _error(500, "Internal server error", "InternalServerErrorException")
        outcome = integrations.submit(run, settings, pool, function, payload, trace).result(
            INTEGRATION_TIMEOUT_S
        )
    except TimedOut:
        return _error(504, "Endpoint request timed out", "EndpointRequestTimedOutException")
    except JsonRESTError as error:  # throttled, or the function does not exist
        log.error("%s could not be invoked: %s", arn["arn"], error)
        return _error(500, "Internal server error", "InternalServerErrorException")
    if outcome.failed:
        return _error(502, "Internal server error", "InternalServerErrorException")
    try:
        response = build_response(outcome.payload, request.header("Accept"), binary_types)
    except MalformedProxyResponse as error:
        log.error("malformed Lambda proxy response of %s: %s", arn["arn"], error)
        return _error(502, "Internal server error", "InternalServerErrorException")
    response.headers.append(("x-amz-apigw-id", deployment.api_id))
    response.headers.append(("x-amzn-RequestId", event["requestContext"]["requestId"]))
    return response


def _method_arn(request: Request, deployment: Deployment, path: str) -> str:
    api = f"arn:aws:execute-api:{REGION}:{ACCOUNT_ID}:{deployment.api_id}"
    return f"{api}/{deployment.stage}/{request.method}{path}"


def _mock(integration: dict[str, Any]) -> Response:
    default = integration.get("responses", {}).get("default", {})
    headers = [
        (name.removeprefix("method.response.header."), value.strip("'"))
        for name, value in default.get("responseParameters", {}).items()
    ]
    return Response(
        int(default.get("statusCode", 200)), b"", [*headers, ("Content-Type", "application/json")]
    )


def _error(status: int, message: str, kind: str) -> Response:
    body = json.dumps({"message": message}).encode()
    return Response(status, body, [("Content-Type", "application/json"), (_ERROR_TYPE, kind)])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def respond(self, request: Request) -> Response:
        raise NotImplementedError

    def log_message(self, *arguments: Any) -> None:
        """Log nothing: the log of the Lambda function contains every request."""

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self._discard(length)
            self.reply(_error(413, "Request Too Long", "RequestTooLongException"))
            return
        host = self.headers.get("Host") or ""
        if len(f"https://{host}{self.path}") > MAX_URL_LENGTH:
            self._discard(length)
            self.reply(_error(414, "Request URI too long", "RequestUriTooLongException"))
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(length) if length else b""
        request = Request(self.command, path, query, self.headers.items(), body, self.client_address[0])
        self.reply(self.respond(request))

    def _discard(self, length: int) -> None:
        """Read a refused body: a client that still sends would get a broken pipe instead of the response."""
        while length > 0 and (chunk := self.rfile.read(min(length, 1 << 20))):
            length -= len(chunk)

    def reply(self, response: Response) -> None:
        try:
            self.send_response(response.status)
            for name, value in response.headers:
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            bodyless = response.status in (204, 304)
            if not bodyless:
                self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            if self.command != "HEAD" and not bodyless:
                self.wfile.write(response.body)
            self.wfile.flush()
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client closed the connection

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = handle_any
