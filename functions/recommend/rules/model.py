"""A shop's rules as types. `make rules` writes them as JSON from rules/<shop>.yaml, and /recommend reads them.

docs/rules.md explains every key.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, MsgspecError, Struct, json

from functions.platform.contract import PLACEMENTS, RECOMMEND_ITEMS_MAX, RECOMMEND_K_MAX

# The id under which the answer counts items that the catalogue lists as out of stock. No rule of a shop has it.
OUT_OF_STOCK = "out-of-stock"
RULES_MAX = 200
ACTIONS = ("remove", "only", "pin", "boost", "bury", "limit", "diversify", "never_with", "margin", "explore")

Id = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,47}\Z")]
Text = Annotated[str, Meta(min_length=1, max_length=500)]
OneOrMore = Text | Annotated[tuple[Text, ...], Meta(min_length=1, max_length=10_000)]
Slot = Annotated[int, Meta(ge=1, le=RECOMMEND_K_MAX)]
Factor = Annotated[float, Meta(gt=1, le=1000)]
# The fact whose values are counted: `attributes.color` is the attribute color.
Fact = Annotated[str, Meta(pattern=r"^(brand|category|group|attributes\.[^\x00-\x1f]{1,100})\Z")]


class Range(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Amounts from `min` to `max`, both included."""

    min: Annotated[float, Meta(ge=0)] | None = None
    max: Annotated[float, Meta(ge=0)] | None = None


