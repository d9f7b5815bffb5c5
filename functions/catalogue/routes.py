"""The route of PUT /catalogue: from a request to a response."""

import time

from chalice.app import Response

from functions.catalogue.batch import parse_batch
from functions.catalogue.intake import Intake, store
from functions.platform.contract import CATALOGUE_IDEMPOTENCY_KEY_MAX_CHARACTERS
from functions.platform.errors import Reason, RequestRefused, StorageUnavailable
from functions.platform.http import ApiRequest, refusal, success
from functions.platform.log import get_logger
from functions.platform.secret_keys import SecretKeys
from functions.platform.settings import CollectSettings

log = get_logger(__name__)


def answer_catalogue(
    request: ApiRequest,
    authorization: str | None,
    idempotency_key: str | None,
    keys: SecretKeys,
    settings: CollectSettings,
    intake: Intake,
) -> Response:
    """Return 200 with the counts, 4xx if the whole body was refused, 503 if nothing was stored."""
    received_at_ms = time.time_ns() // 1_000_000
    try:
        shop_id = _shop(authorization, keys, settings)
        claim = _checked(idempotency_key)
        batch = parse_batch(request.body, shop_id)
        if batch.changes:
            received_at_ms = store(batch, shop_id, received_at_ms, claim, intake)
    except RequestRefused as refused:
        return refusal(refused, request.request_id)
    except StorageUnavailable:
        log.exception("catalogue changes not stored")
        message = "the changes are not stored, send them again later"
        return refusal(RequestRefused(Reason.STORAGE_UNAVAILABLE, message), request.request_id)
    log.info(
        "catalogue changed", shop_id=shop_id, products=len(batch.changes), accepted=batch.accepted,
        refused=len(batch.refused),
    )  # fmt: skip
    return success(
        {
            "accepted": batch.accepted,
            "refused": [refused._asdict() for refused in batch.refused],
            "received_at_ms": received_at_ms,
            "request_id": request.request_id,
        }
    )


def _shop(authorization: str | None, keys: SecretKeys, settings: CollectSettings) -> str:
    """Return the shop of the secret key."""
    if authorization is None:
        raise RequestRefused(
            Reason.WRONG_SECRET_KEY,
            "the secret key is missing: send 'Authorization: Bearer <secret key>' with a key of make secret-key",
        )
    shop_id = keys.shop_of(authorization)
    if shop_id not in settings.shops:
        raise RequestRefused(
            Reason.WRONG_SECRET_KEY,
            f"the secret key is of shop {shop_id!r}, which this stage no longer lists: ask its operator",
        )
    return shop_id


def _checked(idempotency_key: str | None) -> str | None:
    if idempotency_key is None:
        return None
    if not 1 <= len(idempotency_key) <= CATALOGUE_IDEMPOTENCY_KEY_MAX_CHARACTERS:
        raise RequestRefused(
            Reason.PARAMETER_INVALID,
            f"Idempotency-Key has 1 to {CATALOGUE_IDEMPOTENCY_KEY_MAX_CHARACTERS} characters, such as a UUID",
        )
    return idempotency_key
