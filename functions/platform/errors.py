"""Everything that can go wrong, each a sentence, and what the caller sees of it."""

from enum import StrEnum
from http import HTTPStatus


class TransientError(Exception):
    """Worth another try: the state machine retries these by name (statemachine/pipeline.asl.json)."""


class WarehouseUnavailable(TransientError):
    """Snowflake did not answer, or refused the connection for now."""


class StorageUnavailable(TransientError):
    """S3 or Firehose did not take or give the data."""


class EndpointBusy(TransientError):
    """The SageMaker endpoint is still being created or updated by somebody else."""


class GoldenMismatch(Exception):
    """The endpoint answers otherwise than the archive's golden sessions say it must."""


class NothingToRollBackTo(Exception):
    """No earlier endpoint configuration is kept."""


class RequestRefused(Exception):
    """A request the caller must change before sending it again."""

    def __init__(self, reason: "Reason", message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Reason(StrEnum):
    """Machine-readable reasons of a refusal; docs/events.md lists them for shops."""

    WRONG_KEY = "wrong_key"
    BODY_EMPTY = "body_empty"
    BODY_TOO_LARGE = "body_too_large"
    BODY_NOT_JSON = "body_not_json"
    BODY_NOT_A_BATCH = "body_not_a_batch"
    TOO_MANY_EVENTS = "too_many_events"
    EVENT_NOT_AN_OBJECT = "event_not_an_object"
    EVENT_TOO_LARGE = "event_too_large"
    FIELD_MISSING = "field_missing"
    FIELD_INVALID = "field_invalid"
    TEXT_INVALID = "text_invalid"
    UNKNOWN_EVENT_NAME = "unknown_event_name"
    UNKNOWN_SCHEMA_VERSION = "unknown_schema_version"
    UNKNOWN_SHOP = "unknown_shop"
    CLIENT_TIME_IN_FUTURE = "client_time_in_future"
    PARAMETER_INVALID = "parameter_invalid"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    NO_MODEL_YET = "no_model_yet"


def http_status(reason: Reason) -> HTTPStatus:
    """The status of a response whose whole request was refused for this reason."""
    match reason:
        case Reason.WRONG_KEY:
            return HTTPStatus.FORBIDDEN
        case Reason.BODY_TOO_LARGE:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        case Reason.STORAGE_UNAVAILABLE | Reason.NO_MODEL_YET:
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            return HTTPStatus.BAD_REQUEST
