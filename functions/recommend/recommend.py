"""Recommend: the items of a placement from the endpoint if they arrive in time, or from lists, with source and reason."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from functions.platform import metrics
from functions.platform.contract import MetricValues
from functions.platform.endpoint import endpoint_name
from functions.platform.errors import UNREADABLE, Reason, RequestRefused
from functions.platform.log import get_logger
from functions.platform.metrics import ComparedRelease
from functions.platform.refreshed import Refreshed
from functions.platform.settings import RecommendSettings
from functions.platform.time_box import Deadline, DeadlinePassed, call_until
from functions.recommend.canary import asked_release, count
from functions.recommend.experiments import Assigned, Shop
from functions.recommend.fallback import Fallback
from functions.recommend.lists import ANSWERS, OWN_LISTS, Known, given, related_or_popular
from functions.recommend.recommendation import FALLBACK_VARIANT, NO_MODEL, TABLE_VARIANT, Recommendation
from functions.recommend.request import RecommendRequest
from functions.recommend.rules.arrange import Placed, Scored
from functions.recommend.served import Served
from functions.recommend.steering import CANDIDATES_MAX, PerShop, Sources, Steering, steering_of
from functions.recommend.tables import Tables

log = get_logger(__name__)

# A new execution environment reads the release's record, the rules with the products, and the fallback, each within this time.
STORED_S = 1.0
# A shop without a release reads the record again if the last reading is older: its first run may have ended a moment ago.
UNSERVED_S = 1.0
NO_ARM = Assigned()


class FallbackReason(StrEnum):
    """The kinds of causes for which the fallback answers, as a dimension of the metric Fallbacks."""

    TIMEOUT = "timeout"
    ENDPOINT_MISSING = "endpoint_missing"
    THROTTLED = "throttled"
    MODEL_ERROR = "model_error"
    ACCESS_DENIED = "access_denied"
    UNAVAILABLE = "unavailable"
    UNREADABLE_ANSWER = "unreadable_answer"
    OTHER = "other"


class EarlierModel(Exception):
    """The endpoint serves a model of an earlier release, which answers every request with what comes next."""


UNREADABLE_ANSWER = "unreadable answer"
# What the endpoint is asked for besides what comes next.
TASKS = frozenset({"similar", "rerank"})
ReadLists = Callable[[], Fallback | None]
FIRST_DAY = "the shop has no model yet: the catalogue answers"
# The codes of https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html and botocore's errors.
FALLBACK_REASONS = {
    "DeadlinePassed": FallbackReason.TIMEOUT,
    "ReadTimeoutError": FallbackReason.TIMEOUT,
    "ConnectTimeoutError": FallbackReason.TIMEOUT,
    "ValidationError": FallbackReason.ENDPOINT_MISSING,
    "ThrottlingException": FallbackReason.THROTTLED,
    "ModelError": FallbackReason.MODEL_ERROR,
    "AccessDeniedException": FallbackReason.ACCESS_DENIED,
    "EndpointConnectionError": FallbackReason.UNAVAILABLE,
    "ConnectionClosedError": FallbackReason.UNAVAILABLE,
    "InternalDependencyException": FallbackReason.UNAVAILABLE,
    "InternalFailure": FallbackReason.UNAVAILABLE,
    "ModelNotReadyException": FallbackReason.UNAVAILABLE,
    "ServiceUnavailable": FallbackReason.UNAVAILABLE,
}


@dataclass(frozen=True)
class Recommender:
    """The endpoint of a shop and what stands in for it.

    `endpoint` is a sagemaker-runtime client, `served` the release on record, `sources` the rules and products of shops,
    `tables` those of their placements.
    """

    settings: RecommendSettings
    shop_id: str
    endpoint: Any
    served: Refreshed[Served]
    fallback: Refreshed[Fallback]
    experiments: Mapping[str, Shop] = field(default_factory=dict)
    sources: Sources | None = None
    tables: PerShop[Tables] | None = None


def recommend(
    request: RecommendRequest,
    recommender: Recommender,
    deadline: Deadline,
    assigned: Assigned = NO_ARM,
    clock: Callable[[], float] = time.time,
) -> Recommendation:
    """Return `request.k` items for the session, or fewer where the shop's rules and products leave no more.

    It takes at most `endpoint_timeout_ms`, and in a new execution environment up to three times `STORED_S` more. A placement
    that needs no model takes at most four times `STORED_S` there, and no time of the endpoint.

    Args:
        request: the session's items, and the items to exclude.
        recommender: the settings, the endpoint and the fallback.
        deadline: the end of this Lambda's time.
        assigned: the client's arms. The model is asked in every arm, so all arms take the same time and fail alike.
        clock: the time in seconds since 1970, at which rules and prices hold.

    Raises:
        RequestRefused: SHOP_NOT_SERVED, if the stage has no model of the shop and trains none; NO_MODEL_YET, before the
            first model of a shop without a catalogue; MODEL_UNAVAILABLE, if a new execution environment gets no answer of
            the endpoint and none of S3.
    """
    recommender.fallback.begin()
    served = _served(recommender, deadline)
    steering = _steering(recommender, deadline)
    # The request as the model and the lists get it: with enough candidates for the rules.
    asked = _asked(request, steering)

    def read_lists() -> Fallback | None:
        return _lists(recommender, steering, asked.items, deadline)

    if request.answered_by in ANSWERS:
        found, cause = _from_lists(asked, recommender, read_lists, deadline), ""
    else:
        found, cause = _from_model(asked, request.k, served, recommender, read_lists, deadline)
    found = _answer_of_arm(found, assigned, asked, recommender, deadline)
    if steering and assigned.treatment != "none":
        found = steered(
            found,
            steering,
            request,
            asked,
            read_lists,
            round(clock() * 1000),
        )
        if len(found.items) < request.k and request.answered_by not in OWN_LISTS:
            log.warning(
                "the rules left an answer short", items=len(found.items), k=request.k, rules=found.rules
            )
    else:
        found = found._replace(items=found.items[: request.k])
    # The visitor's own lists are empty for a new visitor, so that is no failure.
    is_empty = not (found.items or assigned.treatment == "none" or request.answered_by in OWN_LISTS)
    _count(recommender, is_empty, served, fallback_reason(cause) if cause else None)
    return found


def _asked(request: RecommendRequest, steering: Steering | None) -> RecommendRequest:
    """Return the request with the number of candidates, and with the items that its placement considers."""
    k = steering.candidates(request.k) if steering else request.k
    if request.answered_by == "rerank":
        return request._replace(k=len(request.candidates))
    if request.answered_by == "home":
        return request._replace(k=k, items=[*request.history, *request.items])
    if request.answered_by == "bought_together":
        # Nobody needs a product of the basket a second time.
        return request._replace(k=k, exclude=[*request.exclude, *request.items])
    return request._replace(k=k)


def _from_lists(
    asked: RecommendRequest, recommender: Recommender, read_lists: ReadLists, deadline: Deadline
) -> Recommendation:
    """Return the answer of a placement that needs no model.

    Raises:
        RequestRefused: NO_MODEL_YET or MODEL_UNAVAILABLE, if the placement needs lists and none could be read.
    """
    is_own = asked.answered_by in OWN_LISTS
    tables = None if asked.answered_by == "recently_viewed" else _tables(recommender, deadline)
    fallback = None if is_own else read_lists()
    if fallback is None and tables is None and not is_own:
        raise _without_fallback(recommender)
    return ANSWERS[asked.answered_by](asked, Known(fallback, tables))


def _tables(recommender: Recommender, deadline: Deadline) -> Tables | None:
    """Return the tables of the shop's placements."""
    if not recommender.tables:
        return None
    return recommender.tables.of(recommender.shop_id).get(deadline.at_most(STORED_S))