class Count(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whole numbers from `min` to `max`, both included."""

    min: Annotated[int, Meta(ge=0)] | None = None
    max: Annotated[int, Meta(ge=0)] | None = None

    def has(self, number: int) -> bool:
        """Return True if the number is in the range."""
        return (self.min is None or number >= self.min) and (self.max is None or number <= self.max)


class Selector(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"except_": "except"}
):
    """Items for which every given criterion holds. A list holds if one of its values does."""

    items: OneOrMore | None = None
    category: OneOrMore | None = None
    brand: OneOrMore | None = None
    group: OneOrMore | None = None
    attributes: dict[Text, OneOrMore] | None = None
    price: Range | None = None
    in_stock: bool | None = None
    on_sale: bool | None = None
    new_days: Annotated[int, Meta(ge=1, le=3650)] | None = None
    except_: "Selector | None" = None


class When(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The requests that a rule is for. Without a condition, it is for all."""

    placements: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    last_item: Selector | None = None
    session_items: Count | None = None
    k: Count | None = None


class Pin(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The first of `items` that may be shown is at `slot`, counted from 1."""

    slot: Slot
    items: OneOrMore


class Boost(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The scores of matching items are multiplied by `by`."""

    match: Selector
    by: Factor


class Bury(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The scores of matching items are divided by `by`. Without it, they are last."""

    match: Selector
    by: Factor | None = None


class Limit(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """At most `max` items per value of a fact, or of all matching items.

    `level` is the number of levels of a category that count.
    """

    max: Annotated[int, Meta(ge=1, le=RECOMMEND_K_MAX)]
    per: Fact | None = None
    level: Annotated[int, Meta(ge=1, le=20)] | None = None
    match: Selector | None = None


class Diversify(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An item's score is divided by `by` for each item of the same value that stands before it."""

    per: Fact
    by: Factor = 2.0
    level: Annotated[int, Meta(ge=1, le=20)] | None = None


class NeverWith(
    Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"with_": "with"}
):
    """No answer has items of both sides. The item being viewed counts as part of the answer."""

    match: Selector
    with_: Selector


class Margin(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Scores are multiplied by (price - cost) to the power of `strength`. Items without a cost count as the median."""

    strength: Annotated[float, Meta(gt=0, le=1)]


class Explore(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The share of an answer's slots that matching items get, which the model would not show there."""

    share: Annotated[float, Meta(gt=0, le=0.3)]
    match: Selector


class Rule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule: its requests, its period in milliseconds since 1970, and one action."""

    id: Id
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    when: When | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    # What `remove` and `only` do with an item that the catalogue does not have.
    unknown: Literal["keep", "remove"] | None = None
    remove: Selector | None = None
    only: Selector | None = None
    pin: Pin | None = None
    boost: Boost | None = None
    bury: Bury | None = None
    limit: Limit | None = None
    diversify: Diversify | None = None
    never_with: NeverWith | None = None
    margin: Margin | None = None
    explore: Explore | None = None

    @property
    def action(self) -> str:
        """Return the name of the rule's action."""
        return next(name for name in ACTIONS if getattr(self, name) is not None)

    def is_valid_at(self, now_ms: int) -> bool:
        """Return True within the rule's period. Its end is no part of it."""
        return (self.from_ms is None or self.from_ms <= now_ms) and (
            self.until_ms is None or now_ms < self.until_ms
        )


class RuleSet(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The rules of a shop. `revision` names their content."""

    shop: str
    revision: str
    rules: Annotated[tuple[Rule, ...], Meta(max_length=RULES_MAX)] = ()


def decode(stored: bytes) -> RuleSet:
    """Return the rules of a stored object.

    Raises:
        ValueError: it contains no valid rules.
    """
    try:
        found = json.decode(stored, type=RuleSet)
    except MsgspecError as error:
        raise ValueError(f"no rules: {error}") from error
    problems = [f"{rule.id}: {problem}" for rule in found.rules for problem in problems_of(rule)]
    if problems:
        raise ValueError("; ".join(problems))
    return found


def problems_of(rule: Rule) -> Iterator[str]:
    """Yield what the types cannot express. The sentences are for the author of the rule."""
    actions = [name for name in ACTIONS if getattr(rule, name) is not None]
    if len(actions) != 1:
        found = f"the actions {' and '.join(actions)}" if actions else "no action"
        yield f"has {found}: give it one of {', '.join(ACTIONS)}"
    if rule.id == OUT_OF_STOCK:
        yield f"the id {OUT_OF_STOCK} is that of the catalogue's own stock: use another one"
    if rule.from_ms is not None and rule.until_ms is not None and rule.from_ms >= rule.until_ms:
        yield "its `until` is not after its `from`"
    if rule.unknown and not (rule.remove or rule.only):
        yield "`unknown` belongs to `remove` and `only`: this rule has neither"
    if rule.when:
        yield from _problems_of_when(rule.when)
    for place, selector in _selectors(rule):
        yield from _problems_of_selector(place, selector)
    for name, counted in (("limit", rule.limit), ("diversify", rule.diversify)):
        if counted and counted.level and counted.per != "category":
            yield f"`{name}` has a level, which only categories have: use per: category"
    if rule.limit and not rule.limit.per and not rule.limit.match:
        yield "`limit` has neither `per` nor `match`, so it would only shorten every answer: give it one of them"
    if rule.pin and rule.when and rule.when.k and rule.when.k.max and rule.pin.slot > rule.when.k.max:
        yield f"slot {rule.pin.slot} is outside the answers of at most {rule.when.k.max} items that it is for"


def _problems_of_when(when: When) -> Iterator[str]:
    unknown = [place for place in when.placements or () if place not in PLACEMENTS]
    if unknown:
        yield f"no placement is {', '.join(unknown)}: use {', '.join(PLACEMENTS)}"
    for name, found, most in (
        ("session_items", when.session_items, RECOMMEND_ITEMS_MAX),
        ("k", when.k, RECOMMEND_K_MAX),
    ):
        if found and (found.min or 0) > min(most, most if found.max is None else found.max):
            yield f"`when.{name}` contains no number from 0 to {most}"


def _selectors(rule: Rule) -> Iterator[tuple[str, Selector]]:
    found: list[tuple[str, Selector | None]] = [
        ("when.last_item", rule.when.last_item if rule.when else None),
        ("remove", rule.remove),
        ("only", rule.only),
        ("boost.match", rule.boost.match if rule.boost else None),
        ("bury.match", rule.bury.match if rule.bury else None),
        ("limit.match", rule.limit.match if rule.limit else None),
        ("explore.match", rule.explore.match if rule.explore else None),
        ("never_with.match", rule.never_with.match if rule.never_with else None),
        ("never_with.with", rule.never_with.with_ if rule.never_with else None),
    ]
    for place, selector in found:
        if selector is not None:
            yield place, selector
            if selector.except_ is not None:
                yield f"{place}.except", selector.except_


def _problems_of_selector(place: str, selector: Selector) -> Iterator[str]:
    if selector == Selector(except_=selector.except_):
        yield f"`{place}` has no criterion, so it would match every item: give it one"
    if selector.except_ is not None and selector.except_.except_ is not None:
        yield f"`{place}` has an exception of an exception: write two rules"
    price = selector.price
    if price and price.min is None and price.max is None:
        yield f"`{place}.price` has neither `min` nor `max`"
    if price and price.min is not None and price.max is not None and price.min > price.max:
        yield f"`{place}.price` has a `min` above its `max`"
