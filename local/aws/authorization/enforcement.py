"""The gate in front of all services: it finds the principal of a request and refuses what its policies do not allow."""

from __future__ import annotations

import io
import json
import logging
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from moto.core.request import Request as HttpRequest
from moto.core.routing import get_service_router
from werkzeug.exceptions import NotFound

from local.aws.authorization import operations, record, roles, sessions
from local.aws.authorization.operations import Request, UnknownOperation
from local.aws.authorization.policies import Call, UnsupportedPolicy
from local.aws.authorization.sessions import AccessDenied, Session
from local.aws.settings import Settings
from local.environment import SNOWFLAKE_USER_ARN

log = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# Paths of the local stack and of moto itself, which belong to no service.
_OWN_PATHS = ("/_local/", "/moto-api/")
_SCOPE = re.compile(r"Credential=(?P<key>[^/,]+)/\d{8}/(?P<region>[^/,]+)/(?P<service>[^/,]+)/aws4_request")
# The name in the signature -> botocore's name, for services whose operation is in the path.
_REST_SERVICES = {"lambda": "lambda", "s3": "s3", "xray": "xray"}
_MISSING_KEY_OPERATIONS = ("GetObject", "HeadObject", "CopyObject", "UploadPartCopy")


def install(settings: Settings) -> None:
    """Open the roles and the record. Do this before any service starts work."""
    sessions.install(roles.open_roles(settings))
    record.install(settings)


def in_front_of(app: Application) -> Application:
    """Return a WSGI application that forwards to `app` what the principal of the request may do."""

    def authorized_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(_OWN_PATHS):
            return app(environ, start_response)
        scope = _scope(environ)
        if scope is None:
            return _refused(environ, start_response, "s3", "AccessDenied", "Access Denied")
        access_key, service = scope
        if access_key in sessions.USERS:
            return _as_user(app, environ, start_response, sessions.USERS[access_key], service)
        session = sessions.find(access_key)
        if session is None or _token(environ) != session.token:
            return _unknown_principal(environ, start_response, service, access_key)
        return _as_role(app, environ, start_response, session, service)

    return authorized_app


def _as_user(
    app: Application,
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    user_arn: str,
    service: str,
) -> Iterable[bytes]:
    """Let the administrator do everything, and any user assume the roles that trust it."""
    request = read(environ, service) if service == "sts" else None
    if request is not None and request.operation == "AssumeRole":
        role_arn = request.parameters["RoleArn"]
        sent = {"sts:ExternalId": request.parameters.get("ExternalId")}
        context = {key: value for key, value in sent.items() if value is not None}
        if sessions.may_assume(user_arn, role_arn, context):
            return app(environ, start_response)
        message = f"User: {user_arn} is not authorized to perform: sts:AssumeRole on resource: {role_arn}"
        return _denied(environ, start_response, service, message)
    # Snowflake's queues are in its own account, which shares the queues of this one.
    if user_arn == sessions.ADMINISTRATOR or (user_arn == SNOWFLAKE_USER_ARN and service == "sqs"):
        return app(environ, start_response)
    message = f"User: {user_arn} is not authorized to use {service} in this account. Assume a role first."
    return _denied(environ, start_response, service, message)


def _as_role(
    app: Application,
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    session: Session,
    service: str,
) -> Iterable[bytes]:
    try:
        request = read(environ, service)
        if (service, request.operation) == ("sts", "GetCallerIdentity"):  # needs no permission
            return app(environ, start_response)
        calls = operations.needed(request)
    except UnknownOperation as error:
        log.error("%s was refused: %s", session.arn, error)
        return _denied(environ, start_response, service, str(error))
    if request.operation == "DeleteObjects":
        return _delete_objects(app, environ, start_response, session, request)
    try:
        session.require(*calls)
    except (AccessDenied, UnsupportedPolicy) as error:
        return _denied(environ, start_response, service, str(error))
    if service == "s3" and request.operation in _MISSING_KEY_OPERATIONS:
        return _hide_missing_key(app, environ, start_response, session, request)
    return app(environ, start_response)


def read(environ: dict[str, Any], service: str) -> Request:
    """Return operation and parameters of a request.

    Raises:
        UnknownOperation: the request matches no operation of the service.
    """
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_X_AMZ_")
    }
    target = headers.get("x-amz-target")
    if target is not None:
        body = _body(environ)
        return Request(service, target.rpartition(".")[2], json.loads(body or b"{}"), headers, body)
    rest = "sagemaker-runtime" if service == "sagemaker" else _REST_SERVICES.get(service)
    if rest is not None:
        return _read_rest(environ, service, rest, headers)
    fields = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    body = _body(environ)
    fields |= dict(parse_qsl(body.decode(), keep_blank_values=True))
    if "Action" not in fields:
        raise UnknownOperation(
            f"The local AWS cannot find the operation of a request to {service} with the path "
            f"{environ['PATH_INFO']}. Add the service to local/aws/authorization/enforcement.py."
        )
    return Request(service, fields["Action"], fields, headers, body)


def _read_rest(environ: dict[str, Any], service: str, model: str, headers: dict[str, str]) -> Request:
    try:
        operation, in_path = get_service_router(model).match(HttpRequest(environ))
    except NotFound:
        raise UnknownOperation(
            f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} is no operation of {model}. "
            "Check the client of the request."
        ) from None
    in_query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    # The one operation whose resources are in the body.
    body = _body(environ) if operation.name == "DeleteObjects" else b""
    return Request(service, operation.name, {**in_query, **in_path}, headers, body)


