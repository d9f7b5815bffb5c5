"""Arrange the items of one answer by the shop's rules. The same code serves every path: model, fallback, empty session.

The order of the work, whatever the priorities are: items are removed, and pins take their slots. Slots are held for exploration,
the others are filled best first, and then those that are held. A limit and a `never_with` hold for all of them. Priorities
decide between rules of the same kind.
docs/rules.md states what holds for every answer.
"""

import hashlib
import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

from functions.recommend.rules.compiled import Active, Catalogue, Prepared, Request, Rules, viewed_item
from functions.recommend.rules.facts import Facts, Rows, Table, values_of
from functions.recommend.rules.model import OUT_OF_STOCK, Rule

# An item and its score. A score of 0 means that only its place is known.
Scored = tuple[str, float]
# From the rules of a request to further items of the catalogue.
Reserve = Callable[[Active, Request], Iterator[Sequence[Scored]]]
# A product that earns nothing keeps this share of the median margin, so that its score stays above 0.
LEAST_MARGIN = 0.01
# Lists of the reserve that exploration draws from, each of 100 products.
EXPLORED_LISTS = 5


class Placed(NamedTuple):
    """An item of the answer. `pinned_by` or `explored_by` is the id of the rule that gave it its slot."""

    item_id: str
    score: float
    pinned_by: str | None = None
    explored_by: str | None = None


class Counts:
    """The effects of each rule on the candidates of one answer."""

    def __init__(self) -> None:
        self.by_rule: dict[str, dict[str, int]] = {}

    def add(self, rule_id: str, effect: str, number: int = 1) -> None:
        """Count an effect of a rule."""
        if number:
            of_rule = self.by_rule.setdefault(rule_id, {})
            of_rule[effect] = of_rule.get(effect, 0) + number


class Arranged(NamedTuple):
    """The items of an answer, the effects of each rule, and the number of items that were candidates."""

    items: list[Placed]
    effects: dict[str, dict[str, int]]
    candidates: int


def arrange(
    rules: Rules,
    catalogue: Catalogue | None,
    request: Request,
    candidates: Iterable[Sequence[Scored]],
    reserve: Reserve | None = None,
) -> Arranged:
    """Return at most `request.k` items.

    Args:
        rules: the rules of the shop.
        catalogue: the current products, or None if nobody knows them.
        request: the request.
        candidates: lists of items, each best first. A later list is read only if the earlier ones leave slots empty.
            Of a request with `own_list`, only the first one counts, and pins have only its items.
        reserve: the last list, of products that the removing rules allow. What rules remove of it is not counted.
    """
    active = rules.active(request, catalogue)
    counts = Counts()
    carousel = _Carousel(active, catalogue, request, counts)
    lists = iter(candidates)
    first = next(lists, ())
    carousel.pin(dict(first))
    # No product is added to the visitor's own list.
    explorers = () if request.own_list else active.explorers[:1]
    for one in explorers:
        carousel.hold(one)
    carousel.fill(first, counted=True)
    if request.own_list:
        return Arranged([one for one in carousel.slots if one], counts.by_rule, carousel.candidates)
    for one in explorers:
        carousel.explore(one, first, reserve)
    for scored in lists:
        if carousel.is_full:
            break
        carousel.fill(scored, counted=True)
    if reserve and not carousel.is_full:
        for scored in reserve(active, request):
            carousel.fill(scored, counted=False)
            if carousel.is_full:
                break
    return Arranged([one for one in carousel.slots if one], counts.by_rule, carousel.candidates)


def allowed_rows(facts: Facts, active: Active, has_catalogue: bool, counts: Counts) -> Rows:
    """Return the rows that no rule removes, in their order. A row that several rules would remove counts for the first."""
    rows: Rows = range(len(facts))
    if has_catalogue:
        kept = [row for row, available in enumerate(facts.available) if available is not False]
        counts.add(OUT_OF_STOCK, "removed", len(rows) - len(kept))
        rows = kept
    for one in active.removals:
        if not rows:
            break
        kept = left_by(one, facts, rows)
        counts.add(one.rule.id, "removed", len(rows) - len(kept))
        rows = kept
    return rows


def left_by(one: Prepared, facts: Facts, rows: Rows) -> list[int]:
    """Return the rows that a rule of `remove` or `only` leaves."""
    assert one.match is not None
    matching = set(one.match.match(facts, rows))
    known = facts.known
    if one.rule.remove is not None:
        if one.rule.unknown == "remove":
            return [row for row in rows if row not in matching and known[row] is not None]
        return [row for row in rows if row not in matching]
    if one.match.needs_facts and one.rule.unknown != "remove":
        return [row for row in rows if row in matching or known[row] is None]
    return [row for row in rows if row in matching]


