"""Recommend: the endpoint's answer if it comes in time, else the fallback's; always with where it came from and why."""

import json
from typing import Any, NamedTuple

from functions.errors import Reason, RequestRefused
from functions.log import get_logger
from functions.recommend.fallback import FallbackCache
from functions.recommend.request import Question
from functions.settings import RecommendSettings

log = get_logger(__name__)

FALLBACK_VARIANT = "fallback"


class Answer(NamedTuple):
    """A carousel's items, best first, and its provenance."""

    items: list[dict[str, Any]]
    source: str
    reason: str
    model_version: str
    variant: str

    def as_json(self, request_id: str) -> dict[str, Any]:
        return {**self._asdict(), "request_id": request_id}


def recommend(
    question: Question, settings: RecommendSettings, endpoint: Any, s3: Any, fallback: FallbackCache
) -> Answer:
    """`question.k` items for the session.

    Args:
        endpoint: a sagemaker-runtime client that gives up within the settings' time box.

    Raises:
        RequestRefused: NO_MODEL_YET, before the first model is published.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return _ask(question, settings.endpoint, endpoint)
    except ClientError as error:
        why = error.response["Error"]["Code"]
    except BotoCoreError as error:
        why = type(error).__name__
    except (KeyError, ValueError, TypeError) as error:
        why = f"unreadable answer: {type(error).__name__}"
    log.warning("the endpoint did not answer", endpoint=settings.endpoint, why=why)
    known = fallback.get(s3, settings.models_bucket)
    if known is None:
        raise RequestRefused(
            Reason.NO_MODEL_YET, "no model is published yet: run the pipeline once (make run), then ask again"
        )
    exclude = {*question.exclude, *question.items[-1:]}
    picked, source = known.pick(question.items, question.k, exclude)
    return Answer(
        [{"item_id": item, "score": 0.0} for item in picked],
        source,
        f"endpoint: {why}",
        known.model_version,
        FALLBACK_VARIANT,
    )


def _ask(question: Question, name: str, endpoint: Any) -> Answer:
    answer = endpoint.invoke_endpoint(
        EndpointName=name,
        ContentType="application/json",
        Accept="application/json",
        Body=json.dumps({"items": question.items, "k": question.k, "exclude": question.exclude}).encode(),
    )
    parsed = json.loads(answer["Body"].read())
    items = [{"item_id": str(item["item_id"]), "score": float(item["score"])} for item in parsed["items"]]
    if not items:
        raise ValueError("no items")
    variant = str(answer.get("InvokedProductionVariant", "unknown"))
    return Answer(items, "model", str(parsed["reason"]), str(parsed["model_version"]), variant)
