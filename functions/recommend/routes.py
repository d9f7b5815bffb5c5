"""The route of /recommend: from a request to a response."""

import time
from datetime import UTC, datetime

from chalice.app import Response

from functions.platform.errors import RequestRefused
from functions.platform.http import ApiRequest, refusal, success
from functions.platform.receipt import Labels, issue
from functions.platform.receipt_keys import ReceiptKeys
from functions.platform.time_box import Deadline
from functions.recommend.experiments import Assigned, Shop, assign
from functions.recommend.recommend import Recommender, recommend
from functions.recommend.recommendation import Recommendation
from functions.recommend.request import RecommendRequest, Session, parse_request
from functions.recommend.shops import Recommenders


def answer_recommend(
    request: ApiRequest, recommenders: Recommenders, receipt_keys: ReceiptKeys, deadline: Deadline
) -> Response:
    """Return 200 with items, 400 for an invalid request or an unserved shop, 503 before the first model or without S3."""
    try:
        asked = parse_request(request)
        recommender = recommenders.of(asked.shop)
        # A receipt links the answer to the session's events. A person who opted out has none, and is in no experiment.
        opted_out = request.privacy_control and recommender.settings.global_privacy_control == "obey"
        assigned = Assigned() if opted_out else _assigned(asked, recommender)
        found = recommend(asked, recommender, deadline, assigned)
    except RequestRefused as refused:
        return refusal(refused, request.request_id)
    body = {**found._asdict(), "request_id": request.request_id}
    if found.rules is None:
        del body["rules"]
    if not found.rules_revision:
        del body["rules_revision"]
    if assigned.assignments:
        body["experiments"] = [{"experiment": one.experiment, "arm": one.arm} for one in assigned.assignments]
    # Without a key there is no receipt, and the carousel is still shown.
    if asked.session and not opted_out and (key := receipt_keys.signing()):
        body["receipt"] = _receipt(found, request.request_id, asked, asked.session, assigned, key)
    return success(body)


def _assigned(asked: RecommendRequest, recommender: Recommender) -> Assigned:
    if asked.session is None:
        return Assigned()
    shop = recommender.experiments.get(asked.session.shop_id, Shop())
    return assign(shop, asked.session.client_id, asked.placement, datetime.now(UTC))


def _receipt(
    found: Recommendation,
    request_id: str,
    asked: RecommendRequest,
    session: Session,
    assigned: Assigned,
    key: bytes,
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
        Labels(
            asked.placement,
            assigned.assignments,
            session.client_id or "",
            found.rules_revision if found.rules else "",
            tuple(slot for slot, item in enumerate(found.items) if "explored_by" in item),
        ),
    )
