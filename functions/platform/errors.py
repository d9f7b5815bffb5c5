"""Everything that can go wrong, and the HTTP status of each refusal."""

from enum import StrEnum
from http import HTTPStatus

# What reading an answer raises that is not the service's. botocore raises these too, for JSON of the wrong shape.
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)


class TransientError(Exception):
    """A failure that a retry can repair. The state machine retries its subclasses by name (pipeline.asl.json)."""


class WarehouseUnavailable(TransientError):
    """Snowflake did not answer, or refused the connection."""


class StorageUnavailable(TransientError):
    """S3 or Firehose did not answer."""


class EndpointBusy(TransientError):
    """Another caller is creating or updating the SageMaker endpoint."""


class GoldenMismatch(Exception):
    """The endpoint's answers differ from the golden sessions of the model's archive."""


class CanaryWorse(Exception):
    """A figure of the candidate is worse than that of the current release. The message names it."""


class CanaryWithdrawn(Exception):
    """A rollback took the candidate of a running canary back."""


class NothingToRollBackTo(Exception):
    """No earlier release is kept."""


class RequestRefused(Exception):
    """A request that the caller must change before sending it again."""

    def __init__(self, reason: "Reason", message: str) -> None:
        """Keep the machine-readable reason beside the sentence for people."""
        super().__init__(message)
        self.reason = reason
        self.message = message


class Reason(StrEnum):
    """Machine-readable reasons of a refusal; docs/events.md explains them to shops."""

    WRONG_KEY = "wrong_key"
    WRONG_SECRET_KEY = "wrong_secret_key"
    SECRET_KEYS_UNAVAILABLE = "secret_keys_unavailable"
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
    GLOBAL_PRIVACY_CONTROL = "global_privacy_control"
    EVENT_TOO_OLD = "event_too_old"
    TOO_MANY_LINES = "too_many_lines"
    LINE_NOT_JSON = "line_not_json"
    LINE_TOO_LARGE = "line_too_large"
    FIELD_UNKNOWN = "field_unknown"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    PARAMETER_INVALID = "parameter_invalid"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    SHOP_NOT_SERVED = "shop_not_served"
    NO_MODEL_YET = "no_model_yet"
    MODEL_UNAVAILABLE = "model_unavailable"


def http_status(reason: Reason) -> HTTPStatus:
    """Return the status of a response that refuses the whole request."""
    match reason:
        case Reason.WRONG_KEY:
            return HTTPStatus.FORBIDDEN
        case Reason.WRONG_SECRET_KEY:
            return HTTPStatus.UNAUTHORIZED
        case Reason.IDEMPOTENCY_KEY_REUSED:
            return HTTPStatus.CONFLICT
        case Reason.BODY_TOO_LARGE:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        case (
            Reason.STORAGE_UNAVAILABLE
            | Reason.SECRET_KEYS_UNAVAILABLE
            | Reason.NO_MODEL_YET
            | Reason.MODEL_UNAVAILABLE
        ):
            return HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            return HTTPStatus.BAD_REQUEST
