"""The collector's routes: from a call to a response."""

from typing import Any

from chalice.app import Response

from functions.collect.collector import GIF, Storage, collect_batch, collect_pixel
from functions.errors import Reason, RequestRefused, StorageUnavailable
from functions.http import NO_STORE, Call, answer, refusal, unavailable
from functions.log import get_logger
from functions.receipt_keys import ReceiptKeys
from functions.settings import CollectSettings

log = get_logger(__name__)

REFUSED_HEADER = "X-Tugboat-Refused"


def take_batch(
    call: Call, settings: CollectSettings, firehose: Any, s3: Any, receipt_keys: ReceiptKeys
) -> Response:
    """200 with what was accepted and refused; 4xx when nothing could be read; 503 when nothing was stored."""
    storage = Storage(firehose, s3)
    try:
        collected = collect_batch(
            call.body, call.query.get("key"), call.origin, call.request_id, settings, storage, receipt_keys
        )
    except RequestRefused as refused:
        return refusal(refused, call.request_id)
    except StorageUnavailable:
        log.exception("events not stored")
        return unavailable(call.request_id)
    return answer({**collected.as_json(), "request_id": call.request_id})


def take_pixel(
    call: Call, settings: CollectSettings, firehose: Any, s3: Any, receipt_keys: ReceiptKeys
) -> Response:
    """Always 200 with the GIF: a mail has no use for an error; a refusal's reason is in a header."""
    storage = Storage(firehose, s3)
    headers: dict[str, str | list[str]] = {"Content-Type": "image/gif", **NO_STORE}
    try:
        collected = collect_pixel(call.query, call.origin, call.request_id, settings, storage, receipt_keys)
        if collected.refused:
            headers[REFUSED_HEADER] = collected.refused[0].reason
    except RequestRefused as refused:
        headers[REFUSED_HEADER] = refused.reason.value
    except StorageUnavailable:
        log.exception("pixel event not stored")
        headers[REFUSED_HEADER] = Reason.STORAGE_UNAVAILABLE.value
    return Response(body=GIF, status_code=200, headers=headers)
