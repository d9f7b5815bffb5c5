"""Random rules on random catalogues: what docs/rules.md promises holds for every answer."""

import math
from collections import Counter
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from functions.platform.catalogue_state import CatalogueState
from functions.recommend.rules.arrange import Arranged, Scored, arrange
from functions.recommend.rules.compiled import Request, Rules
from functions.recommend.rules.model import OUT_OF_STOCK, Rule, decode
from functions.recommend.rules.reserve import Reserve
from tests.unit.functions.recommend.rules import shops

Lists = list[list[Scored]]
EXAMPLES = settings(max_examples=60, deadline=None)


def answer(rules: Rules, state: CatalogueState, request: Request, lists: Lists) -> Arranged:
    return arrange(rules, state, request, lists, Reserve(state))


def active(rules: Rules, request: Request, state: CatalogueState, *actions: str) -> list[Rule]:
    """Return the rules of a request with one of the actions, those of the highest priority first."""
    found = [one.rule for one in rules.prepared]
    return [rule for rule in found if rule.action in actions and shops.is_active(rule, request, state)]


def remover(rules: Rules, request: Request, state: CatalogueState, item_id: str) -> str | None:
    """Return the id of the first rule that removes an item."""
    product = state.product(item_id, shops.NOW_MS)
    if product is not None and not product.available:
        return OUT_OF_STOCK
    for rule in active(rules, request, state, "remove", "only"):
        if shops.is_removed(rule, item_id, product):
            return rule.id
    return None


def fits(
    rules: Rules, request: Request, state: CatalogueState, items: Iterable[str], item_id: str | None = None
) -> bool:
    """Return True if the limits and `never_with` hold for items, with one more item."""
    shown = [*items, *([item_id] if item_id else [])]
    products = {item: state.product(item, shops.NOW_MS) for item in [*shown, *request.items[-1:]]}
    for rule in active(rules, request, state, "limit"):
        assert rule.limit is not None
        values = [shops.value_of(rule.limit, item, products[item]) for item in shown]
        if any(count > rule.limit.max for value, count in Counter(values).items() if value is not None):
            return False
    for rule in active(rules, request, state, "never_with"):
        pair = rule.never_with
        assert pair is not None
        there = [*shown, *request.items[-1:]]
        left = [n for n, item in enumerate(there) if shops.matches(pair.match, item, products[item])]
        right = [n for n, item in enumerate(there) if shops.matches(pair.with_, item, products[item])]
        # An item of both sides may stand alone. The item being viewed is no part of the answer.
        if any(n != m and (n < len(shown) or m < len(shown)) for n in left for m in right):
            return False
    return True


def no_item_is_there_twice_or_excluded_or_removed(
    rules: Rules, state: CatalogueState, request: Request, lists: Lists
) -> None:
    items = [one.item_id for one in answer(rules, state, request, lists).items]
    assert len(items) == len(set(items)) <= request.k
    assert not {*items} & {*request.excluded, *request.items[-1:]}
    assert [item for item in items if remover(rules, request, state, item)] == []


def limits_and_never_with_hold_for_pins_too(
    rules: Rules, state: CatalogueState, request: Request, lists: Lists
) -> None:
    items = [one.item_id for one in answer(rules, state, request, lists).items]
    assert fits(rules, request, state, items)


def an_answer_is_short_only_if_no_product_could_be_added(
    rules: Rules, state: CatalogueState, request: Request, lists: Lists
) -> None:
    items = [one.item_id for one in answer(rules, state, request, lists).items]
    every = {item for scored in lists for item, _ in scored} | set(state.items())
    left = every - {*items, *request.excluded, *request.items[-1:]}
    allowed = [item for item in sorted(left) if remover(rules, request, state, item) is None]
    if len(items) < request.k:
        assert [item for item in allowed if fits(rules, request, state, items, item)] == []
    if not active(rules, request, state, "limit", "never_with", "pin"):
        assert len(items) == min(request.k, len(items) + len(allowed))


def pins_are_at_their_slots(rules: Rules, state: CatalogueState, request: Request, lists: Lists) -> None:
    arranged = answer(rules, state, request, lists)
    pins = {rule.id: rule.pin for rule in active(rules, request, state, "pin") if rule.pin}
    for place, one in enumerate(arranged.items):
        if one.pinned_by is None:
            continue
        pin = pins[one.pinned_by]
        assert one.item_id in shops.listed(pin.items)
        # Only an answer with free slots before it moves a pinned item.
        assert place == pin.slot - 1 or (place < pin.slot - 1 and len(arranged.items) < request.k)
    # The pin of the highest priority has its item, unless that may not be shown.
    for rule_id, pin in list(pins.items())[:1]:
        usable = [
            item
            for item in shops.listed(pin.items)
            if item not in {*request.excluded, *request.items[-1:]}
            and remover(rules, request, state, item) is None
            and fits(rules, request, state, [], item)
        ]
        found = [one.item_id for one in arranged.items if one.pinned_by == rule_id]
        assert found == (usable[:1] if pin.slot <= request.k else [])