class _Carousel:
    """The slots of one answer while they are filled."""

    def __init__(self, active: Active, catalogue: Catalogue | None, request: Request, counts: Counts) -> None:
        self._active, self._catalogue, self._request, self._counts = active, catalogue, request, counts
        self.slots: list[Placed | None] = [None] * request.k
        self.candidates = 0
        self._free = list(range(request.k - 1, -1, -1))
        self._held: list[int] = []
        self._seen = {*request.excluded, *(() if request.own_list else request.items[-1:])}
        self._excluded = frozenset(self._seen)
        # What is left of the first list when its slots are full.
        self._rest: _Rest | None = None
        self._in_limit: list[dict[str, int]] = [{} for _ in active.limits]
        self._in_diversity: list[dict[str, int]] = [{} for _ in active.diversities]
        # Per never_with: if an item of either side is here.
        self._sides = [[False, False] for _ in active.conflicts]
        viewed = viewed_item(request, catalogue) if active.conflicts else None
        if viewed:
            _Sheet(viewed, active).take(0, self._in_limit[:0], self._in_diversity[:0], self._sides)

    @property
    def is_full(self) -> bool:
        """True if every slot has an item."""
        return not self._free

    def pin(self, scores: dict[str, float]) -> None:
        """Put the pinned items at their slots. A pin without an item that may be shown has no effect."""
        pins = [(one.rule.id, one.rule.pin) for one in self._active.pins if one.rule.pin]
        wanted = [item for _, pin in pins for item in _listed(pin.items) if item not in self._seen]
        if self._request.own_list:
            wanted = [item for item in wanted if item in scores]
        if not wanted:
            return
        table = self._table(list(dict.fromkeys(wanted)))
        sheet = _Sheet(table, self._active)
        allowed = allowed_rows(table, self._active, self._catalogue is not None, Counts())
        row_of = {table.ids[row]: row for row in allowed}
        for rule_id, pin in pins:
            slot = pin.slot - 1
            if slot >= len(self.slots) or self.slots[slot]:
                continue
            for item_id in _listed(pin.items):
                row = row_of.get(item_id)
                if row is None or item_id in self._seen or self._blocker(sheet, row):
                    continue
                self.slots[slot] = Placed(item_id, scores.get(item_id, 0.0), rule_id)
                self._free.remove(slot)
                self._seen.add(item_id)
                self._take(sheet, row)
                self._counts.add(rule_id, "pinned")
                break

    def fill(self, scored: Sequence[Scored], counted: bool) -> None:
        """Fill the free slots with the best items of a list."""
        new = {item_id: score for item_id, score in scored if item_id not in self._seen}
        if not new or (self.is_full and not counted):
            return
        self._seen.update(new)
        counts = self._counts if counted else Counts()
        self.candidates += len(new) if counted else 0
        table = self._table(list(new))
        scores = list(new.values())
        rows = allowed_rows(table, self._active, self._catalogue is not None, counts)
        if self.is_full and not self._held:
            return
        sheet = _Sheet(table, self._active)
        self._rest = _Rest(sheet, scores, counts, self._by_preference(sheet, rows, scores, counts))
        self._place_rest()

    def hold(self, one: Prepared) -> None:
        """Hold slots for exploration: never the first one, and those that the request's seed draws."""
        assert one.rule.explore is not None
        share = one.rule.explore.share * self._request.k
        wanted = int(share) + (_drawn(self._request.seed, "slots") < share % 1)
        open_ = sorted(
            (slot for slot in self._free if slot), key=lambda slot: _drawn(self._request.seed, f"slot {slot}")
        )
        self._held = sorted(open_[:wanted], reverse=True)
        self._free = [slot for slot in self._free if slot not in self._held]

    def explore(self, one: Prepared, first: Sequence[Scored], reserve: Reserve | None) -> None:
        """Give the held slots to items that the rule matches: of the model's list, else of the whole catalogue.

        The seed draws among them, so each gets its chance. A slot that no item fits is filled best first.
        """
        if not self._held:
            return
        lists: Iterator[Sequence[Scored]] = iter([first])
        if reserve:
            only = one._replace(rule=_only_rule(one))
            narrowed = self._active._replace(removals=(*self._active.removals, only))
            lists = chain(lists, islice(reserve(narrowed, self._request), EXPLORED_LISTS))
        for scored in lists:
            self._explore_list(one, scored)
            if not self._held:
                return
        self._release()
        self._place_rest()

    def _release(self) -> None:
        """Give the held slots back. The items that are placed move forward, so that they stay best first."""
        own = [slot for slot, one in enumerate(self.slots) if one and not (one.pinned_by or one.explored_by)]
        placed = [self.slots[slot] for slot in own]
        open_ = sorted([*own, *self._held, *self._free])
        for slot in own:
            self.slots[slot] = None
        for slot, one in zip(open_, placed, strict=False):
            self.slots[slot] = one
        self._free, self._held = open_[: len(placed) - 1 : -1] if placed else open_[::-1], []

    def _explore_list(self, one: Prepared, scored: Sequence[Scored]) -> None:
        assert one.match is not None
        shown = {placed.item_id for placed in self.slots if placed} | self._excluded
        scores = {item_id: score for item_id, score in scored if item_id not in shown}
        if not scores:
            return
        table = self._table(list(scores))
        allowed = allowed_rows(table, self._active, self._catalogue is not None, Counts())
        sheet = _Sheet(table, self._active)
        drawn = sorted(
            one.match.match(table, allowed), key=lambda row: _drawn(self._request.seed, table.ids[row])
        )
        for row in drawn:
            if not self._held:
                return
            if self._blocker(sheet, row):
                continue
            item_id = table.ids[row]
            self.slots[self._held.pop()] = Placed(item_id, scores[item_id], explored_by=one.rule.id)
            self._seen.add(item_id)
            self._take(sheet, row)
            self._counts.add(one.rule.id, "explored")

    def _place_rest(self) -> None:
        """Fill the free slots with what is left of the last list, best first."""
        if self._rest is None or not self._free:
            return
        sheet, scores, counts, rows = self._rest
        shown = {placed.item_id for placed in self.slots if placed}
        for row in rows:
            if sheet.table.ids[row] in shown:
                continue
            blocker = self._blocker(sheet, row)
            if blocker:
                counts.add(blocker, "removed")
                continue
            self.slots[self._free.pop()] = Placed(sheet.table.ids[row], scores[row])
            self._take(sheet, row)
            if not self._free:
                return

    def _table(self, ids: list[str]) -> Table:
        catalogue, now_ms = self._catalogue, self._request.now_ms
        if catalogue is None:
            return Table(ids, [None] * len(ids), now_ms)
        return Table(ids, [catalogue.product(item_id, now_ms) for item_id in ids], now_ms)

    def _by_preference(
        self, sheet: "_Sheet", rows: Sequence[int], scores: Sequence[float], counts: Counts
    ) -> Iterator[int]:
        """Yield rows, the best of the remaining ones first."""
        if not self._active.weights and not self._active.diversities:
            yield from rows
            return
        weights, last = weigh(sheet.table, rows, scores, self._active.weights, counts)
        first = [row for row in rows if row not in last]
        for group in (first, [row for row in rows if row in last]):
            if self._active.diversities:
                yield from self._diverse(sheet, group, weights, counts)
            else:
                yield from sorted(group, key=lambda row: -weights[row])

    def _diverse(
        self, sheet: "_Sheet", rows: Sequence[int], weights: Sequence[float], counts: Counts
    ) -> Iterator[int]:
        """Yield rows, the best first. A weight only sinks while others are taken, so a heap with old weights suffices."""
        heap = [(-weights[row], place, row) for place, row in enumerate(rows)]
        heapq.heapify(heap)
        moved: set[int] = set()
        while heap:
            weight, place, row = heap[0]
            now = -weights[row] / sheet.penalty(row, self._in_diversity)
            if now > weight:
                heapq.heapreplace(heap, (now, place, row))
                moved.add(row)
                continue
            heapq.heappop(heap)
            if row in moved:
                for one in self._active.diversities[:1]:
                    counts.add(one.rule.id, "moved")
            yield row

    def _blocker(self, sheet: "_Sheet", row: int) -> str | None:
        """Return the id of the first rule by which an item cannot join those that are here."""
        for at, one in enumerate(self._active.limits):
            key = sheet.limit_keys[at][row]
            assert one.rule.limit is not None
            if key is not None and self._in_limit[at].get(key, 0) >= one.rule.limit.max:
                return one.rule.id
        for at, one in enumerate(self._active.conflicts):
            left, right = sheet.sides[at]
            here_left, here_right = self._sides[at]
            if (row in left and here_right) or (row in right and here_left):
                return one.rule.id
        return None

    def _take(self, sheet: "_Sheet", row: int) -> None:
        sheet.take(row, self._in_limit, self._in_diversity, self._sides)


