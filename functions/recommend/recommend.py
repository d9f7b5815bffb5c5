"""Recommend: the endpoint's items if they arrive in time, else the fallback's, with their source and the reason."""

import json
from typing import Any, NamedTuple

from functions.platform.errors import Reason, RequestRefused
from functions.platform.log import get_logger
from functions.platform.settings import RecommendSettings
from functions.recommend.fallback import FallbackCache
from functions.recommend.request import RecommendRequest
from functions.recommend.served import ServedEndpoint

log = get_logger(__name__)

FALLBACK_VARIANT = "fallback"


class Recommendation(NamedTuple):
    """A carousel's items, best first, and where they come from."""

    items: list[dict[str, Any]]
    source: str
    reason: str
    model_version: str
    variant: str


def recommend(
    request: RecommendRequest,
    settings: RecommendSettings,
    endpoint: Any,
    s3: Any,
    served: ServedEndpoint,
    fallback: FallbackCache,
) -> Recommendation:
    """Return up to `request.k` items for the session.

    Args:
        request: the session's items, and the items to exclude.
        settings: the models bucket, and the endpoint of a stage without a release.
        endpoint: a sagemaker-runtime client with the time limit of the settings.
        s3: the client that the release and the fallback are read with.
        served: the endpoint's name, cached in this execution environment.
        fallback: the fallback, cached there too.

    Raises:
        RequestRefused: NO_MODEL_YET, before the first model is published.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    name = served.get(s3, settings.models_bucket, settings.endpoint)
    try:
        return _invoke(request, name, endpoint)
    except ClientError as error:
        cause = error.response["Error"]["Code"]
        if cause == "ValidationError":  # there is no endpoint of this name
            served.forget()
    except BotoCoreError as error:
        cause = type(error).__name__
    except (KeyError, ValueError, TypeError) as error:
        cause = f"unreadable answer: {type(error).__name__}"
    log.warning("the endpoint failed, the fallback answers", endpoint=name, cause=cause)
    known = fallback.get(s3, settings.models_bucket)
    if known is None:
        raise RequestRefused(
            Reason.NO_MODEL_YET, "no model is published yet: run the pipeline once (make run), then ask again"
        )
    excluded = {*request.exclude, *request.items[-1:]}
    items, source = known.pick(request.items, request.k, excluded)
    return Recommendation(
        [{"item_id": item, "score": 0.0} for item in items],
        source,
        f"endpoint: {cause}",
        known.model_version,
        FALLBACK_VARIANT,
    )


def _invoke(request: RecommendRequest, endpoint_name: str, endpoint: Any) -> Recommendation:
    body = {"items": request.items, "k": request.k, "exclude": request.exclude}
    response = endpoint.invoke_endpoint(
        EndpointName=endpoint_name,
        ContentType="application/json",
        Accept="application/json",
        Body=json.dumps(body).encode(),
    )
    parsed = json.loads(response["Body"].read())
    items = [{"item_id": str(item["item_id"]), "score": float(item["score"])} for item in parsed["items"]]
    if not items:
        raise ValueError("no items")
    variant = str(response.get("InvokedProductionVariant", "unknown"))
    return Recommendation(items, "model", str(parsed["reason"]), str(parsed["model_version"]), variant)
