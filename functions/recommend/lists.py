"""Answers without the model: from the release's lists, or from the visitor's own.

docs/decisions/0071-placements.md says why each placement is answered as it is.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from functions.recommend.fallback import Fallback
from functions.recommend.recommendation import NO_MODEL, OWN_VARIANT, TABLE_VARIANT, Recommendation
from functions.recommend.request import RecommendRequest
from functions.recommend.tables import Tables

# What answers these placements shows a list that somebody else chose: nothing may be added to it.
OWN_LISTS = frozenset({"recently_viewed", "buy_again", "rerank"})
# A table can be missing: the release is older than tables, or S3 does not answer.
NO_TABLE = "this release has no table of it"


class Known(NamedTuple):
    """The lists of the release, or None where they could not be read."""

    fallback: Fallback | None
    tables: Tables | None


def related_or_popular(
    known: Fallback, request: RecommendRequest, items: Sequence[str], reason: str, variant: str
) -> Recommendation:
    """Return items of the fallback's lists: related to the last known one of `items`, then popular ones."""
    excluded = {*request.exclude, *request.items[-1:]}
    picked, source = known.pick(list(items), request.k, excluded)
    listed: list[dict[str, Any]] = [{"item_id": item, "score": 0.0} for item in picked]
    if request.because:
        anchor, related = known.related_to(list(items))
        for one in listed:
            is_related = one["item_id"] in related
            one["because"] = (
                {"kind": "related", "item_id": anchor} if is_related else {"kind": known.popular_because}
            )
    return Recommendation(listed, source, reason, known.model_version, variant)


def given(request: RecommendRequest, reason: str, variant: str) -> Recommendation:
    """Return the candidates in the order of the shop."""
    items = _distinct(request.candidates, request.exclude)
    return Recommendation([_item(item) for item in items], "given", reason, NO_MODEL, variant)


def recently_viewed(request: RecommendRequest, known: Known) -> Recommendation:
    """Return the visitor's own views, the last one first."""
    views = [*request.history, *request.items]
    items = [
        _item(item, because={"kind": "again"} if request.because else None)
        for item in _distinct(reversed(views), request.exclude)
    ]
    return Recommendation(items, "viewed", f"{len(views)} views of the visitor", NO_MODEL, OWN_VARIANT)


def buy_again(request: RecommendRequest, known: Known) -> Recommendation:
    """Return what the visitor bought, first what customers buy repeatedly, and of equals the last bought first."""
    tables = known.tables
    rate = tables.repurchase_rate if tables else lambda item: 0.0
    newest_first = _distinct(reversed(request.bought), request.exclude)
    items = [
        _item(item, rate(item), {"kind": "bought"} if request.because else None)
        for item in sorted(newest_first, key=lambda item: -rate(item))
    ]
    reason = f"{len(newest_first)} products that the visitor bought"
    version, variant = (tables.model_version, TABLE_VARIANT) if tables else (NO_MODEL, OWN_VARIANT)
    return Recommendation(items, "bought", reason, version, variant)


def bought_together(request: RecommendRequest, known: Known) -> Recommendation:
    """Return what orders contain together with the items, then what is related to the last one of them."""
    excluded = {*request.exclude, *request.items}
    strengths: dict[str, dict[str, float]] = {}
    for item in dict.fromkeys(request.items):
        for other, strength in known.tables.bought_together.get(item, ()) if known.tables else ():
            if other not in excluded:
                strengths.setdefault(other, {})[item] = strength
    totals = {other: sum(of.values()) for other, of in strengths.items()}
    best = sorted(totals, key=lambda other: -totals[other])[: request.k]
    items = [
        _item(
            other,
            totals[other],
            {"kind": "bought_with", "item_id": max(strengths[other], key=lambda item: strengths[other][item])}
            if request.because
            else None,
        )
        for other in best
    ]
    reason = f"{len(best)} products of orders with the items" if known.tables else NO_TABLE
    return _filled(items, "bought_together", reason, request, known)


def popular(request: RecommendRequest, known: Known) -> Recommendation:
    """Return the popular items of a category, then of the categories above it; first the rising ones, if asked."""
    excluded = {*request.exclude, *request.items[-1:]}
    found = dict[str, str]()
    for item, name in known.tables.popular_in(request.category, request.rising) if known.tables else ():
        if item not in excluded:
            found.setdefault(item, name)
    because = {"kind": "popular"} if request.because else None
    items = [_item(item, because=because) for item in list(found)[: request.k]]
    source = next(iter(found.values()), "popular")
    place = f"the category {request.category}" if request.category else "the shop"
    reason = f"{source} in {place}" if known.tables else NO_TABLE
    return _filled(items, source, reason, request, known)


ANSWERS: dict[str, Callable[[RecommendRequest, Known], Recommendation]] = {
    "recently_viewed": recently_viewed,
    "buy_again": buy_again,
    "bought_together": bought_together,
    "popular": popular,
}


def _filled(
    items: list[dict[str, Any]], source: str, reason: str, request: RecommendRequest, known: Known
) -> Recommendation:
    """Return the items of a table, and further ones of the fallback's lists if there are fewer than asked for."""
    version = known.tables.model_version if known.tables else NO_MODEL
    if len(items) < request.k and known.fallback:
        asked = request.items if source == "bought_together" else []
        chosen = [one["item_id"] for one in items]
        more = related_or_popular(
            known.fallback,
            request._replace(k=request.k - len(items), exclude=[*request.exclude, *chosen]),
            asked,
            "",
            "",
        )
        version = version if known.tables else more.model_version
        source = source if items else more.source
        items = [*items, *more.items]
    return Recommendation(items, source, reason, version, TABLE_VARIANT)


def _distinct(items: Iterable[str], exclude: Sequence[str]) -> list[str]:
    excluded = frozenset(exclude)
    return [item for item in dict.fromkeys(items) if item not in excluded]


def _item(item: str, score: float = 0.0, because: dict[str, str] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"item_id": item, "score": round(score, 6)}
    return found | {"because": because} if because else found
