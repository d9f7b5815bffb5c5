"""The routes of /recommend: from a call to a response."""

from typing import Any

from chalice.app import Response

from functions.errors import RequestRefused
from functions.http import Call, answer, refusal
from functions.recommend.fallback import FallbackCache
from functions.recommend.recommender import recommend
from functions.recommend.request import Question, from_body, from_query
from functions.settings import RecommendSettings

_fallback = FallbackCache()


def recommend_by_query(call: Call, settings: RecommendSettings, endpoint: Any, s3: Any) -> Response:
    """GET: 200 with items, 400 for a parameter that cannot be read, 503 before the first model."""
    try:
        return _recommend(from_query(call.query), call, settings, endpoint, s3)
    except RequestRefused as refused:
        return refusal(refused, call.request_id)


def recommend_by_body(call: Call, settings: RecommendSettings, endpoint: Any, s3: Any) -> Response:
    """POST: the same for a JSON body."""
    try:
        return _recommend(from_body(call.body), call, settings, endpoint, s3)
    except RequestRefused as refused:
        return refusal(refused, call.request_id)


def _recommend(
    question: Question, call: Call, settings: RecommendSettings, endpoint: Any, s3: Any
) -> Response:
    found = recommend(question, settings, endpoint, s3, _fallback)
    return answer(found.as_json(call.request_id))
