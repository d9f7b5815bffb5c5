"""The hook that validates each request before moto handles it, and the same check for calls inside this process."""

from __future__ import annotations

import functools
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.model import OperationModel, ServiceModel
from moto.core.request import determine_request_protocol
from moto.core.responses import ActionResult, BaseResponse
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from moto.s3.responses import S3Response
from werkzeug.exceptions import NotFound

from local.aws.validation import errors
from local.aws.validation.constraints import Constraints, Violation
from local.aws.validation.parsers import PARSERS, UNREADABLE


def install() -> None:
    """Validate every request of every service. S3 does not use moto's common method, so it has a hook of its own."""
    call_action, parse = BaseResponse.call_action, BaseResponse.parse_parameters

    def validate_and_call(self: BaseResponse) -> Any:
        try:
            _check(self)
        except ServiceException as error:
            status, headers, body = self.serialized(ActionResult(error))
            headers, body = self._enrich_response(headers, body)
            return status, headers, body
        return call_action(self)

    def parse_parameters(self: BaseResponse, request: Any) -> None:
        try:
            parse(self, request)
        except (AttributeError, TypeError, ValueError):
            self.params = {}  # the validation parses again, and refuses the request

    BaseResponse.call_action = validate_and_call
    BaseResponse.parse_parameters = parse_parameters
    for name in ("_bucket_response", "_key_response"):
        setattr(S3Response, name, _checked(getattr(S3Response, name)))


def check(service_name: str, operation_name: str, parameters: dict[str, Any]) -> None:
    """Validate a call that a local service makes inside this process.

    Raises:
        ServiceException: the call violates constraints, with the error of its service.
    """
    found = violations(service_name, operation_name, parameters)
    if found:
        service = get_service_model(service_name)
        raise errors.invalid(service, service.operation_model(operation_name), found)


def violations(
    service_name: str, operation_name: str, parameters: dict[str, Any], partial_request: bool = False
) -> list[Violation]:
    """Return the constraints that parameters of a call do not meet."""
    operation = get_service_model(service_name).operation_model(operation_name)
    return _constraints(service_name).violations(operation, parameters, partial_request)


@functools.cache
def _constraints(service_name: str) -> Constraints:
    return Constraints()


def _checked(respond: Any) -> Any:
    def check_and_respond(self: S3Response, request: Any, full_url: str) -> Any:
        _check(self)
        return respond(self, request, full_url)

    return check_and_respond


def _check(response: BaseResponse) -> None:
    """Validate the request of one response.

    Raises:
        ServiceException: the request cannot be parsed, or it violates constraints.
    """
    name = response.boto3_service_name
    try:
        operation, uri_parameters = get_service_router(name).match(response.normalized_request)
    except NotFound:
        return  # moto refuses an operation that it does not have
    service = get_service_model(name)
    try:
        parameters = _parameters(response, service, operation, uri_parameters)
    except UNREADABLE as error:
        raise errors.unreadable(service, error) from error
    found = _constraints(name).violations(operation, parameters)
    if found:
        raise errors.invalid(service, operation, found)


def _parameters(
    response: BaseResponse, service: ServiceModel, operation: OperationModel, uri_parameters: dict[str, Any]
) -> dict[str, Any]:
    request = response.normalized_request
    parser = PARSERS[determine_request_protocol(service, request.content_type)](operation)
    parsed: dict[str, Any] = parser.parse(
        {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": response.body,
            "url_path": request.path,
            "url_params": uri_parameters,
        }
    )
    payload = operation.input_shape and operation.input_shape.serialization.get("payload")
    if payload and operation.input_shape.members[payload].type_name == "blob":
        parsed.setdefault(payload, response.body)  # moto's parser omits an empty body
    return parsed