def each_candidate_is_shown_removed_or_spare_and_removed_by_the_first_rule(
    rules: Rules, state: CatalogueState, request: Request, lists: Lists
) -> None:
    arranged = answer(rules, state, request, lists)
    pinned = {one.item_id for one in arranged.items if one.pinned_by}
    # What exploration takes from the whole catalogue is no candidate any more.
    listed = {item for item, _ in lists[0]}
    found = {one.item_id for one in arranged.items if one.explored_by and one.item_id not in listed}
    seen = {*request.excluded, *request.items[-1:], *pinned, *found}
    first = {item for item, _ in lists[0]} - seen
    second = {item for item, _ in lists[1]} - seen - first
    assert arranged.candidates in (len(first), len(first) + len(second))
    read = first if arranged.candidates == len(first) and first else first | second
    if arranged.candidates == len(first) != len(first | second):
        read = first
    removed = {rule_id: counts.get("removed", 0) for rule_id, counts in arranged.effects.items()}
    expected = Counter(remover(rules, request, state, item) for item in read)
    filters = [OUT_OF_STOCK, *(rule.id for rule in active(rules, request, state, "remove", "only"))]
    assert {one: removed.get(one, 0) for one in filters} == {one: expected.get(one, 0) for one in filters}
    shown = [one for one in arranged.items if one.item_id in read]
    assert len(shown) + sum(removed.values()) <= arranged.candidates
    effects = {
        "remove": "removed",
        "only": "removed",
        "limit": "removed",
        "never_with": "removed",
        "pin": "pinned",
        "boost": "boosted",
        "bury": "buried",
        "margin": "weighted",
        "diversify": "moved",
        "explore": "explored",
    }
    of_rule = {one.rule.id: {effects[one.rule.action]} for one in rules.prepared} | {
        OUT_OF_STOCK: {"removed"}
    }
    assert all(counts.keys() == of_rule[rule_id] for rule_id, counts in arranged.effects.items())
    assert all(count > 0 for counts in arranged.effects.values() for count in counts.values())


def exploration_is_bounded_and_shows_what_its_rule_matches(
    rules: Rules, state: CatalogueState, request: Request, lists: Lists
) -> None:
    items = answer(rules, state, request, lists).items
    explored = [(place, one) for place, one in enumerate(items) if one.explored_by]
    rule = next(iter(active(rules, request, state, "explore")), None)
    if rule is None or rule.explore is None:
        assert explored == []
        return
    assert len(explored) <= math.ceil(rule.explore.share * request.k)
    assert {one.explored_by for _, one in explored} <= {rule.id}
    assert all(place > 0 for place, _ in explored) or len(items) < request.k
    for _, one in explored:
        product = state.product(one.item_id, shops.NOW_MS)
        assert shops.matches(rule.explore.match, one.item_id, product)


def the_answer_is_the_same_again_and_after_storing_the_rules(
    rules: Rules, state: CatalogueState, request: Request, lists: Lists
) -> None:
    stored = Rules(decode(json.encode(rules.rule_set)))
    assert answer(rules, state, request, lists) == answer(stored, state, request, lists)


@EXAMPLES
@given(rules=shops.rule_sets, state=shops.catalogues, request=shops.requests, lists=shops.candidate_lists())
def test_what_the_documentation_promises_holds_for_every_answer(
    rules: Rules, state: CatalogueState, request: Request, lists: Lists
) -> None:
    """One test, because drawing a shop takes longer than checking it."""
    for check in (
        no_item_is_there_twice_or_excluded_or_removed,
        limits_and_never_with_hold_for_pins_too,
        an_answer_is_short_only_if_no_product_could_be_added,
        pins_are_at_their_slots,
        each_candidate_is_shown_removed_or_spare_and_removed_by_the_first_rule,
        exploration_is_bounded_and_shows_what_its_rule_matches,
        the_answer_is_the_same_again_and_after_storing_the_rules,
    ):
        check(rules, state, request, lists)


@EXAMPLES
@given(rules=shops.rule_sets, state=shops.catalogues, request=shops.requests, lists=shops.candidate_lists())
def test_a_list_of_the_shop_or_the_visitor_gets_no_item_from_elsewhere(
    rules: Rules, state: CatalogueState, request: Request, lists: Lists
) -> None:
    request = request._replace(own_list=True)
    items = [one.item_id for one in answer(rules, state, request, lists).items]
    own = {item for item, _ in lists[0]} - {*request.excluded}
    assert len(items) == len(set(items)) <= request.k
    assert {*items} <= own
    assert [item for item in items if remover(rules, request, state, item)] == []
    if not active(rules, request, state, "limit", "never_with"):
        left = [item for item in own if remover(rules, request, state, item) is None]
        assert len(items) == min(request.k, len(left))


@EXAMPLES
@given(request=shops.requests, lists=shops.candidate_lists())
def test_without_rules_and_catalogue_the_answer_is_that_of_the_candidates(
    request: Request, lists: Lists
) -> None:
    excluded = {*request.excluded, *request.items[-1:]}
    expected = [
        item for item in dict.fromkeys(item for one in lists for item, _ in one) if item not in excluded
    ]
    arranged = arrange(Rules(shops.named([]).rule_set), None, request, lists)
    assert [one.item_id for one in arranged.items] == expected[: request.k]
    assert arranged.effects == {}


@EXAMPLES
@given(
    state=shops.catalogues,
    request=shops.requests,
    lists=shops.candidate_lists(),
    selector=shops.selectors,
    by=st.sampled_from([1.5, 10.0]),
)
def test_a_boost_never_moves_a_matching_item_back_and_keeps_the_order_of_the_others(
    state: CatalogueState, request: Request, lists: Lists, selector: shops.Selector, by: float
) -> None:
    request = request._replace(k=8)
    boosted = shops.named([Rule("x", boost=shops.Boost(selector, by))])
    before = [one.item_id for one in answer(shops.named([]), state, request, lists[:1]).items]
    after = [one.item_id for one in answer(boosted, state, request, lists[:1]).items]
    wanted = {
        item for item in {*before, *after} if shops.matches(selector, item, state.product(item, shops.NOW_MS))
    }
    for item in wanted & {*before}:
        assert item in after
        assert (
            after.index(item) <= before.index(item)
            or before[: before.index(item)] != after[: after.index(item)]
        )
    rest = [item for item in after if item not in wanted]
    assert rest == [item for item in before if item in rest]
