"""Requests in and responses out of the REST API, the same for every route."""

from typing import Any, NamedTuple

from chalice.app import Request, Response

from functions.platform.errors import Reason, RequestRefused, http_status
from functions.platform.log import bind

RETRY_AFTER_S = 5
# A wrong key needs a human. Clients keep their events and retry every 10 minutes.
WRONG_KEY_RETRY_AFTER_S = 600
# A secret key that was issued a moment ago is unknown until the keys are read again (functions/platform/secret_keys.py).
WRONG_SECRET_KEY_RETRY_AFTER_S = 10
NO_STORE: dict[str, str | list[str]] = {"Cache-Control": "no-store"}


class ApiRequest(NamedTuple):
    """An HTTP request without its address, cookies and headers, none of which may be stored.

    `privacy_control` is True if the person asks that nothing be sold or shared: https://www.w3.org/TR/gpc/
    """

    request_id: str
    method: str
    query: dict[str, str]
    body: bytes
    privacy_control: bool = False


def read_request(request: Request | None) -> ApiRequest:
    """Read Chalice's request, and bind its id to every later log line."""
    if request is None:
        raise RuntimeError("read_request() was called outside a request")
    request_id = request.context["requestId"]
    bind(request_id=request_id)
    body = request.raw_body or b""
    return ApiRequest(
        request_id,
        request.method,
        dict(request.query_params or {}),
        body.encode() if isinstance(body, str) else body,
        _has_privacy_control(request.to_original_event().get("multiValueHeaders")),
    )


def _has_privacy_control(headers: dict[str, list[str]] | None) -> bool:
    """Return True if one Sec-GPC header is exactly 1. The specification has no other value."""
    return any(
        name.lower() == "sec-gpc"
        and "1" in (value.strip() for joined in values for value in joined.split(","))
        for name, values in (headers or {}).items()
    )


def success(body: dict[str, Any]) -> Response:
    """Return a 200 response that no cache keeps."""
    return Response(body=body, status_code=200, headers=NO_STORE)


def refusal(refused: RequestRefused, request_id: str) -> Response:
    """Return the refusal's status, reason and message, with Retry-After where a retry can succeed."""
    status = http_status(refused.reason)
    headers = dict(NO_STORE)
    if refused.reason is Reason.WRONG_KEY:
        headers["Retry-After"] = str(WRONG_KEY_RETRY_AFTER_S)
    elif refused.reason is Reason.WRONG_SECRET_KEY:
        headers["Retry-After"] = str(WRONG_SECRET_KEY_RETRY_AFTER_S)
        headers["WWW-Authenticate"] = "Bearer"
    elif status >= 500:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    error = {"reason": refused.reason.value, "message": refused.message}
    return Response(body={"error": error, "request_id": request_id}, status_code=status, headers=headers)


def unavailable(request_id: str) -> Response:
    """Return 503: nothing was stored, and the client must send the events again."""
    return refusal(
        RequestRefused(Reason.STORAGE_UNAVAILABLE, "the events are not stored, send them again later"),
        request_id,
    )
