"""A shop's rules prepared once for many requests, and the rules of one request."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

from functions.platform.catalogue_state import Product
from functions.recommend.rules.facts import Matcher, Table, matcher
from functions.recommend.rules.model import Rule, RuleSet, Selector, When


class Catalogue(Protocol):
    """The current products of a shop."""

    def product(self, item_id: str, now_ms: int) -> Product | None:
        """Return a product at a moment, or None if the catalogue does not have it."""
        ...


class Request(NamedTuple):
    """The facts of a request that rules depend on. `items` are the session's, oldest first.

    No item of `excluded` is in the answer, nor is the last one of the session. Requests of one `seed` explore alike.

    With `own_list`, the answer has items of the first list of candidates only, such as the visitor's own views. The last
    item of the session may be one of them.
    """

    items: Sequence[str]
    k: int
    placement: str
    now_ms: int
    excluded: Sequence[str] = ()
    own_list: bool = False
    seed: str = ""


class Prepared(NamedTuple):
    """A rule with the functions of its selectors. `match` is the selector of its action, `other` that of `with`."""

    rule: Rule
    last_item: Matcher | None
    match: Matcher | None
    other: Matcher | None


class Active(NamedTuple):
    """The rules of one request by action, those of the highest priority first. `revision` is that of their set."""

    revision: str = ""
    removals: tuple[Prepared, ...] = ()
    pins: tuple[Prepared, ...] = ()
    weights: tuple[Prepared, ...] = ()
    diversities: tuple[Prepared, ...] = ()
    limits: tuple[Prepared, ...] = ()
    conflicts: tuple[Prepared, ...] = ()
    explorers: tuple[Prepared, ...] = ()

    @property
    def narrowing(self) -> tuple[str, ...]:
        """Return what decides which items of the catalogue fit into an answer: the revision, and ids of rules."""
        return self.revision, *(one.rule.id for one in (*self.removals, *self.limits))


GROUPS = {
    "remove": "removals",
    "only": "removals",
    "pin": "pins",
    "boost": "weights",
    "bury": "weights",
    "margin": "weights",
    "diversify": "diversities",
    "limit": "limits",
    "never_with": "conflicts",
    "explore": "explorers",
}


class Rules:
    """The rules of a shop, ready to be applied. Of equal priority, the first one of the file is first."""

    def __init__(self, rule_set: RuleSet) -> None:
        self.rule_set = rule_set
        by_priority = sorted(rule_set.rules, key=lambda rule: -rule.priority)
        self.prepared = tuple(_prepared(rule) for rule in by_priority)

    def active(self, request: Request, catalogue: Catalogue | None) -> Active:
        """Return the rules of a request.

        Without a catalogue, a rule that asks for facts is not among them: it would match nothing, or everything.
        """
        viewed = _Viewed(request, catalogue)
        groups: dict[str, list[Prepared]] = {name: [] for name in Active._fields[1:]}
        for one in self.prepared:
            rule = one.rule
            if not rule.is_valid_at(request.now_ms) or (
                rule.when and not _holds(rule.when, one, request, viewed)
            ):
                continue
            if catalogue is None and one.match and one.match.needs_facts:
                continue
            groups[GROUPS[rule.action]].append(one)
        return Active(self.rule_set.revision, *(tuple(group) for group in groups.values()))


NO_RULES = Rules(RuleSet("", ""))


class _Viewed:
    """The item that the shopper looks at, whose facts are read if a rule asks for them."""

    def __init__(self, request: Request, catalogue: Catalogue | None) -> None:
        self._request, self._catalogue = request, catalogue

    @cached_property
    def table(self) -> Table | None:
        return viewed_item(self._request, self._catalogue)


def viewed_item(request: Request, catalogue: Catalogue | None) -> Table | None:
    """Return the facts about the last item of the session; None for an empty session."""
    if not request.items:
        return None
    item_id = request.items[-1]
    product = catalogue.product(item_id, request.now_ms) if catalogue else None
    return Table([item_id], [product], request.now_ms)


def _holds(when: When, one: Prepared, request: Request, viewed: _Viewed) -> bool:
    if when.placements is not None and request.placement not in when.placements:
        return False
    if when.k is not None and not when.k.has(request.k):
        return False
    if when.session_items is not None and not when.session_items.has(len(request.items)):
        return False
    if one.last_item is None:
        return True
    return viewed.table is not None and bool(one.last_item.match(viewed.table, (0,)))


def _prepared(rule: Rule) -> Prepared:
    selectors: dict[str, Selector | None] = {
        "remove": rule.remove,
        "only": rule.only,
        "boost": rule.boost.match if rule.boost else None,
        "bury": rule.bury.match if rule.bury else None,
        "limit": rule.limit.match if rule.limit else None,
        "explore": rule.explore.match if rule.explore else None,
        "never_with": rule.never_with.match if rule.never_with else None,
    }
    match = selectors.get(rule.action)
    return Prepared(
        rule,
        matcher(rule.when.last_item) if rule.when and rule.when.last_item else None,
        matcher(match) if match else None,
        matcher(rule.never_with.with_) if rule.never_with else None,
    )
