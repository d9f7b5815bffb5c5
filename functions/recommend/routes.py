"""The route of /recommend: from a request to a response."""

import time
from dataclasses import dataclass
from typing import Any

from chalice.app import Response

from functions.platform.errors import RequestRefused
from functions.platform.http import ApiRequest, refusal, success
from functions.platform.receipt import issue
from functions.platform.receipt_keys import ReceiptKeys
from functions.platform.settings import RecommendSettings
from functions.recommend.fallback import FallbackCache
from functions.recommend.recommend import Recommendation, recommend
from functions.recommend.request import Session, parse_request
from functions.recommend.served import ServedEndpoint

_fallback = FallbackCache()
_served = ServedEndpoint()


@dataclass(frozen=True)
class RecommendServices:
    """Settings, clients and receipt keys of the route."""

    settings: RecommendSettings
    endpoint: Any
    s3: Any
    receipt_keys: ReceiptKeys


def answer_recommend(request: ApiRequest, services: RecommendServices) -> Response:
    """Return 200 with items, 400 for an invalid request, 503 before the first model."""
    try:
        asked = parse_request(request)
        found = recommend(asked, services.settings, services.endpoint, services.s3, _served, _fallback)
    except RequestRefused as refused:
        return refusal(refused, request.request_id)
    body = {**found._asdict(), "request_id": request.request_id}
    # Without a key there is no receipt, and the carousel is still shown.
    if asked.session and (key := services.receipt_keys.signing()):
        body["receipt"] = _receipt(found, request.request_id, asked.session, key)
    return success(body)


def _receipt(found: Recommendation, request_id: str, session: Session, key: bytes) -> str:
    return issue(
        request_id,
        session.shop_id,
        session.session_id,
        found.model_version,
        found.variant,
        (item["item_id"] for item in found.items),
        int(time.time()),
        key,
    )