def _scope(environ: dict[str, Any]) -> tuple[str, str] | None:
    """Return access key and service of a signature in the header or in a presigned URL; None without a signature."""
    text = environ.get("HTTP_AUTHORIZATION", "")
    if not text:
        query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        if "AWSAccessKeyId" in query:  # botocore presigns URLs of S3 by version 2 of the signature
            return query["AWSAccessKeyId"], "s3"
        text = f"Credential={query.get('X-Amz-Credential', '')}"
    found = _SCOPE.search(text)
    return (found["key"], found["service"].lower()) if found else None


def _token(environ: dict[str, Any]) -> str | None:
    """Return the session token in the header or in a presigned URL."""
    if "HTTP_X_AMZ_SECURITY_TOKEN" in environ:
        return str(environ["HTTP_X_AMZ_SECURITY_TOKEN"])
    query = parse_qsl(environ.get("QUERY_STRING", ""))
    return {name.lower(): value for name, value in query}.get("x-amz-security-token")


def _body(environ: dict[str, Any]) -> bytes:
    """Return the body and leave it readable for the service."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _hide_missing_key(
    app: Application,
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    session: Session,
    request: Request,
) -> Iterable[bytes]:
    """Answer 403 instead of 404 for a missing key, if the principal may not list it."""
    started: list[tuple[Any, ...]] = []
    chunks = app(environ, lambda *arguments: started.append(arguments))
    if started[0][0].startswith("404"):
        is_copy = "x-amz-copy-source" in request.headers
        bucket, key = (
            operations.copy_source(request)
            if is_copy
            else (request.parameters["Bucket"], request.parameters["Key"])
        )
        try:
            session.require(operations.list_of_missing_key(bucket, key))
        except AccessDenied as error:
            return _denied(environ, start_response, "s3", str(error))
    start_response(*started[0])
    return chunks


def _delete_objects(
    app: Application,
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    session: Session,
    request: Request,
) -> Iterable[bytes]:
    """Delete the allowed keys and report the others in the response, as S3 does."""
    denied: dict[str, str] = {}
    bucket = request.parameters["Bucket"]
    for key in operations.keys_to_delete(request):
        try:
            session.require(Call("s3:DeleteObject", operations.object_arn(bucket, key)))
        except (AccessDenied, UnsupportedPolicy) as error:
            denied[key] = str(error)
    if not denied:
        return app(environ, start_response)
    deleted = b""
    if keys := [key for key in operations.keys_to_delete(request) if key not in denied]:
        objects = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
        body = f"<Delete>{objects}</Delete>".encode()
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        response = ElementTree.fromstring(b"".join(app(environ, lambda *_: None)))
        deleted = b"".join(ElementTree.tostring(one) for one in response.iterfind("{*}Deleted"))
    errors = "".join(
        f"<Error><Key>{escape(key)}</Key><Code>AccessDenied</Code><Message>{escape(message)}</Message></Error>"
        for key, message in denied.items()
    )
    content = b"<DeleteResult>" + deleted + errors.encode() + b"</DeleteResult>"
    return _reply(start_response, "200 OK", "application/xml", content)


def _denied(
    environ: dict[str, Any], start_response: Callable[..., Any], service: str, message: str
) -> Iterable[bytes]:
    code = {"s3": "AccessDenied", "sns": "AuthorizationError"}.get(service)
    if code is None:
        code = "AccessDeniedException" if _speaks_json(environ, service) else "AccessDenied"
    return _refused(environ, start_response, service, code, message)


def _unknown_principal(
    environ: dict[str, Any], start_response: Callable[..., Any], service: str, access_key: str
) -> Iterable[bytes]:
    log.warning("a request to %s has the unknown access key %s", service, access_key)
    if service == "s3":
        message = "The AWS Access Key Id you provided does not exist in our records."
        return _refused(environ, start_response, service, "InvalidAccessKeyId", message)
    message = "The security token included in the request is invalid."
    code = "UnrecognizedClientException" if _speaks_json(environ, service) else "InvalidClientTokenId"
    return _refused(environ, start_response, service, code, message)


def _speaks_json(environ: dict[str, Any], service: str) -> bool:
    return "HTTP_X_AMZ_TARGET" in environ or service in ("lambda", "sagemaker", "xray")


def _refused(
    environ: dict[str, Any], start_response: Callable[..., Any], service: str, code: str, message: str
) -> Iterable[bytes]:
    """Send an error in the form of the service's protocol."""
    if "HTTP_X_AMZ_TARGET" in environ:
        content = json.dumps({"__type": code, "Message": message}).encode()
        return _reply(start_response, "400 Bad Request", "application/x-amz-json-1.1", content)
    if _speaks_json(environ, service):
        content = json.dumps({"Message": message}).encode()
        return _reply(
            start_response, "403 Forbidden", "application/json", content, ("x-amzn-ErrorType", code)
        )
    error = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
    if service == "s3":
        text = f"<Error>{error}<RequestId>{uuid.uuid4()}</RequestId></Error>"
    else:
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error>"
            f"<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
        )
    content = b"" if environ["REQUEST_METHOD"] == "HEAD" else text.encode()
    return _reply(start_response, "403 Forbidden", "application/xml", content)


def _reply(
    start_response: Callable[..., Any], status: str, kind: str, content: bytes, *headers: tuple[str, str]
) -> list[bytes]:
    standard = [
        ("Content-Type", kind),
        ("Content-Length", str(len(content))),
        ("x-amzn-RequestId", str(uuid.uuid4())),
    ]
    start_response(status, [*standard, *headers])
    return [content]
