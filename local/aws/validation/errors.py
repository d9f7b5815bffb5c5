"""The errors with which services refuse an invalid request. Their codes and their wording differ."""

from __future__ import annotations

from collections.abc import Sequence

from botocore.model import OperationModel, ServiceModel
from moto.core.exceptions import ServiceException
from moto.s3.exceptions import S3ClientError

from local.aws.validation.constraints import Violation

# The services' framework answers with ValidationException (JSON) or ValidationError (query) unless a service is listed here.
_CODES = {
    "apigateway": "BadRequestException",
    "cloudwatch": "ValidationError",
    "codebuild": "InvalidInputException",
    "ecr": "InvalidParameterException",
    "logs": "InvalidParameterException",
    "sagemaker-runtime": "ValidationError",
    "xray": "InvalidRequestException",
}
_UNREADABLE_CODES = {
    "json": "SerializationException",
    "rest-json": "SerializationException",
    "query": "MalformedInput",
}
_NOT_OUR_SCHEMA = "The XML you provided was not well-formed or did not validate against our published schema"


class Refused(ServiceException):
    """The error of a service that is not S3. moto looks up a service for each error class of its own modules."""


def invalid(
    service: ServiceModel, operation: OperationModel, violations: Sequence[Violation]
) -> ServiceException:
    """Return the error for a request that violates constraints."""
    if service.protocol == "rest-xml":
        return _invalid_in_s3(operation, violations[0])
    code = _CODES.get(service.service_name)
    if code is None:
        code = "ValidationError" if service.protocol == "query" else "ValidationException"
    if service.service_name == "ecr":
        return Refused(code, "; ".join(map(_ecr_clause, violations)))
    count = "1 validation error" if len(violations) == 1 else f"{len(violations)} validation errors"
    return Refused(code, f"{count} detected: {'; '.join(map(_clause, violations))}")


def unreadable(service: ServiceModel, reason: Exception) -> ServiceException:
    """Return the error for a request that cannot be parsed."""
    if service.protocol == "rest-xml":
        return S3ClientError("MalformedXML", _NOT_OUR_SCHEMA)
    if service.service_name == "lambda":
        return Refused("InvalidRequestContentException", f"Could not parse request body into json: {reason}")
    return Refused(_UNREADABLE_CODES.get(service.protocol, "SerializationException"), str(reason))


def _clause(violation: Violation) -> str:
    value = "Value" if violation.value is None else f"Value {violation.value}"
    return f"{value} at '{violation.path}' failed to satisfy constraint: {violation.constraint}"


def _ecr_clause(violation: Violation) -> str:
    constraint = violation.constraint.removeprefix("Member ")
    if (pattern := constraint.removeprefix("must satisfy regular expression pattern: ")) != constraint:
        constraint = f"must satisfy regular expression '{pattern}'"
    return f"Invalid parameter at '{violation.path}' failed to satisfy constraint: '{constraint}'"


def _invalid_in_s3(operation: OperationModel, violation: Violation) -> ServiceException:
    member = operation.input_shape.members[violation.member]
    if "location" in member.serialization:
        return S3ClientError("InvalidArgument", f"Invalid argument: {_clause(violation)}")
    return S3ClientError("MalformedXML", _NOT_OUR_SCHEMA)
