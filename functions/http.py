"""Requests in and responses out of the REST API, the same for every route."""

from typing import Any, NamedTuple

from chalice.app import Request, Response

from functions.collect.origin import Origin, origin
from functions.errors import Reason, RequestRefused, http_status
from functions.log import bind

RETRY_AFTER_S = 5
# A key is mended by people: whoever sends with a wrong one keeps its events and asks rarely.
WRONG_KEY_RETRY_AFTER_S = 600
NO_STORE: dict[str, str | list[str]] = {"Cache-Control": "no-store"}


class Call(NamedTuple):
    """A request as our code sees it."""

    request_id: str
    query: dict[str, str]
    body: bytes
    origin: Origin


def identify(request: Request | None) -> Call:
    """The request's parts, without what must not be kept; its id goes into every log line from here on."""
    if request is None:
        raise RuntimeError("identify() outside a request")
    request_id = request.context["requestId"]
    bind(request_id=request_id)
    source_ip = request.context.get("identity", {}).get("sourceIp")
    body = request.raw_body or b""
    return Call(
        request_id,
        dict(request.query_params or {}),
        body.encode() if isinstance(body, str) else body,
        origin(source_ip, request.headers.get("user-agent")),
    )


def answer(body: dict[str, Any]) -> Response:
    """200 with a body that no cache keeps."""
    return Response(body=body, status_code=200, headers=NO_STORE)


def refusal(refused: RequestRefused, request_id: str) -> Response:
    """The refusal's status, its machine-readable reason and a sentence; when to come back where that may help."""
    status = http_status(refused.reason)
    headers = dict(NO_STORE)
    if refused.reason is Reason.WRONG_KEY:
        headers["Retry-After"] = str(WRONG_KEY_RETRY_AFTER_S)
    elif status >= 500:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    error = {"reason": refused.reason.value, "message": refused.message}
    return Response(body={"error": error, "request_id": request_id}, status_code=status, headers=headers)


def unavailable(request_id: str) -> Response:
    """503: nothing was stored, send it again."""
    return refusal(
        RequestRefused(Reason.STORAGE_UNAVAILABLE, "the events are not stored, send them again later"),
        request_id,
    )
