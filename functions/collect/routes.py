"""The collector's routes: from a request to a response."""

from collections import Counter
from collections.abc import Iterable

from chalice.app import Response

from functions.collect.collect import Collected, collect_batch, collect_pixel
from functions.collect.origin import Origin
from functions.platform import metrics
from functions.platform.contract import MetricValues
from functions.platform.errors import Reason, RequestRefused, StorageUnavailable
from functions.platform.events.intake import Intake
from functions.platform.http import NO_STORE, ApiRequest, refusal, success, unavailable
from functions.platform.log import get_logger
from functions.platform.secret_keys import SecretKeys

log = get_logger(__name__)

REFUSED_HEADER = "X-Tugboat-Refused"
# A transparent GIF of one pixel. Every byte is below 0x80, so API Gateway passes it as text for every Accept header.
# As a binary body it would need a media type that matches the first one that a browser accepts.
GIF = "GIF89a\x01\x00\x01\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01\x2c\x00\x3b"


def answer_batch(
    request: ApiRequest, origin: Origin, intake: Intake, authorization: str | None, secret_keys: SecretKeys
) -> Response:
    """Return 200 with the counts, 4xx if the whole body was refused, 503 if nothing was stored."""
    if _is_opted_out(request, intake):
        # The body is not even read. An answer of 200 keeps senders from trying again.
        counts = {"accepted": 0, "refused": [], "not_stored": Reason.GLOBAL_PRIVACY_CONTROL.value}
        return success({**counts, "request_id": request.request_id})
    try:
        trusted_shop = None if authorization is None else secret_keys.shop_of(authorization)
        collected = collect_batch(request, origin, intake, trusted_shop=trusted_shop)
    except RequestRefused as refused:
        _count(intake, 0, [refused.reason])
        return refusal(refused, request.request_id)
    except StorageUnavailable:
        log.exception("events not stored")
        return unavailable(request.request_id)
    _count_collected(intake, collected)
    return success({**collected.as_json(), "request_id": request.request_id})


def answer_pixel(request: ApiRequest, origin: Origin, intake: Intake) -> Response:
    """Return 200 with the GIF, always: a mail cannot handle an error. A header names the reason of a refusal."""
    headers: dict[str, str | list[str]] = {"Content-Type": "image/gif", **NO_STORE}
    if _is_opted_out(request, intake):
        headers[REFUSED_HEADER] = Reason.GLOBAL_PRIVACY_CONTROL.value
        return Response(body=GIF, status_code=200, headers=headers)
    try:
        collected = collect_pixel(request, origin, intake)
        _count_collected(intake, collected)
        if collected.refused:
            headers[REFUSED_HEADER] = collected.refused[0].reason
    except RequestRefused as refused:
        _count(intake, 0, [refused.reason])
        headers[REFUSED_HEADER] = refused.reason.value
    except StorageUnavailable:
        log.exception("pixel event not stored")
        headers[REFUSED_HEADER] = Reason.STORAGE_UNAVAILABLE.value
    return Response(body=GIF, status_code=200, headers=headers)


def _count_collected(intake: Intake, collected: Collected) -> None:
    _count(intake, collected.accepted, (Reason(refused.reason) for refused in collected.refused))
    for release, clicks in collected.clicks.items():
        metrics.write(intake.settings.stage, {"Clicks": clicks}, release=release, shop=collected.shop_id)


def _count(intake: Intake, accepted: int, refused: Iterable[Reason]) -> None:
    """Write the metrics of a request. Its refused body counts as one refused event."""
    values: MetricValues = {"EventsAccepted": accepted}
    metrics.count_by_reason(intake.settings.stage, "EventsRefused", Counter(refused), values)


def _is_opted_out(request: ApiRequest, intake: Intake) -> bool:
    """Return True if the person's browser says that nothing may be shared, and the stage obeys."""
    if not request.privacy_control or intake.settings.global_privacy_control != "obey":
        return False
    log.info("not stored: Global Privacy Control")
    return True
