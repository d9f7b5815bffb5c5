"""Replay sessions with the rules that are served now and with those of the file, and compare the carousels.

The endpoint is asked once per session. The code of /recommend then applies both sets of rules, to the fallback's lists too.
It does so now and at each begin or end of a rule's period; at every placement if a rule names one.
The visitor's own lists are left out: no session of the snapshot has them, and an empty one is no failure.
"""

import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from functions.platform.catalogue_state import CatalogueState
from functions.platform.contract import PLACEMENT_ANSWERS, PLACEMENT_DEFAULT, PLACEMENTS, RECOMMEND_K_DEFAULT
from functions.recommend.fallback import Fallback
from functions.recommend.lists import OWN_LISTS
from functions.recommend.request import RecommendRequest
from functions.recommend.rules.arrange import Arranged, Scored
from functions.recommend.rules.compiled import Rules
from functions.recommend.rules.facts import matcher
from functions.recommend.rules.model import Rule, RuleSet, Selector
from functions.recommend.steering import CANDIDATES_MAX, Products, Steering

CALLERS = 4
SHOWN = 50
# Begins and ends of periods that are tried, the next ones first.
MOMENTS_MAX = 8
MODEL, FALLBACK = "model", "fallback"
NEAREST_MAX = 3


class Case(NamedTuple):
    """One request: the session, the path that answers it, and its lists of candidates."""

    items: list[str]
    path: str
    lists: list[list[Scored]]

    def lists_of(self, placement: str) -> list[list[Scored]]:
        """Return the lists of a placement. Only what comes next has the model's candidates for the session."""
        return self.lists if PLACEMENT_ANSWERS[placement] in ("next", "home") else self.lists[-1:]


class Moment(NamedTuple):
    """A time at which rules are applied, and the placement."""

    now_ms: int
    placement: str


@dataclass(frozen=True)
class Change:
    """A carousel before and after, at the moment at which they differ most. `weight` is 0 for equal ones."""

    items: list[str]
    path: str
    moment: Moment
    before: Arranged
    after: Arranged
    weight: float


@dataclass
class Use:
    """The carousels that a rule touched in the replay, and its effects summed."""

    rule: Rule
    carousels: int = 0
    effects: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Replay:
    """The result of a replay. An `empty` carousel refuses the rules, a `short` one is a warning."""

    rule_set: RuleSet
    served: RuleSet
    source: str
    moments: list[Moment]
    cases: int
    carousels: int
    changed: int
    empty: list[Change]
    short: int
    uses: list[Use]
    warnings: list[str]
    changes: list[Change]


class Question(NamedTuple):
    """The sessions of a replay with the model's candidates for each, and the stage's fallback and catalogue."""

    sessions: list[list[str]]
    source: str
    candidates: list[list[Scored]]
    fallback: Fallback | None
    catalogue: CatalogueState | None


def ask_all(sessions: Sequence[list[str]], endpoint_name: str, endpoint: Any) -> list[list[Scored]]:
    """Return the endpoint's candidates for each session.

    Raises:
        BotoCoreError, ClientError: the endpoint does not answer.
    """

    def ask(items: list[str]) -> list[Scored]:
        body = json.dumps({"items": items, "k": CANDIDATES_MAX, "exclude": []}).encode()
        response = endpoint.invoke_endpoint(
            EndpointName=endpoint_name, ContentType="application/json", Body=body
        )
        return [
            (str(one["item_id"]), float(one["score"])) for one in json.loads(response["Body"].read())["items"]
        ]

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(ask, sessions))


def replay(
    question: Question, rule_set: RuleSet, served: RuleSet, now_ms: int, k: int = RECOMMEND_K_DEFAULT
) -> Replay:
    """Return the comparison of two sets of rules."""
    from functions.recommend.rules.reserve import Reserve

    catalogue = question.catalogue
    products = Products(catalogue, Reserve(catalogue) if catalogue else None)
    before, after = Steering(Rules(served), products), Steering(Rules(rule_set), products)
    moments = _moments(rule_set, served, now_ms)
    uses = {rule.id: Use(rule) for rule in rule_set.rules}
    changes: list[Change] = []
    empty: list[Change] = []
    short = changed = cases = 0
    for case in _cases(question):
        cases += 1
        best: Change | None = None
        for moment in moments:
            request = RecommendRequest(case.items, k, [], None, moment.placement)
            lists = case.lists_of(moment.placement)
            one = before.apply(request, moment.now_ms, lists)
            other = after.apply(request, moment.now_ms, lists)
            change = Change(case.items, case.path, moment, one, other, weight_of(one, other))
            for rule_id, effects in other.effects.items():
                if rule_id in uses:
                    uses[rule_id].carousels += 1
                    for effect, count in effects.items():
                        uses[rule_id].effects[effect] = uses[rule_id].effects.get(effect, 0) + count
            changed += change.weight > 0
            short += 0 < len(other.items) < k
            if not other.items:
                empty.append(change)
            if best is None or change.weight > best.weight:
                best = change
        if best and best.weight > 0 and case.path == MODEL:
            changes.append(best)
    changes.sort(key=lambda change: (-change.weight, change.items))
    warnings = [*_unmatched(rule_set, catalogue), *_unused(uses.values())]
    return Replay(
        rule_set, served, question.source, moments, cases, cases * len(moments), changed, empty, short,
        list(uses.values()), warnings, changes[:SHOWN],
    )  # fmt: skip


