"""Random catalogues, rules and requests, and a naive reading of selectors that the tests compare with."""

from typing import Any

from hypothesis import strategies as st

from functions.platform.catalogue_editor import CatalogueEditor
from functions.platform.catalogue_state import CatalogueState, Product
from functions.recommend.rules.compiled import Request, Rules
from functions.recommend.rules.facts import DAY_MS
from functions.recommend.rules.model import (
    Boost,
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

NOW_MS = 1_780_000_000_000
# The catalogue has the first 16. The model may know the others too.
ITEMS = [f"i{n}" for n in range(20)]
CATEGORIES = ["shoes", "shoes/boots", "shoes/boots/high", "shoesmaking", "bags", ""]
BRANDS = ["Anchor", "Buoy", "Capstan", ""]
COLORS = ["red", "blue"]
GROUPS = ["g1", "g2", ""]

ids = st.sampled_from(ITEMS)
amounts = st.integers(1, 9).map(float)
times = st.sampled_from([NOW_MS - DAY_MS, NOW_MS, NOW_MS + DAY_MS])
products = st.fixed_dictionaries(
    {
        "availability": st.sampled_from(["in_stock", "in_stock", "out_of_stock", "preorder"]),
        "price": st.none() | amounts,
        "sale_price": st.none() | amounts,
        "sale_starts_at_ms": times,
        "cost": st.none() | amounts,
        "category": st.sampled_from(CATEGORIES),
        "brand": st.sampled_from(BRANDS),
        "item_group_id": st.sampled_from(GROUPS),
        "attributes": st.none() | st.dictionaries(st.just("color"), st.sampled_from(COLORS)),
    }
)


def state_of(described: dict[str, dict[str, Any]]) -> CatalogueState:
    """Return a state with these products, first seen now or a day before by their id."""
    editor = CatalogueEditor()
    for item_id, fields in described.items():
        editor.add_known(item_id, fields, True, NOW_MS - DAY_MS * (len(item_id) % 3))
    return editor.state(NOW_MS)


catalogues = st.dictionaries(st.sampled_from(ITEMS[:16]), products, max_size=16).map(state_of)


def one_or_more(values: list[str]) -> st.SearchStrategy[Any]:
    given = [value for value in values if value]
    return st.sampled_from(given) | st.lists(st.sampled_from(given), min_size=1, max_size=3, unique=True).map(
        tuple
    )


ranges = st.one_of(
    amounts.map(lambda least: Range(min=least)),
    amounts.map(lambda most: Range(max=most)),
    st.lists(amounts, min_size=2, max_size=2).map(lambda ends: Range(min(ends), max(ends))),
)
criteria = st.fixed_dictionaries(
    {},
    optional={
        "items": one_or_more(ITEMS),
        "category": one_or_more(CATEGORIES),
        "brand": one_or_more(BRANDS),
        "group": one_or_more(GROUPS),
        "attributes": st.just({"color": "red"}),
        "price": ranges,
        "in_stock": st.booleans(),
        "on_sale": st.booleans(),
        "new_days": st.integers(1, 2),
    },
).filter(lambda given: 1 <= len(given) <= 2)
plain_selectors = criteria.map(lambda given: Selector(**given))
selectors = st.tuples(criteria, st.none() | plain_selectors).map(
    lambda given: Selector(**given[0], except_=given[1])
)
facts = st.sampled_from(["brand", "category", "group", "attributes.color"])


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    per = draw(st.none() | facts)
    return Limit(
        draw(st.integers(1, 3)),
        per,
        draw(st.none() | st.integers(1, 2)) if per == "category" else None,
        draw(selectors) if per is None else draw(st.none() | selectors),
    )


actions: st.SearchStrategy[dict[str, Any]] = st.one_of(
    selectors.map(lambda one: {"remove": one}),
    selectors.map(lambda one: {"only": one}),
    st.tuples(st.integers(1, 8), one_or_more(ITEMS)).map(lambda one: {"pin": Pin(*one)}),
    st.tuples(selectors, st.sampled_from([1.5, 10.0])).map(lambda one: {"boost": Boost(*one)}),
    st.tuples(selectors, st.sampled_from([None, 3.0])).map(lambda one: {"bury": Bury(*one)}),
    limits().map(lambda one: {"limit": one}),
    facts.map(lambda per: {"diversify": Diversify(per)}),
    st.tuples(selectors, selectors).map(lambda one: {"never_with": NeverWith(*one)}),
    st.just({"margin": Margin(0.5)}),
    st.tuples(st.sampled_from([0.1, 0.3]), selectors).map(lambda one: {"explore": Explore(*one)}),
)
conditions = st.none() | st.one_of(
    st.just(When(placements=("cart",))),
    selectors.map(lambda one: When(last_item=one)),
    st.just(When(session_items=Count(max=0))),
    st.just(When(k=Count(min=4))),
)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    action = draw(actions)
    periods = [(None, None)] * 3 + [(NOW_MS, None), (None, NOW_MS), (NOW_MS + 1, None), (None, NOW_MS + 1)]
    from_ms, until_ms = draw(st.sampled_from(periods))
    return Rule(
        id="rule",
        priority=draw(st.integers(-1, 1)),
        when=draw(conditions),
        from_ms=from_ms,
        until_ms=until_ms,
        unknown=draw(st.sampled_from([None, "keep", "remove"]))
        if {"remove", "only"} & action.keys()
        else None,
        **action,
    )


def named(drawn: list[Rule]) -> Rules:
    """Return rules with ids of their own."""
    from msgspec import structs

    given = tuple(structs.replace(rule, id=f"rule-{n}") for n, rule in enumerate(drawn))
    return Rules(RuleSet("demo", "r1", given))


rule_sets = st.lists(rules(), max_size=6).map(named)
requests = st.builds(
    Request,
    items=st.lists(ids, max_size=3),
    k=st.integers(1, 8),
    placement=st.sampled_from(["product", "cart"]),
    now_ms=st.just(NOW_MS),
    excluded=st.lists(ids, max_size=3),
    own_list=st.just(False),
)


@st.composite
def candidate_lists(draw: st.DrawFn) -> list[list[tuple[str, float]]]:
    """Return the model's items with falling scores, and popular ones without."""
    model = draw(st.lists(ids, max_size=12, unique=True))
    popular = draw(st.lists(ids, max_size=8))
    scored = [(item_id, 1.0 / (place + 1)) for place, item_id in enumerate(model)]
    return [scored, [(item_id, 0.0) for item_id in popular]]


def listed(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def matches(selector: Selector, item_id: str, product: Product | None) -> bool:
    """Return True if a selector matches, as docs/rules.md defines it, one criterion after the other."""
    if selector.items is not None and item_id not in listed(selector.items):
        return False
    asks_for_facts = any(
        getattr(selector, name) is not None
        for name in ("category", "brand", "group", "attributes", "price", "in_stock", "on_sale", "new_days")
    )
    if asks_for_facts and product is None:
        return False
    if product is not None:
        if selector.category is not None and not any(
            product.category == one or product.category.startswith(one + "/")
            for one in listed(selector.category)
        ):
            return False
        if selector.brand is not None and product.brand not in listed(selector.brand):
            return False
        if selector.group is not None and product.group not in listed(selector.group):
            return False
        for name, values in (selector.attributes or {}).items():
            if product.attributes.get(name) not in listed(values):
                return False
        if selector.price is not None:
            if product.price is None:
                return False
            if selector.price.min is not None and product.price < selector.price.min:
                return False
            if selector.price.max is not None and product.price > selector.price.max:
                return False
        if selector.in_stock is not None and product.available != selector.in_stock:
            return False
        if selector.on_sale is not None:
            if product.price is None or product.regular_price is None:
                return False
            if (product.price < product.regular_price) != selector.on_sale:
                return False
        if selector.new_days is not None and (
            product.first_seen_ms is None or product.first_seen_ms < NOW_MS - selector.new_days * DAY_MS
        ):
            return False
    return selector.except_ is None or not matches(selector.except_, item_id, product)


def asks_for_facts(selector: Selector) -> bool:
    """Return True if the catalogue decides whether the selector matches."""
    own = any(
        getattr(selector, name) is not None
        for name in ("category", "brand", "group", "attributes", "price", "in_stock", "on_sale", "new_days")
    )
    return own or bool(selector.except_ and asks_for_facts(selector.except_))


def is_removed(rule: Rule, item_id: str, product: Product | None) -> bool:
    """Return True if a rule of `remove` or `only` removes an item."""
    if rule.remove is not None:
        return matches(rule.remove, item_id, product) or (rule.unknown == "remove" and product is None)
    assert rule.only is not None
    if matches(rule.only, item_id, product):
        return False
    return product is not None or not asks_for_facts(rule.only) or rule.unknown == "remove"


def value_of(limit: Limit, item_id: str, product: Product | None) -> str | None:
    """Return the value for which an item counts, or None."""
    if limit.match is not None and not matches(limit.match, item_id, product):
        return None
    match limit.per:
        case None:
            return "all"
        case _ if product is None:
            return None
        case "brand":
            return product.brand or None
        case "group":
            return product.group or None
        case "category":
            return "/".join(product.category.split("/")[: limit.level]) or None
        case other:
            return product.attributes.get(other.removeprefix("attributes.")) or None


def is_active(rule: Rule, request: Request, state: CatalogueState) -> bool:
    """Return True if a rule is for the request."""
    if rule.from_ms is not None and request.now_ms < rule.from_ms:
        return False
    if rule.until_ms is not None and request.now_ms >= rule.until_ms:
        return False
    when = rule.when
    if when is None:
        return True
    if when.placements is not None and request.placement not in when.placements:
        return False
    for count, number in ((when.k, request.k), (when.session_items, len(request.items))):
        if count is not None and not (count.min or 0) <= number <= (1000 if count.max is None else count.max):
            return False
    if when.last_item is None:
        return True
    if not request.items:
        return False
    viewed = request.items[-1]
    return matches(when.last_item, viewed, state.product(viewed, NOW_MS))
