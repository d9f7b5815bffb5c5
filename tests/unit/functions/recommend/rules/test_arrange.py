"""Single rules, with the answers that docs/rules.md describes."""

from typing import Any

from functions.platform.catalogue_state import CatalogueState
from functions.recommend.rules.arrange import Arranged, Scored, arrange, base_weights
from functions.recommend.rules.compiled import Request, Rules
from functions.recommend.rules.model import (
    Bury,
    Count,
    Diversify,
    Explore,
    Limit,
    Margin,
    NeverWith,
    Pin,
    Range,
    Rule,
    RuleSet,
    Selector,
    When,
)
from functions.recommend.rules.reserve import PER_VALUE_MAX, Reserve
from tests.unit.functions.recommend.rules.shops import NOW_MS, state_of

MODEL: list[Scored] = [(f"m{n}", 0.4 / (n + 1)) for n in range(6)]


def answer(*rules: Rule, state: CatalogueState | None = None, k: int = 4, **changes: Any) -> Arranged:
    request = Request(["a"], k, "product", NOW_MS)._replace(**changes)
    return arrange(Rules(RuleSet("demo", "r1", rules)), state, request, [MODEL])


def ids(arranged: Arranged) -> list[str]:
    return [one.item_id for one in arranged.items]


def of(**values: Any) -> CatalogueState:
    """Return a state in which `m0=x` gives the item m0 the brand x, or fields of its own."""
    return state_of(
        {item: value if isinstance(value, dict) else {"brand": value} for item, value in values.items()}
    )


def test_the_pin_of_the_higher_priority_has_the_slot_and_the_other_one_none() -> None:
    low, high = Rule("low", pin=Pin(1, "x")), Rule("high", priority=5, pin=Pin(1, "y"))
    assert ids(answer(low, high)) == ["y", "m0", "m1", "m2"]
    assert answer(low, high).effects == {"high": {"pinned": 1}}


def test_an_item_of_two_pins_is_at_the_slot_of_the_first() -> None:
    found = answer(Rule("one", pin=Pin(3, "x")), Rule("two", pin=Pin(1, ("x", "m2"))))
    assert ids(found) == ["m2", "m0", "x", "m1"]
    assert found.items[0].score == MODEL[2][1], "a pinned candidate keeps its score"


def test_a_pin_beyond_the_answer_or_of_the_item_being_viewed_has_no_effect() -> None:
    assert ids(answer(Rule("far", pin=Pin(5, "x")))) == ["m0", "m1", "m2", "m3"]
    assert ids(answer(Rule("own", pin=Pin(1, "a")))) == ["m0", "m1", "m2", "m3"]


def test_buried_items_are_last_and_still_fill_an_answer() -> None:
    buried = Rule("old", bury=Bury(Selector(items=("m0", "m1", "m2"))))
    assert ids(answer(buried)) == ["m3", "m4", "m5", "m0"]
    assert ids(answer(Rule("old", bury=Bury(Selector(items="m0"), 3)))) == ["m1", "m0", "m2", "m3"]


def test_a_limit_per_category_counts_the_levels_that_it_says() -> None:
    shoes = {"category": "shoes/boots"}
    state = of(m0=shoes, m1={"category": "shoes/sandals"}, m2={"category": "shoesmaking"})
    assert ids(answer(Rule("one", limit=Limit(1, "category")), state=state)) == ["m0", "m1", "m2", "m3"]
    assert ids(answer(Rule("one", limit=Limit(1, "category", 1)), state=state)) == ["m0", "m2", "m3", "m4"]


def test_a_limit_of_matching_items_counts_them_together() -> None:
    state = of(m0="A", m1="B", m2="A")
    rule = Rule("few", limit=Limit(1, match=Selector(brand=("A", "B"))))
    assert ids(answer(rule, state=state)) == ["m0", "m3", "m4", "m5"]


def test_a_diverse_answer_alternates_and_keeps_the_best_first() -> None:
    state = of(m0="A", m1="A", m2="A", m3="B", m4="B", m5="C")
    mixed = answer(Rule("mixed", diversify=Diversify("brand", 100)), state=state, k=5)
    assert ids(mixed) == ["m0", "m3", "m5", "m1", "m4"]