def weight_of(before: Arranged, after: Arranged) -> float:
    """Return how much two carousels differ: each slot with another item counts, the first slots most."""
    ids = [[one.item_id for one in arranged.items] for arranged in (before, after)]
    longest = max(map(len, ids))
    return sum(
        1 / math.log2(slot + 2)
        for slot in range(longest)
        if (ids[0][slot] if slot < len(ids[0]) else None) != (ids[1][slot] if slot < len(ids[1]) else None)
    )


def _cases(question: Question) -> Iterator[Case]:
    for items, candidates in zip(question.sessions, question.candidates, strict=True):
        popular: list[Scored] = []
        if question.fallback:
            popular = [
                (item_id, 0.0)
                for item_id in [*question.fallback.related_to(items)[1], *question.fallback.popular]
            ]
        yield Case(items, MODEL, [candidates, popular])
        yield Case(items, FALLBACK, [popular])


def _moments(rule_set: RuleSet, served: RuleSet, now_ms: int) -> list[Moment]:
    rules = [*rule_set.rules, *served.rules]
    ends = {
        time for rule in rule_set.rules for time in (rule.from_ms, rule.until_ms) if time and time > now_ms
    }
    times = [now_ms, *sorted(ends)[:MOMENTS_MAX]]
    names_place = any(rule.when and rule.when.placements for rule in rules)
    places = (
        [name for name in PLACEMENTS if PLACEMENT_ANSWERS[name] not in OWN_LISTS]
        if names_place
        else [PLACEMENT_DEFAULT]
    )
    return [Moment(time, place) for time in times for place in places]


def _unused(uses: Any) -> Iterator[str]:
    for use in uses:
        if not use.carousels:
            yield f"{use.rule.id} changed none of the replayed carousels"


def _unmatched(rule_set: RuleSet, catalogue: CatalogueState | None) -> Iterator[str]:
    """Yield a sentence per value that no product of the catalogue has: it is usually misspelt."""
    if catalogue is None:
        if any(one.criteria for rule in rule_set.rules for one in _matchers(rule)):
            yield "the shop has no catalogue yet, so rules on categories, brands, prices and stock do nothing"
        return
    known = {
        "category": {
            "/".join(text.split("/")[:levels])
            for text in catalogue.texts("category")
            for levels in range(1, text.count("/") + 2)
        },
        "brand": set(catalogue.texts("brand")),
        "group": set(catalogue.texts("item_group_id")),
    }
    for rule in rule_set.rules:
        for selector in selectors_of(rule):
            for name, values in known.items():
                for value in _listed(getattr(selector, name)):
                    if value.strip("/") not in values:
                        yield f"{rule.id}: no product has the {name} {value}{_near(value, values)}"
        for item_id in _items_of(rule):
            if catalogue.find(item_id) is None:
                yield f"{rule.id}: the catalogue has no item {item_id}"


def _near(value: str, known: set[str]) -> str:
    import difflib

    near = [one for one in known if one.casefold() == value.casefold()] or difflib.get_close_matches(
        value, sorted(known), NEAREST_MAX
    )
    return f" (there is {', '.join(sorted(near))})" if near else ""


def _matchers(rule: Rule) -> Iterator[Any]:
    return (one for one in map(matcher, selectors_of(rule)) if one.needs_facts)


def selectors_of(rule: Rule) -> Iterator[Selector]:
    """Yield every selector of a rule, exceptions included."""
    given = (
        rule.when.last_item if rule.when else None, rule.remove, rule.only,
        rule.boost.match if rule.boost else None, rule.bury.match if rule.bury else None,
        rule.limit.match if rule.limit else None, rule.never_with.match if rule.never_with else None,
        rule.never_with.with_ if rule.never_with else None,
    )  # fmt: skip
    for selector in given:
        if selector is not None:
            yield selector
            if selector.except_ is not None:
                yield selector.except_


def _items_of(rule: Rule) -> Iterator[str]:
    if rule.pin:
        yield from _listed(rule.pin.items)
    for selector in selectors_of(rule):
        yield from _listed(selector.items)


def _listed(values: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if values is None else (values,) if isinstance(values, str) else values
