"""The routes of /recommend: from a call to a response."""

import time
from typing import Any

from chalice.app import Response

from functions.errors import RequestRefused
from functions.http import Call, answer, refusal
from functions.receipt import issue
from functions.receipt_keys import ReceiptKeys
from functions.recommend.fallback import FallbackCache
from functions.recommend.recommender import Answer, recommend
from functions.recommend.request import Question, Visit, from_body, from_query
from functions.settings import RecommendSettings

_fallback = FallbackCache()


def recommend_by_query(
    call: Call, settings: RecommendSettings, endpoint: Any, s3: Any, keys: ReceiptKeys
) -> Response:
    """GET: 200 with items, 400 for a parameter that cannot be read, 503 before the first model."""
    try:
        return _recommend(from_query(call.query), call, settings, endpoint, s3, keys)
    except RequestRefused as refused:
        return refusal(refused, call.request_id)


def recommend_by_body(
    call: Call, settings: RecommendSettings, endpoint: Any, s3: Any, keys: ReceiptKeys
) -> Response:
    """POST: the same for a JSON body."""
    try:
        return _recommend(from_body(call.body), call, settings, endpoint, s3, keys)
    except RequestRefused as refused:
        return refusal(refused, call.request_id)


def _recommend(
    question: Question, call: Call, settings: RecommendSettings, endpoint: Any, s3: Any, keys: ReceiptKeys
) -> Response:
    found = recommend(question, settings, endpoint, s3, _fallback)
    body = found.as_json(call.request_id)
    # Without a key there is no receipt, and the carousel is shown all the same.
    if question.visit and (key := keys.signing()):
        body["receipt"] = _receipt(found, call.request_id, question.visit, key)
    return answer(body)


def _receipt(found: Answer, request_id: str, visit: Visit, key: bytes) -> str:
    return issue(
        request_id,
        visit.shop_id,
        visit.session_id,
        found.model_version,
        found.variant,
        (item["item_id"] for item in found.items),
        int(time.time()),
        key,
    )