def _from_model(
    asked: RecommendRequest,
    wanted: int,
    served: Served | None,
    recommender: Recommender,
    read_lists: ReadLists,
    deadline: Deadline,
) -> tuple[Recommendation, str]:
    """Return the model's answer, or the fallback's and the cause. Before the first model, the catalogue answers, for no cause.

    Raises:
        RequestRefused: NO_MODEL_YET or MODEL_UNAVAILABLE, if there is neither an answer nor a fallback.
    """
    settings = recommender.settings
    if asked.answered_by == "similar" and not asked.items:
        known = _require(read_lists(), recommender)
        return related_or_popular(known, asked, [], "no item to compare with", TABLE_VARIANT), ""
    name = (
        served.endpoint
        if served
        else endpoint_name(settings.prefix, recommender.shop_id, settings.endpoint_kind)
    )
    until = deadline.at_most(settings.endpoint_timeout_ms / 1000)
    found, cause = _ask_release(asked, min(wanted, asked.k), name, served, recommender, until)
    if found:
        return found, ""
    reason = f"endpoint: {cause}"
    if _is_first_day(served, recommender, cause):
        if asked.answered_by == "rerank":
            return given(asked, FIRST_DAY, TABLE_VARIANT), ""
    else:
        log.warning("the endpoint failed, the fallback answers", endpoint=name, cause=cause)
    if asked.answered_by == "rerank":
        return given(asked, reason, FALLBACK_VARIANT), cause
    known = _require(read_lists(), recommender)
    if known.model_version == NO_MODEL:
        return related_or_popular(known, asked, asked.items, FIRST_DAY, TABLE_VARIANT), ""
    return related_or_popular(known, asked, asked.items, reason, FALLBACK_VARIANT), cause