def test_items_of_both_sides_never_meet_and_the_viewed_item_counts() -> None:
    apart = Rule("apart", never_with=NeverWith(Selector(brand="A"), Selector(brand="B")))
    state = of(m0="A", m1="B", m2="A", a="B")
    assert ids(answer(apart, state=state, items=[])) == ["m0", "m2", "m3", "m4"]
    assert ids(answer(apart, state=state)) == ["m1", "m3", "m4", "m5"]


def test_margins_move_what_earns_more_and_an_unknown_cost_counts_as_the_median() -> None:
    state = of(
        m0={"price": 10.0, "cost": 9.0},
        m1={"price": 10.0, "cost": 5.0},
        m2={"price": 100.0, "cost": 10.0},
        m3={"price": 10.0},
    )
    found = answer(Rule("margin", margin=Margin(1)), state=state)
    assert ids(found)[0] == "m2"
    assert found.effects == {"margin": {"weighted": 3}}
    assert ids(found).index("m1") < ids(found).index("m0")


def test_a_product_that_earns_nothing_is_not_lost() -> None:
    state = of(m0={"price": 5.0, "cost": 9.0}, m1={"price": 10.0, "cost": 5.0})
    assert {*ids(answer(Rule("margin", margin=Margin(1)), state=state, k=6))} == {f"m{n}" for n in range(6)}


def test_an_unknown_item_is_kept_unless_the_rule_says_so() -> None:
    state = of(m0="A", m1="B")
    only = Rule("only", only=Selector(brand="B"))
    assert ids(answer(only, state=state)) == ["m1", "m2", "m3", "m4"]
    assert ids(answer(Rule("only", only=Selector(brand="B"), unknown="remove"), state=state)) == ["m1"]
    removed = Rule("gone", remove=Selector(brand="B"), unknown="remove")
    assert ids(answer(removed, state=state)) == ["m0"]


def test_a_known_item_without_the_fact_does_not_match() -> None:
    state = of(m0={"price": None, "brand": "A"}, m1={"price": 5.0})
    cheap = Rule("cheap", only=Selector(price=Range(max=9)), unknown="remove")
    assert ids(answer(cheap, state=state)) == ["m1"]


def test_without_a_catalogue_rules_on_facts_are_skipped() -> None:
    strict = Rule("strict", only=Selector(brand="B"), unknown="remove")
    assert ids(answer(strict)) == ["m0", "m1", "m2", "m3"]
    assert ids(answer(Rule("ids", only=Selector(items=("m4", "m1"))))) == ["m1", "m4"]


def test_conditions_on_the_viewed_item_the_session_and_k() -> None:
    state = of(a="A")
    viewed = Rule("x", when=When(last_item=Selector(brand="A")), pin=Pin(1, "x"))
    assert ids(answer(viewed, state=state))[0] == "x"
    assert ids(answer(viewed, state=state, items=["b"]))[0] == "m0"
    assert ids(answer(viewed, state=state, items=[]))[0] == "m0"
    started = Rule("x", when=When(session_items=Count(min=1)), pin=Pin(1, "x"))
    assert [ids(answer(started, items=items))[0] for items in ([], ["b"])] == ["m0", "x"]
    many = Rule("x", when=When(k=Count(min=4, max=5)), pin=Pin(1, "x"))
    assert [ids(answer(many, k=k))[0] for k in (3, 4, 5, 6)] == ["m0", "x", "x", "m0"]


def test_weights_never_rise_and_lists_without_scores_fall_by_place() -> None:
    assert base_weights([0.0, 0.0, 0.0]) == [1, 1 / 2, 1 / 3]
    assert base_weights([0.5, 0.25, 0.0, 0.0]) == [0.5, 0.25, 0.125, 0.25 / 3]
    assert base_weights([0.5, 0.9, 0.4])[1] == 0.25
    assert base_weights([]) == []