class _Rest(NamedTuple):
    """The rows of a list that are not placed yet, best first."""

    sheet: "_Sheet"
    scores: Sequence[float]
    counts: Counts
    rows: Iterator[int]


def _drawn(seed: str, subject: str) -> float:
    """Return a number from 0 to below 1 that seed and subject decide."""
    digest = hashlib.sha256(f"{seed}\0{subject}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def _only_rule(one: Prepared) -> Rule:
    """Return the rule that leaves only what an exploring rule matches."""
    assert one.rule.explore is not None
    return Rule(id=one.rule.id, only=one.rule.explore.match, unknown="remove")


class _Sheet:
    """Per item of a table, its values in the limits, the diversities and the sides of `never_with`."""

    def __init__(self, table: Table, active: Active) -> None:
        self.table, self._active = table, active
        self.limit_keys = [limit_keys(table, one) for one in active.limits]
        self.diversity_keys = [
            values_of(table, one.rule.diversify.per, one.rule.diversify.level)
            for one in active.diversities
            if one.rule.diversify
        ]
        rows = range(len(table.ids))
        self.sides = [
            (set(one.match.match(table, rows)), set(one.other.match(table, rows)))
            for one in active.conflicts
            if one.match and one.other
        ]

    def take(
        self,
        row: int,
        in_limit: list[dict[str, int]],
        in_diversity: list[dict[str, int]],
        sides: list[list[bool]],
    ) -> None:
        """Count an item that joins the answer."""
        for counted, keys in zip(in_limit, self.limit_keys, strict=False):
            key = keys[row]
            if key is not None:
                counted[key] = counted.get(key, 0) + 1
        for counted, values in zip(in_diversity, self.diversity_keys, strict=False):
            counted[values[row]] = counted.get(values[row], 0) + 1
        for side, (left, right) in zip(sides, self.sides, strict=True):
            side[0] |= row in left
            side[1] |= row in right

    def penalty(self, row: int, in_diversity: list[dict[str, int]]) -> float:
        """Return the number by which an item's weight is divided beside the items that are here."""
        divisor = 1.0
        for one, counted, values in zip(
            self._active.diversities, in_diversity, self.diversity_keys, strict=True
        ):
            value = values[row]
            if value and one.rule.diversify:
                divisor *= one.rule.diversify.by ** counted.get(value, 0)
        return divisor


def limit_keys(facts: Facts, one: Prepared) -> Sequence[str | None]:
    """Return the value that an item counts for; None for an item that the limit does not concern."""
    limit = one.rule.limit
    assert limit is not None
    values: Sequence[str | None] = (
        [value or None for value in values_of(facts, limit.per, limit.level)]
        if limit.per
        else ["all"] * len(facts)
    )
    if one.match is None:
        return values
    matching = set(one.match.match(facts, range(len(facts))))
    return [value if row in matching else None for row, value in enumerate(values)]


def weigh(
    table: Table,
    rows: Sequence[int],
    scores: Sequence[float],
    rules: Sequence[Prepared],
    counts: Counts,
) -> tuple[list[float], set[int]]:
    """Return a weight per row of the table, and the rows that are last whatever their weight."""
    weights = base_weights(scores)
    last: set[int] = set()
    for one in rules:
        rule = one.rule
        if rule.margin is not None:
            counts.add(rule.id, "weighted", _weigh_margins(table, rows, weights, rule.margin.strength))
            continue
        assert one.match is not None
        matching = one.match.match(table, rows)
        if rule.boost is not None:
            for row in matching:
                weights[row] *= rule.boost.by
            counts.add(rule.id, "boosted", len(matching))
        elif rule.bury is not None:
            if rule.bury.by is None:
                last.update(matching)
            else:
                for row in matching:
                    weights[row] /= rule.bury.by
            counts.add(rule.id, "buried", len(matching))
    return weights, last


def base_weights(scores: Sequence[float]) -> list[float]:
    """Return weights that never rise: the scores where they fall, and shares of the last one by place elsewhere.

    So a list without scores, such as the fallback's, has 1, 1/2, 1/3 and so on.
    """
    weights: list[float] = []
    least, behind = 1.0, 0
    scored = False
    for score in scores:
        if score > 0 and (not weights or score <= weights[-1]):
            least, behind, scored = score, 0, True
            weights.append(score)
        else:
            behind += 1
            weights.append(least / (behind + scored))
    return weights


def _weigh_margins(table: Table, rows: Sequence[int], weights: list[float], strength: float) -> int:
    """Multiply the weights by margins, and return the number of items whose margin is known."""
    margins = table.margins
    known = [row for row in rows if not math.isnan(margins[row])]
    positive = sorted(margins[row] for row in known if margins[row] > 0)
    if not positive:
        return 0
    median = positive[len(positive) // 2]
    for row in known:
        weights[row] *= max(margins[row] / median, LEAST_MARGIN) ** strength
    return len(known)


def _listed(items: str | tuple[str, ...]) -> tuple[str, ...]:
    return (items,) if isinstance(items, str) else items