def _is_first_day(served: Served | None, recommender: Recommender, cause: str) -> bool:
    """Return True if the shop has no endpoint because nothing was released yet."""
    was_released = served is not None or bool(recommender.served.failure)
    return not was_released and fallback_reason(cause) is FallbackReason.ENDPOINT_MISSING


def _lists(
    recommender: Recommender, steering: Steering | None, items: Sequence[str], deadline: Deadline
) -> Fallback | None:
    """Return the lists of the release on record; before the shop's first one, those of its catalogue."""
    found = recommender.fallback.get(deadline.at_most(STORED_S))
    if found is None and not recommender.fallback.failure and steering and steering.products.first_day:
        return steering.products.first_day.lists(items)
    return found


def _require(found: Fallback | None, recommender: Recommender) -> Fallback:
    if found is None:
        raise _without_fallback(recommender)
    return found


def _served(recommender: Recommender, deadline: Deadline) -> Served | None:
    """Return the shop's release on record.

    Raises:
        RequestRefused: there is none, and the stage trains no model of the shop.
    """
    served = recommender.served.get(deadline.at_most(STORED_S))
    shop_id = recommender.shop_id
    if (
        served is None
        and not recommender.served.failure
        and shop_id not in recommender.settings.trained_shops
    ):
        recommender.served.read_again(UNSERVED_S, deadline.at_most(STORED_S))
        served = recommender.served.get(deadline.at_most(STORED_S))
        if served is None and not recommender.served.failure:
            raise not_served(shop_id, recommender.settings)
    return served


def not_served(shop_id: str, settings: RecommendSettings) -> RequestRefused:
    """Return the refusal of a shop of which the stage has no model."""
    how = (
        f"train one with make run SHOP={shop_id}"
        if shop_id in settings.shops
        else "add it to the stage's shops in deploy/stages.toml, or use the stage that serves it"
    )
    return RequestRefused(
        Reason.SHOP_NOT_SERVED, f"stage {settings.stage} has no model of the shop {shop_id}: {how}"
    )


def _steering(recommender: Recommender, deadline: Deadline) -> Steering | None:
    """Return the rules and products of the shop."""
    if not recommender.sources:
        return None
    return steering_of(recommender.sources, recommender.shop_id, deadline.at_most(STORED_S))


