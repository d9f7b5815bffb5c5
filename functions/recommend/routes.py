"""The route of /recommend: from a request to a response."""

import time

from chalice.app import Response

from functions.platform.errors import RequestRefused
from functions.platform.http import ApiRequest, refusal, success
from functions.platform.receipt import issue
from functions.platform.receipt_keys import ReceiptKeys
from functions.platform.time_box import Deadline
from functions.recommend.recommend import Recommendation, Recommender, recommend
from functions.recommend.request import RecommendRequest, Session, parse_request


def answer_recommend(
    request: ApiRequest, recommender: Recommender, receipt_keys: ReceiptKeys, deadline: Deadline
) -> Response:
    """Return 200 with items, 400 for an invalid request, 503 before the first model or without S3."""
    try:
        asked = parse_request(request)
        found = recommend(asked, recommender, deadline)
    except RequestRefused as refused:
        return refusal(refused, request.request_id)
    body = {**found._asdict(), "request_id": request.request_id}
    # A receipt links the answer to the session's events. A person who opted out has none.
    opted_out = request.privacy_control and recommender.settings.global_privacy_control == "obey"
    # Without a key there is no receipt, and the carousel is still shown.
    if asked.session and not opted_out and (key := receipt_keys.signing()):
        body["receipt"] = _receipt(found, request.request_id, asked, asked.session, key)
    return success(body)


def _receipt(
    found: Recommendation, request_id: str, asked: RecommendRequest, session: Session, key: bytes
) -> str:
    return issue(
        request_id,
        session.shop_id,
        session.session_id,
        found.model_version,
        found.variant,
        (item["item_id"] for item in found.items),
        int(time.time()),
        key,
        asked.placement,
    )