def test_the_reserve_has_every_value_of_a_limit_even_if_one_fills_the_catalogue() -> None:
    described: dict[str, dict[str, Any]] = {f"i{n}": {"brand": "Big"} for n in range(PER_VALUE_MAX + 50)}
    described |= {"rare-1": {"brand": "Small"}, "rare-2": {"brand": "Tiny"}}
    state = state_of(described)
    rules = Rules(RuleSet("demo", "r1", (Rule("one", limit=Limit(1, "brand")),)))
    found = arrange(rules, state, Request([], 3, "product", NOW_MS), [], Reserve(state))
    assert {state.product(one.item_id, NOW_MS).brand for one in found.items} == {"Big", "Small", "Tiny"}  # type: ignore[union-attr]


def test_what_the_reserve_found_is_not_used_for_other_rules() -> None:
    state = state_of({f"i{n}": {"brand": "A" if n % 2 else "B"} for n in range(10)})
    reserve, request = Reserve(state), Request([], 5, "product", NOW_MS)
    for brand in "ABA":
        rules = Rules(RuleSet("demo", f"of-{brand}", (Rule("only", only=Selector(brand=brand)),)))
        found = arrange(rules, state, request, [], reserve)
        assert {state.product(one.item_id, NOW_MS).brand for one in found.items} == {brand}  # type: ignore[union-attr]
        assert len(found.items) == 5


NEW = Selector(brand="new")
NEW_ONES = Rule("new-ones", explore=Explore(0.25, NEW))


def test_exploration_gives_a_share_of_the_slots_to_matching_items_and_never_the_first_one() -> None:
    state = of(m4="new", m5="new")
    seen = set()
    for seed in map(str, range(40)):
        found = answer(NEW_ONES, state=state, seed=seed)
        explored = [(place, one.item_id) for place, one in enumerate(found.items) if one.explored_by]
        ((place, item),) = explored
        assert place > 0
        assert [one for one in ids(found) if one != item] == ["m0", "m1", "m2"]
        assert found.effects["new-ones"] == {"explored": 1}
        assert answer(NEW_ONES, state=state, seed=seed) == found
        seen.add((place, item))
    assert seen == {(place, item) for place in (1, 2, 3) for item in ("m4", "m5")}


def test_a_share_between_two_numbers_of_slots_is_kept_on_average() -> None:
    state = of(m3="new", m4="new", m5="new")
    rule = Rule("new-ones", explore=Explore(0.3, NEW))
    numbers = [
        sum(one.explored_by is not None for one in answer(rule, state=state, seed=str(seed)).items)
        for seed in range(400)
    ]
    assert {*numbers} == {1, 2}
    assert 1.1 < sum(numbers) / len(numbers) < 1.3, "0.3 of 4 slots"


def test_without_a_matching_item_exploration_changes_nothing() -> None:
    assert answer(NEW_ONES, state=of(m1="old")).items == answer(state=of(m1="old")).items
    assert answer(NEW_ONES, state=None).items == answer().items
    pinned = answer(NEW_ONES, Rule("hero", pin=Pin(1, "m5")), state=of(m1="old"), k=2)
    assert ids(pinned) == ["m5", "m0"]


def test_exploration_takes_what_no_candidate_is_from_the_whole_catalogue() -> None:
    state = of(x1="new", x2="new", y="old")
    request = Request(["a"], 4, "product", NOW_MS, seed="s")
    found = arrange(Rules(RuleSet("demo", "r1", (NEW_ONES,))), state, request, [MODEL], Reserve(state))
    (item,) = [one.item_id for one in found.items if one.explored_by]
    assert item in ("x1", "x2")
    without = Rule("not-these", remove=Selector(items=("x1", "x2")))
    rules = Rules(RuleSet("demo", "r1", (NEW_ONES, without)))
    found = arrange(rules, state, request, [MODEL], Reserve(state))
    assert ids(found) == ["m0", "m1", "m2", "m3"]


def test_limits_hold_for_explored_items() -> None:
    state = of(m0="new", m4="new", m5="new")
    found = answer(NEW_ONES, Rule("one", limit=Limit(1, "brand")), state=state)
    assert ids(found) == ["m0", "m1", "m2", "m3"]


def test_a_request_for_one_item_is_never_explored() -> None:
    rule = Rule("new-ones", explore=Explore(0.3, NEW))
    for seed in range(20):
        assert ids(answer(rule, state=of(m4="new"), k=1, seed=str(seed))) == ["m0"]