def steered(
    found: Recommendation,
    steering: Steering,
    request: RecommendRequest,
    asked: RecommendRequest,
    read_fallback: ReadLists,
    now_ms: int,
) -> Recommendation:
    """Return the answer that the shop's rules make of the candidates. Only an answer with free slots reads the fallback."""
    known = {one["item_id"]: one for one in found.items}
    own_list = request.answered_by in OWN_LISTS

    def candidates() -> Iterator[Sequence[Scored]]:
        yield [(one["item_id"], one["score"]) for one in found.items]
        fallback = read_fallback()
        if fallback:
            every = asked._replace(k=len(fallback.popular) + CANDIDATES_MAX)
            more = related_or_popular(fallback, every, asked.items, "", "").items
            known.update({one["item_id"]: one for one in more if one["item_id"] not in known})
            yield [(one["item_id"], one["score"]) for one in more]

    limits = request._replace(exclude=asked.exclude)
    arranged = steering.apply(limits, now_ms, candidates(), own_list)
    items = [_item(one, known, request.because) for one in arranged.items]
    effects = [{"id": rule_id, **counts} for rule_id, counts in arranged.effects.items()]
    reason = found.reason if items else "the shop's rules leave no item"
    return found._replace(
        items=items, reason=reason, rules=effects, rules_revision=steering.rules.rule_set.revision
    )


def _item(placed: Placed, known: Mapping[str, dict[str, Any]], because: bool) -> dict[str, Any]:
    """Return an item as the answer has it."""
    item = dict(known.get(placed.item_id, {"item_id": placed.item_id, "score": placed.score}))
    if placed.pinned_by:
        item["pinned_by"] = placed.pinned_by
    if placed.explored_by:
        item["explored_by"] = placed.explored_by
    if because:
        given = {"kind": "pinned"} if placed.pinned_by else {"kind": "new"} if placed.explored_by else None
        item["because"] = given or item.get("because", {"kind": "popular"})
    return item


def _answer_of_arm(
    found: Recommendation,
    assigned: Assigned,
    request: RecommendRequest,
    recommender: Recommender,
    deadline: Deadline,
) -> Recommendation:
    """Return the answer of the client's arm instead of the model's.

    While the fallback's lists cannot be read, their arms get the model's answer: they count where they were assigned.
    """
    if assigned.treatment == "model":
        return found
    arm = assigned.assignments[-1]
    reason = f"experiment {arm.experiment}, arm {arm.arm}"
    if assigned.treatment == "none":
        return found._replace(items=[], source="none", reason=reason, variant="none")
    if request.answered_by == "rerank":
        return given(request, reason, assigned.treatment)
    if request.answered_by in OWN_LISTS:
        return found
    known = recommender.fallback.get(deadline.at_most(STORED_S))
    if known is None:
        return found
    items = request.items if assigned.treatment == "related" else []
    return related_or_popular(known, request, items, reason, assigned.treatment)


def fallback_reason(cause: str) -> FallbackReason:
    """Return the kind of a cause. Codes and errors are many, and each value of a dimension is billed."""
    if cause.startswith(UNREADABLE_ANSWER):
        return FallbackReason.UNREADABLE_ANSWER
    return FALLBACK_REASONS.get(cause, FallbackReason.OTHER)


def _count(
    recommender: Recommender, is_empty: bool, served: Served | None, reason: FallbackReason | None
) -> None:
    values: MetricValues = {
        "Recommendations": 1,
        "Fallbacks": 0 if reason is None else 1,
        "EmptyAnswers": int(is_empty),
    }
    age_hours = served.age_hours(time.time()) if served else None
    if age_hours is not None:
        values["ModelAgeHours"] = round(age_hours, 3)
    metrics.write(recommender.settings.stage, values, reason, shop=recommender.shop_id)


