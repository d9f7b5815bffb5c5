"""The facts about some items as columns, and selectors as functions that narrow a list of rows.

A column is read only when a criterion needs it. One pass over a column is several times quicker than one call per item.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

from functions.platform.catalogue_state import Product
from functions.recommend.rules.model import Selector

DAY_MS = 24 * 60 * 60 * 1000
NO_ATTRIBUTES: Mapping[str, str] = {}


class Facts(Protocol):
    """Columns of facts, one entry per item. A text that is unknown is empty, and an amount that is unknown is NaN."""

    now_ms: int

    def __len__(self) -> int:
        """Return the number of items."""
        ...

    def rows_of(self, item_ids: Collection[str]) -> set[int]:
        """Return the rows of the items that are here."""
        ...

    @property
    def known(self) -> Sequence[object]:
        """None for an item that the catalogue does not have."""
        ...

    @property
    def available(self) -> Sequence[object]:
        """True, or False for an item that cannot be bought. None for an unknown item."""
        ...

    @property
    def categories(self) -> Sequence[str]:
        """The path of each category with a `/` at its end."""
        ...

    @property
    def brands(self) -> Sequence[str]:
        """The brands."""
        ...

    @property
    def groups(self) -> Sequence[str]:
        """The groups of variants."""
        ...

    @property
    def attributes(self) -> Sequence[Mapping[str, str]]:
        """The attributes."""
        ...

    @property
    def prices(self) -> Sequence[float]:
        """The prices of now."""
        ...

    @property
    def regular_prices(self) -> Sequence[float]:
        """The prices outside a sale."""
        ...

    @property
    def first_seen_ms(self) -> Sequence[int]:
        """The times at which items were first seen; -1 where nobody knows."""
        ...


class Table:
    """The facts about the candidates of one request. `products` has None for an item that the catalogue does not have."""

    def __init__(self, ids: Sequence[str], products: Sequence[Product | None], now_ms: int) -> None:
        self.ids, self.known, self.now_ms = ids, products, now_ms

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.ids)

    def rows_of(self, item_ids: Collection[str]) -> set[int]:
        """Return the rows of the items that are here."""
        return {row for row, item_id in enumerate(self.ids) if item_id in item_ids}

    @cached_property
    def available(self) -> Sequence[object]:
        """True, or False for an item that cannot be bought. None for an unknown item."""
        return [one and one.available for one in self.known]

    @cached_property
    def categories(self) -> Sequence[str]:
        """The path of each category with a `/` at its end."""
        return [f"{one.category}/" if one and one.category else "" for one in self.known]

    @cached_property
    def brands(self) -> Sequence[str]:
        """The brands."""
        return [one.brand if one else "" for one in self.known]

    @cached_property
    def groups(self) -> Sequence[str]:
        """The groups of variants."""
        return [one.group if one else "" for one in self.known]

    @cached_property
    def attributes(self) -> Sequence[Mapping[str, str]]:
        """The attributes."""
        return [one.attributes if one else NO_ATTRIBUTES for one in self.known]

    @cached_property
    def prices(self) -> Sequence[float]:
        """The prices of now."""
        return [math.nan if one is None or one.price is None else one.price for one in self.known]

    @cached_property
    def regular_prices(self) -> Sequence[float]:
        """The prices outside a sale."""
        return [
            math.nan if one is None or one.regular_price is None else one.regular_price for one in self.known
        ]

    @cached_property
    def first_seen_ms(self) -> Sequence[int]:
        """The times at which items were first seen; -1 where nobody knows."""
        return [-1 if one is None or one.first_seen_ms is None else one.first_seen_ms for one in self.known]

    @cached_property
    def margins(self) -> Sequence[float]:
        """The prices of now without the costs."""
        return [
            math.nan if one is None or one.price is None or one.cost is None else one.price - one.cost
            for one in self.known
        ]


Rows = Sequence[int]
Criterion = Callable[[Facts, Rows], Rows]


class Matcher(NamedTuple):
    """A selector as functions, the cheapest first. `needs_facts` is True if the catalogue decides on a match."""

    criteria: tuple[Criterion, ...]
    exception: "Matcher | None"
    needs_facts: bool

    def match(self, facts: Facts, rows: Rows) -> Rows:
        """Return those of the rows that match, in their order."""
        for narrow in self.criteria:
            if not rows:
                return rows
            rows = narrow(facts, rows)
        if self.exception and rows:
            exceptions = set(self.exception.match(facts, rows))
            rows = [row for row in rows if row not in exceptions]
        return rows


def matcher(selector: Selector) -> Matcher:
    """Return the functions of a selector."""
    criteria: list[Criterion] = []
    if selector.brand is not None:
        criteria.append(_brand(_values(selector.brand)))
    if selector.category is not None:
        criteria.append(_category(tuple(f"{value.strip('/')}/" for value in _values(selector.category))))
    if selector.group is not None:
        criteria.append(_group(_values(selector.group)))
    if selector.in_stock is not None:
        criteria.append(_in_stock(selector.in_stock))
    if selector.price is not None:
        least = -math.inf if selector.price.min is None else selector.price.min
        criteria.append(_price(least, math.inf if selector.price.max is None else selector.price.max))
    if selector.on_sale is not None:
        criteria.append(_on_sale(selector.on_sale))
    if selector.new_days is not None:
        criteria.append(_new(selector.new_days * DAY_MS))
    for name, wanted in (selector.attributes or {}).items():
        criteria.append(_attribute(name, _values(wanted)))
    needs_facts = bool(criteria)
    if selector.items is not None:
        criteria.insert(0, _items(_values(selector.items)))
    exception = matcher(selector.except_) if selector.except_ else None
    return Matcher(tuple(criteria), exception, needs_facts or bool(exception and exception.needs_facts))


def values_of(facts: Facts, per: str, level: int | None = None) -> Sequence[str]:
    """Return the value of a fact per item, such as its brand. It is empty where nobody knows.

    Args:
        facts: the columns.
        per: brand, category, group, or attributes.<name>.
        level: the number of levels of a category that count; None for all.
    """
    if per == "brand":
        return facts.brands
    if per == "group":
        return facts.groups
    if per == "category":
        if level is None:
            return facts.categories
        return ["/".join(path.split("/", level)[:level]) for path in facts.categories]
    name = per.partition(".")[2]
    return [attributes.get(name, "") for attributes in facts.attributes]


def _values(given: str | tuple[str, ...]) -> frozenset[str]:
    return frozenset((given,) if isinstance(given, str) else given)


def _items(wanted: frozenset[str]) -> Criterion:
    def narrow(facts: Facts, rows: Rows) -> Rows:
        found = facts.rows_of(wanted)
        return [row for row in rows if row in found] if found else ()

    return narrow


def _brand(wanted: frozenset[str]) -> Criterion:
    def narrow(facts: Facts, rows: Rows) -> Rows:
        column = facts.brands
        return [row for row in rows if column[row] in wanted]

    return narrow


def _group(wanted: frozenset[str]) -> Criterion:
    def narrow(facts: Facts, rows: Rows) -> Rows:
        column = facts.groups
        return [row for row in rows if column[row] in wanted]

    return narrow


def _category(wanted: tuple[str, ...]) -> Criterion:
    """Return the criterion of categories, each with those below it."""

    def narrow(facts: Facts, rows: Rows) -> Rows:
        column = facts.categories
        return [row for row in rows if column[row].startswith(wanted)]

    return narrow


def _in_stock(wanted: bool) -> Criterion:
    def narrow(facts: Facts, rows: Rows) -> Rows:
        column = facts.available
        return [row for row in rows if column[row] is wanted]

    return narrow


def _price(least: float, most: float) -> Criterion:
    def narrow(facts: Facts, rows: Rows) -> Rows:
        column = facts.prices
        # An unknown price is NaN, which is in no range.
        return [row for row in rows if least <= column[row] <= most]

    return narrow


def _on_sale(wanted: bool) -> Criterion:
    def narrow(facts: Facts, rows: Rows) -> Rows:
        now, regular = facts.prices, facts.regular_prices
        if wanted:
            return [row for row in rows if now[row] < regular[row]]
        return [row for row in rows if now[row] >= regular[row]]

    return narrow


def _new(age_ms: int) -> Criterion:
    def narrow(facts: Facts, rows: Rows) -> Rows:
        column, since_ms = facts.first_seen_ms, max(0, facts.now_ms - age_ms)
        return [row for row in rows if column[row] >= since_ms]

    return narrow


def _attribute(name: str, wanted: frozenset[str]) -> Criterion:
    def narrow(facts: Facts, rows: Rows) -> Rows:
        column = facts.attributes
        return [row for row in rows if column[row].get(name) in wanted]

    return narrow