def _without_fallback(recommender: Recommender) -> RequestRefused:
    if failure := recommender.fallback.failure:
        return RequestRefused(
            Reason.MODEL_UNAVAILABLE,
            f"neither the model nor its fallback can be read now ({failure}): ask again in some seconds",
        )
    return RequestRefused(
        Reason.NO_MODEL_YET,
        f"no model of shop {recommender.shop_id} is published yet: run the pipeline once "
        f"(make run SHOP={recommender.shop_id}), or send the catalogue (PUT /catalogue), then ask again",
    )


def _ask_release(
    request: RecommendRequest,
    wanted: int,
    name: str,
    served: Served | None,
    recommender: Recommender,
    deadline: Deadline,
) -> tuple[Recommendation | None, str]:
    """Return the answer of the release that the session asks, or None and the cause. During a canary, count it.

    An answer with fewer items than the shopper's page `wanted` counts as short.

    If the candidate fails, the current release is asked in the remaining time: a bad candidate costs few carousels.
    """
    candidate = served.candidate if served else None
    if candidate is None:
        return _ask(request, name, recommender, deadline)
    release, began_s = asked_release(candidate, request.session), time.monotonic()
    is_candidate = release is ComparedRelease.CANDIDATE
    found, cause = _ask(request, candidate.endpoint if is_candidate else name, recommender, deadline)
    if is_candidate and found and found.model_version != candidate.model_version:
        # The record was read before a later run began to use the endpoint. Its model is not proved yet.
        return _ask(request, name, recommender, deadline)
    timed_out = found is None and fallback_reason(cause) is FallbackReason.TIMEOUT
    items = len(found.items) if found else None
    stage, shop_id = recommender.settings.stage, recommender.shop_id
    count(stage, shop_id, release, wanted, items, timed_out, time.monotonic() - began_s)
    if found is not None:
        return found._replace(variant=release.value), ""
    return _ask(request, name, recommender, deadline) if is_candidate else (None, cause)


def _ask(
    request: RecommendRequest, name: str, recommender: Recommender, deadline: Deadline
) -> tuple[Recommendation | None, str]:
    """Return the endpoint's answer, or None and the cause."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return call_until(deadline, lambda: _invoke(request, name, recommender.endpoint)), ""
    except DeadlinePassed as error:
        return None, type(error).__name__
    except ClientError as error:
        cause = str(error.response["Error"]["Code"])
        if cause == "ValidationError":  # there is no endpoint of this name
            recommender.served.forget()
        return None, cause
    except BotoCoreError as error:
        return None, type(error).__name__
    except EarlierModel as error:
        return None, type(error).__name__
    except UNREADABLE as error:
        return None, f"{UNREADABLE_ANSWER}: {type(error).__name__}"


def _invoke(request: RecommendRequest, endpoint_name: str, endpoint: Any) -> Recommendation:
    body: dict[str, Any] = {"items": request.items, "k": request.k, "exclude": request.exclude}
    if request.because:
        body["because"] = True
    task = request.answered_by if request.answered_by in TASKS else None
    if task:
        body["task"] = task
    if task == "rerank":
        body["candidates"] = request.candidates
    response = endpoint.invoke_endpoint(
        EndpointName=endpoint_name,
        ContentType="application/json",
        Accept="application/json",
        Body=json.dumps(body).encode(),
    )
    parsed = json.loads(response["Body"].read())
    if task and parsed.get("task") != task:
        raise EarlierModel
    items: list[dict[str, Any]] = [
        {"item_id": str(item["item_id"]), "score": float(item["score"])}
        # Of a model of an earlier release, no item says what brought it.
        | ({"because": dict(item["because"])} if request.because and "because" in item else {})
        for item in parsed["items"][: request.k]
    ]
    if not items:
        raise ValueError("no items")
    if not all(math.isfinite(item["score"]) for item in items):
        raise ValueError("a score is no number, which JSON cannot express")
    variant = str(response.get("InvokedProductionVariant", "unknown"))
    return Recommendation(items, "model", str(parsed["reason"]), str(parsed["model_version"]), variant)
