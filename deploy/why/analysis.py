"""Explain a change: the stages that moved, the segments that moved them, and what is the usual variation only."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import pairwise
from statistics import NormalDist
from typing import Literal

from deploy.why import queries
from deploy.why.data import Data, require_data
from deploy.why.decompose import Cell, Part, log_mean, overlap, ratios, split_product, split_rate
from deploy.why.figures import DIMENSIONS, LOST_BY, Figure, Loss, Stage, stage
from deploy.why.noise import Series, Variation, t_quantile, variation
from deploy.why.queries import Row, Span, Statement

# The probability of naming a cause although nothing but chance moved the figure.
ALPHA = 0.05
# A cause below this share of the change is not worth a sentence.
LEAST_SHARE = 0.1
# If no stage is unusual among all, but the figure is, the largest stage must explain so much of the change to be named.
LEAST_ALONE = 0.5
# A segment is named if the chosen segments explain so much of their stage, and are at most so much of its volume.
EXPLAINS, SPECIFIC = 0.7, 0.8
# Of the chosen segments, each has at least this part of the stage's change.
LEAST_OF_STAGE = 0.2
# If nothing was served in both periods, the time and the segment have the same effect.
LEAST_OVERLAP = 0.1
# A count that falls to zero from fewer may be chance.
FEWEST_EVENTS = 10
LARGEST_SEGMENTS, LARGEST_PARTS = 30, 3
OTHERS = "others"

Change = Literal["stage", "rate", "share", "sum", "loss"]


@dataclass(frozen=True)
class Line:
    """A stage or a loss: its value in both periods and its effect on the figure, in the figure's unit."""

    key: str
    title: str
    unit: str
    before: float
    now: float
    effect: float
    is_unusual: bool  # more than chance explains, although several stages are tested
    is_likely: bool  # more than chance explains, if only this stage is tested
    statement: Statement
    stage: Stage | None = None
    loss: Loss | None = None


@dataclass(frozen=True)
class Segment:
    """A segment of a stage. `effect` is `by_rate` and `by_share` together, in the figure's unit."""

    name: str
    share_before: float
    share_now: float
    before: float | None
    now: float | None
    by_rate: float
    by_share: float
    is_unusual: bool = False

    @property
    def effect(self) -> float:
        """Return the segment's part of the stage's effect."""
        return self.by_rate + self.by_share


@dataclass(frozen=True)
class Table:
    """A stage by the segments of one dimension."""

    stage: Stage
    dimension: str
    segments: list[Segment]
    is_comparable: bool
    is_mix_unusual: bool
    statement: Statement

    @property
    def by_share(self) -> float:
        """Return the effect of all segments' shares together."""
        return sum(segment.by_share for segment in self.segments)


@dataclass(frozen=True)
class Cause:
    """Something that moved the figure, with its part of the change."""

    change: Change
    line: Line
    effect: float
    statement: Statement
    dimension: str | None = None
    segment: Segment | None = None
    since: date | None = None
    # Segments that explain some of a stage, each by another dimension, so that they may overlap.
    parts: tuple["Cause", ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """Return what identifies the cause: stage, dimension and segment. Shares of a dimension are one cause."""
        if self.dimension is None or self.segment is None:
            return (self.line.key,)
        if self.change == "rate":
            return (self.line.key, self.dimension, self.segment.name)
        return (self.dimension, self.segment.name)


@dataclass(frozen=True)
class Report:
    """The explanation of a change."""

    figure: Figure
    data: Data
    before: float
    now: float
    bound: float | None
    is_usual: bool
    lines: list[Line]
    causes: list[Cause]
    tables: list[Table]
    statement: Statement
    notes: list[str] = field(default_factory=list)

    @property
    def change(self) -> float:
        """Return the change, in the figure's unit."""
        return self.now - self.before

    @property
    def moved_tables(self) -> list[Table]:
        """Return the tables of the stages that moved or have a cause."""
        moved = {line.key for line in self.lines if line.is_unusual}
        moved |= {cause.line.key for cause in self.causes}
        return [table for table in self.tables if table.stage.key in moved]

    def share(self, effect: float) -> float:
        """Return an effect's share of the change; 0 without a change."""
        return effect / self.change if self.change else 0.0


def analyze(data: Data, figure: Figure) -> Report:
    """Return the explanation.

    Raises:
        WhyError: the figure has no value in one of the periods.
    """
    require_data(data, figure)
    return _Analysis(data, figure).report()


class _Analysis:
    """The state of one explanation."""

    def __init__(self, data: Data, figure: Figure) -> None:
        self.data, self.figure, self.periods = data, figure, data.periods
        self.losses = data.losses
        same = len(self.periods.now.days) == len(self.periods.before.days)
        # A level is compared per day if the periods differ in length.
        self.scale = {span: 1.0 if same else 1 / len(span.days) for span in (self.before, self.now)}
        self.chain = self._chain()

    @property
    def before(self) -> Span:
        return self.periods.before

    @property
    def now(self) -> Span:
        return self.periods.now

    def report(self) -> Report:
        value_before, value_now = self._value(self.before), self._value(self.now)
        bound, is_usual = self._total_bound(value_before, value_now)
        lines = self._lines(value_before, value_now)
        tables = self._tables(lines, value_before, value_now)
        causes = self._causes(lines, tables, value_now - value_before, bound, is_usual, value_before)
        return Report(
            self.figure,
            self.data,
            value_before,
            value_now,
            bound,
            is_usual,
            lines,
            causes,
            tables,
            queries.of_figure(self.data.shop, self.periods, self.figure.chain, self.figure.is_level),
            self._notes(),
        )

    def _chain(self) -> list[str]:
        """Return the figure's counts without those that a shop does not send: zero, although later ones are not."""
        chain, both = list(self.figure.chain), (self.before, self.now)
        kept = chain[:1]
        for position, count in enumerate(chain[1:-1], 1):
            sums = [self.data.sum(span, count) for span in both]
            later = [any(self.data.sum(span, name) > 0 for name in chain[position + 1 :]) for span in both]
            skipped = any(total <= 0 and more for total, more in zip(sums, later, strict=True))
            if not skipped and max(sums) > 0:
                kept.append(count)
        return [*kept, chain[-1]]

    def _value(self, span: Span) -> float:
        last = self.data.sum(span, self.chain[-1])
        return last * self.scale[span] if self.figure.is_level else last / self.data.sum(span, self.chain[0])

    def _kept(self, count: str, span: Span) -> float:
        """Return the share of a count's events that were not lost."""
        return math.prod(
            self.data.share_kept(span, loss) for loss in LOST_BY.get(count, ()) if loss in self.losses
        )

    def _node(self, count: str, span: Span) -> float | None:
        """Return a count as if nothing had been lost, or None if everything was."""
        kept = self._kept(count, span)
        return self.data.sum(span, count) / kept if kept > 0 else None

    def _total_bound(self, before: float, now: float) -> tuple[float | None, bool]:
        """Return the figure's largest usual change as a logarithm, and True if the change is within it."""
        events = "items_bought" if self.figure.is_level else self.chain[-1]
        if before <= 0 or now <= 0:
            most = max(self.data.sum(span, events) for span in (self.before, self.now))
            return None, most < FEWEST_EVENTS
        whole = None if self.figure.is_level else self.chain[0]
        found = self._variation(whole, self.chain[-1], events, "count")
        bound = found.bound(ALPHA)
        return bound, abs(math.log(now / before)) <= bound

    def _variation(self, whole: str | None, part: str, events: str, unit: str) -> Variation:
        spans = [self.now, self.before, *self.data.earlier]
        series = [
            Series(
                self.data.daily(span, part),
                self.data.daily(span, whole) if whole else [1.0] * len(span.days),
            )
            for span in spans
        ]
        counts = [max(self.data.sum(span, events), 1.0) for span in (self.before, self.now)]
        least = sum(1 / count for count in counts)
        # The spread of prices comes from the days. It is never nothing, however few pieces were bought.
        return variation(series, least if part == events or unit == "count" else 0.05 * least)

    def _lines(self, value_before: float, value_now: float) -> list[Line]:
        """Return the stages and the losses with their effects, which add up to the change."""
        chain, level = self.chain, self.figure.is_level
        stages = [stage(None, chain[0])] if level else []
        stages += [stage(whole, part) for whole, part in pairwise(chain)]
        nodes_before = [self._node(count, self.before) for count in chain]
        nodes_now = [self._node(count, self.now) for count in chain]
        x0, x1 = ratios(nodes_before, nodes_now)
        if level:
            x0.insert(0, (nodes_before[0] or 0.0) * self.scale[self.before])
            x1.insert(0, (nodes_now[0] or 0.0) * self.scale[self.now])
        last = LOST_BY.get(chain[-1], ())
        first = () if level else LOST_BY.get(chain[0], ())
        losses = [(loss, 1) for loss in last if loss not in first]
        losses += [(loss, -1) for loss in first if loss not in last]
        losses = [(loss, power) for loss, power in losses if loss in self.losses]
        kept = {
            loss: (self.data.share_kept(self.before, loss), self.data.share_kept(self.now, loss))
            for loss, _ in losses
        }
        effects = split_product(
            x0 + [kept[loss][0] ** power for loss, power in losses],
            x1 + [kept[loss][1] ** power for loss, power in losses],
        )
        lines = [
            self._stage_line(one, before, now, effect, len(stages))
            for one, before, now, effect in zip(stages, x0, x1, effects, strict=False)
        ]
        for (loss, _), effect in zip(losses, effects[len(stages) :], strict=True):
            before, now = kept[loss]
            moved = abs(math.log(now / before)) if min(before, now) > 0 else math.inf
            lost = max(self.data.lost(span, loss) for span in (self.before, self.now))
            lines.append(
                Line(
                    loss.key,
                    loss.title,
                    "rate",
                    before,
                    now,
                    effect,
                    lost >= FEWEST_EVENTS and moved > 0.01,
                    lost >= FEWEST_EVENTS and moved > 0.01,
                    queries.of_loss(self.data.shop, self.periods, loss),
                    loss=loss,
                )
            )
        return lines

    def _stage_line(self, one: Stage, before: float, now: float, effect: float, stages: int) -> Line:
        if before > 0 and now > 0:
            found = self._variation(one.whole, one.part, one.events, one.unit)
            moved = abs(math.log(now / before))
            unusual, likely = moved > found.bound(ALPHA / stages), moved > found.bound(ALPHA)
        else:
            unusual = likely = (
                max(self.data.sum(span, one.events) for span in (self.before, self.now)) >= FEWEST_EVENTS
            )
        statement = queries.of_stage(self.data.shop, self.periods, one, self.losses)
        return Line(one.key, one.title, one.unit, before, now, effect, unusual, likely, statement, stage=one)

    def _tables(self, lines: Sequence[Line], before: float, now: float) -> list[Table]:
        """Return each stage by the segments of each dimension."""
        found = []
        split = [
            (line, line.stage, dimension)
            for line in lines
            if line.stage
            for dimension in line.stage.dimensions
        ]
        cells = {(one.key, dimension): self._cells(one, dimension) for _, one, dimension in split}
        tests = sum(len(of_table) + 1 for of_table in cells.values())
        for line, one, dimension in split:
            segments = cells[one.key, dimension]
            if len(segments) < 2 or line.before == line.now == 0:
                continue
            in_stage = sum(len(cells[one.key, name]) + 1 for name in one.dimensions)
            alpha = ALPHA / (in_stage if line.is_unusual else tests)
            found.append(self._table(line, one, dimension, segments, alpha, before, now))
        return found

    def _cells(self, one: Stage, dimension: str) -> dict[str, tuple[Cell, float, float]]:
        """Return a stage's segments: corrected counts, and the number of events behind them in both periods."""
        rows = _largest(self.data.segments.get(dimension, {}), one)
        found = {}
        for name, periods in rows.items():
            before, now = periods.get("before", {}), periods.get("now", {})
            cell = Cell(
                self._corrected(before, one.part, self.before),
                self._corrected(before, one.whole, self.before),
                self._corrected(now, one.part, self.now),
                self._corrected(now, one.whole, self.now),
            )
            counts = before.get(one.events, 0.0), now.get(one.events, 0.0)
            if max(cell) > 0:
                found[name] = (cell, *counts)
        return found

    def _corrected(self, row: Row, count: str | None, span: Span) -> float:
        if count is None:
            return 0.0
        kept = self._kept(count, span)
        return row.get(count, 0.0) / kept if kept > 0 else 0.0

    def _table(
        self, line: Line, one: Stage, dimension: str, found: Mapping[str, tuple[Cell, float, float]],
        alpha: float, value_before: float, value_now: float,
    ) -> Table:  # fmt: skip
        cells = {name: cell for name, (cell, _, _) in found.items()}
        spread = self._spread(line, one, alpha)
        unit = _scale(line, value_before, value_now)
        adds = one.adds(dimension)
        if adds:
            wholes = [self._whole(one, span) for span in (self.before, self.now)]
            cells = {
                name: Cell(cell.part_before, wholes[0], cell.part_now, wholes[1])
                for name, cell in cells.items()
            }
            parts = [
                Part(name, cell.part_now / wholes[1] - cell.part_before / wholes[0], 0.0)
                for name, cell in cells.items()
            ]
        else:
            parts = split_rate(cells)
        volume = [
            sum(cell.part_before if adds else cell.whole_before for cell in cells.values()) or 1.0,
            sum(cell.part_now if adds else cell.whole_now for cell in cells.values()) or 1.0,
        ]
        segments = [
            Segment(
                part.segment,
                (cells[part.segment].part_before if adds else cells[part.segment].whole_before) / volume[0],
                (cells[part.segment].part_now if adds else cells[part.segment].whole_now) / volume[1],
                _per(cells[part.segment].part_before, cells[part.segment].whole_before),
                _per(cells[part.segment].part_now, cells[part.segment].whole_now),
                part.by_rate * unit,
                part.by_share * unit,
                _stands_out(part.segment, found, spread, adds),
            )
            for part in parts
        ]
        mix = 0.0 if adds else sum(part.by_share for part in parts)
        return Table(
            one,
            dimension,
            sorted(segments, key=lambda segment: -abs(segment.effect)),
            adds or overlap(cells) >= LEAST_OVERLAP,
            not adds and abs(mix) > self._mix_bound(one, found, spread),
            queries.of_segments(self.data.shop, self.periods, one, dimension),
        )

    def _whole(self, one: Stage, span: Span) -> float:
        """Return the denominator of a stage that its segments add up to."""
        if one.whole is None:
            return 1 / self.scale[span]
        return self._node(one.whole, span) or math.inf

    def _spread(self, line: Line, one: Stage, alpha: float) -> tuple[float, float]:
        """Return how much more a segment's events vary than independent ones, and the quantile of a test."""
        counts = [max(self.data.sum(span, one.events), 1.0) for span in (self.before, self.now)]
        found = self._variation(one.whole, one.part, one.events, one.unit)
        spread = max(found.variance, found.least) / sum(1 / count for count in counts)
        normal = NormalDist().inv_cdf(1 - alpha / 2)
        quantile = normal if found.variance <= found.least else t_quantile(1 - alpha / 2, found.degrees)
        return spread, quantile

    def _mix_bound(
        self, one: Stage, found: Mapping[str, tuple[Cell, float, float]], spread: tuple[float, float]
    ) -> float:
        """Return the largest effect of changed shares on a stage that chance explains."""
        cells = {name: cell for name, (cell, _, _) in found.items()}
        whole0 = sum(cell.whole_before for cell in cells.values()) or 1.0
        whole1 = sum(cell.whole_now for cell in cells.values()) or 1.0
        rate = sum(cell.part_before + cell.part_now for cell in cells.values()) / (whole0 + whole1)
        # The items of one answer are not independent, so shares are as certain as the number of answers or sessions allows.
        independent = "sessions" if one.whole and one.whole.endswith("sessions") else "recommendations"
        n0, n1 = (max(self.data.sum(span, independent), 1.0) for span in (self.before, self.now))
        variance = 0.0
        for cell, before, now in found.values():
            weight0, weight1 = cell.whole_before / whole0, cell.whole_now / whole1
            own = _per(cell.part_before + cell.part_now, cell.whole_before + cell.whole_now) or 0.0
            variance += (weight1 - weight0) ** 2 * own**2 * spread[0] / max(before + now, 1.0)
            variance += (own - rate) ** 2 * (weight0 / n0 + weight1 / n1)
        return spread[1] * math.sqrt(variance)

    def _causes(
        self, lines: Sequence[Line], tables: Sequence[Table], change: float, bound: float | None, is_usual: bool,
        value_before: float,
    ) -> list[Cause]:  # fmt: skip
        """Return the causes, the largest first: those in the direction of the change before those against it."""
        found: dict[tuple[str, ...], Cause] = {}
        for line in lines:
            for cause in self._of_line(line, [table for table in tables if table.stage is line.stage]):
                known = found.get(cause.key)
                if known is None:
                    found[cause.key] = cause
                else:
                    larger = max(known, cause, key=lambda one: abs(one.effect))
                    found[cause.key] = replace(larger, effect=known.effect + cause.effect)
        # In a usual change, only a cause that is larger than the usual variation counts: another one hides it.
        least = LEAST_SHARE * abs(change)
        if is_usual:
            least = max(least, abs(value_before) * math.expm1(bound) if bound else 0.0)
        causes = [cause for cause in found.values() if abs(cause.effect) >= least and cause.effect]
        if not causes and not is_usual:
            largest = max(lines, key=lambda line: line.effect / change)
            if largest.is_likely and largest.effect / change >= LEAST_ALONE:
                causes = [self._stage_cause(largest)]
        return sorted(causes, key=lambda cause: (cause.effect * change < 0, -abs(cause.effect)))

    def _of_line(self, line: Line, tables: Sequence[Table]) -> list[Cause]:
        chosen = self._chosen(line, tables)
        if chosen:
            rest = line.effect - sum(cause.effect for cause in chosen)
            same_sign = rest * line.effect > 0
            if line.is_unusual and same_sign and abs(rest) > (1 - EXPLAINS) * abs(line.effect):
                chosen.append(replace(self._stage_cause(line), effect=rest))
            return chosen
        if not line.is_unusual:
            return []
        parts = [cause for table in tables for cause in self._unusual(line, table)]
        parts.sort(key=lambda cause: -abs(cause.effect))
        return [replace(self._stage_cause(line), parts=tuple(parts[:LARGEST_PARTS]))]

    def _stage_cause(self, line: Line) -> Cause:
        return Cause(
            "loss" if line.loss else "stage", line, line.effect, line.statement, since=self._since(line.stage)
        )

    def _chosen(self, line: Line, tables: Sequence[Table]) -> list[Cause]:
        """Return the segments of the dimension that explains the stage best, if one does."""
        best: list[Cause] = []
        most = 0.0
        for dimension in DIMENSIONS:
            table = next((one for one in tables if one.dimension == dimension), None)
            found = self._unusual(line, table) if table else []
            if line.is_unusual:
                # A stage that moved has one direction, and its segments must explain most of it.
                explained = sum(cause.effect for cause in found) * math.copysign(1, line.effect)
                if explained < EXPLAINS * abs(line.effect):
                    continue
            else:
                explained = sum(abs(cause.effect) for cause in found)
            # A later dimension must explain clearly more.
            if found and explained > 1.05 * most:
                best, most = found, explained
        return best

    def _unusual(self, line: Line, table: Table) -> list[Cause]:
        """Return the segments whose own value moved unlike the others', and the changed shares, as causes."""
        least = LEAST_OF_STAGE * abs(line.effect)
        adds = table.stage.adds(table.dimension)
        found = []
        if table.is_comparable:
            named = [
                segment
                for segment in table.segments
                if segment.is_unusual and abs(segment.by_rate) >= least
                and (not line.is_unusual or segment.by_rate * line.effect > 0)
                and segment.name != OTHERS
            ]  # fmt: skip
            # Segments that move the same way explain nothing if they are almost all of the stage.
            if not line.is_unusual or sum(_weight(segment) for segment in named) <= SPECIFIC:
                found += [
                    self._segment_cause("sum" if adds else "rate", line, table, segment, segment.by_rate)
                    for segment in named
                ]
        if table.is_mix_unusual and table.is_comparable and abs(table.by_share) >= least:
            # One segment's gain is the others' loss. The one that gained is the news, unless its part is small.
            most = max(abs(one.by_share) for one in table.segments)
            segment = max(
                (one for one in table.segments if abs(one.by_share) >= most / 2),
                key=lambda one: one.share_now - one.share_before,
            )
            found.append(self._segment_cause("share", line, table, segment, table.by_share))
        return found

    def _segment_cause(
        self, change: Change, line: Line, table: Table, segment: Segment, effect: float
    ) -> Cause:
        statement = table.statement
        if change != "share":
            place = (table.dimension, segment.name)
            statement = queries.of_stage(self.data.shop, self.periods, table.stage, self.losses, place)
        since = None
        if table.dimension == "model_version":
            served = dict(self.data.first_served).get(segment.name)
            since = served if served and served > self.before.first else None
        elif change == "sum":
            since = self._since(table.stage)
        return Cause(change, line, effect, statement, table.dimension, segment, since)

    def _since(self, one: Stage | None) -> date | None:
        """Return the day on which a stage moved, if that is later than the first day of the period."""
        if one is None:
            return None
        days = [*self.before.days, *self.now.days]
        rows = [self.data.days.get(day, {}) for day in days]

        def strength(position: int) -> float:
            """Return how unlike the days before and from a position are."""
            sides = []
            for part in (rows[:position], rows[position:]):
                whole = sum(row.get(one.whole, 0.0) for row in part) if one.whole else float(len(part))
                sides.append((sum(row.get(one.part, 0.0) for row in part) + 0.5, whole + 0.5, len(part)))
            (part0, whole0, days0), (part1, whole1, days1) = sides
            return abs(math.log(part1 / whole1) - math.log(part0 / whole0)) / math.sqrt(1 / days0 + 1 / days1)

        first = len(self.before.days)
        best = max(range(first, len(days)), key=strength)
        return days[best] if best > first else None

    def _notes(self) -> list[str]:
        """Return what the reader must know about the data."""
        notes = []
        for span in (self.now, self.before):
            empty = [day for day in span.days if self.data.days.get(day, {}).get("sessions", 0) == 0]
            if empty:
                notes.append(f"Days of {span} without a session: {len(empty)}, the first is {empty[0]}")
        both = {*self.before.days, *self.now.days}
        counted = {day for day, _, _ in self.data.refused}
        if missing := len(both - counted):
            notes.append(
                f"Validate has counted no refused events of {missing} of the {len(both)} days, so they count as 0"
            )
        other = {
            span: sum(
                events
                for (day, name, _), events in self.data.refused.items()
                if span.first <= day <= span.last and name not in {loss.event_name for loss in self.losses}
            )
            for span in (self.before, self.now)
        }
        if other[self.now] > 2 * other[self.before] + FEWEST_EVENTS:
            notes.append(
                f"{other[self.now]:,.0f} other events were refused, {other[self.before]:,.0f} before. "
                "Sessions may be counted too low"
            )
        if len(self.now.days) < 3:
            notes.append("A period of fewer than three days shows little of its usual variation")
        dropped = [count for count in self.figure.chain if count not in self.chain]
        notes += [f"{count.replace('_', ' ')} is no stage: it is 0 in a period" for count in dropped]
        later = self.data.having(dropped[0]) if dropped else []
        if later and later[0] > self.now.last:
            notes.append(
                f"The first day with {dropped[0].replace('_', ' ')} is {later[0]}, after both periods"
            )
        return notes


def _largest(rows: Mapping[str, dict[str, Row]], one: Stage) -> dict[str, dict[str, Row]]:
    """Return the largest segments, and the others as one."""

    def volume(name: str) -> float:
        return sum(
            row.get(one.whole or one.part, 0.0) + row.get(one.part, 0.0) for row in rows[name].values()
        )

    ranked = sorted(rows, key=lambda name: (-volume(name), name))
    kept = {name: rows[name] for name in ranked[:LARGEST_SEGMENTS]}
    rest: dict[str, Row] = {}
    for name in ranked[LARGEST_SEGMENTS:]:
        for period, row in rows[name].items():
            total = rest.setdefault(period, {})
            for count, value in row.items():
                total[count] = total.get(count, 0.0) + value
    return kept | ({OTHERS: rest} if rest else {})


def _per(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _scale(line: Line, value_before: float, value_now: float) -> float:
    """Return the figure's change per change of the stage's own value."""
    if min(value_before, value_now) <= 0 or min(line.before, line.now) <= 0:
        return line.effect / (line.now - line.before) if line.now != line.before else 0.0
    mean = log_mean(value_now, value_before) / log_mean(line.now, line.before)
    return mean


def _stands_out(
    name: str, found: Mapping[str, tuple[Cell, float, float]], spread: tuple[float, float], adds: bool
) -> bool:
    """Return True if a segment's value moved unlike that of all other segments together."""
    cell, before, now = found[name]
    others = [one for other, one in found.items() if other != name]
    rest_cells = [other for other, _, _ in others]
    rest_before, rest_now = sum(one[1] for one in others), sum(one[2] for one in others)

    def moved(part0: float, whole0: float, part1: float, whole1: float) -> float | None:
        if adds:
            return math.log((part1 + 0.5) / (part0 + 0.5))
        if whole0 <= 0 or whole1 <= 0:
            return None
        return math.log((part1 + 0.5) / (whole1 + 0.5)) - math.log((part0 + 0.5) / (whole0 + 0.5))

    own = moved(cell.part_before, cell.whole_before, cell.part_now, cell.whole_now)
    rest = moved(
        sum(one.part_before for one in rest_cells),
        sum(one.whole_before for one in rest_cells),
        sum(one.part_now for one in rest_cells),
        sum(one.whole_now for one in rest_cells),
    )
    if own is None or rest is None:
        return False
    # A count that fell to zero is as certain as the count that was to be expected.
    moved_rest = (rest_now + 0.5) / (rest_before + 0.5)
    variance = 1 / (rest_before + 0.5) + 1 / (rest_now + 0.5)
    variance += 1 / max(before, now / moved_rest, 0.5) + 1 / max(now, before * moved_rest, 0.5)
    return abs(own - rest) > spread[1] * math.sqrt(spread[0] * variance)


def _weight(segment: Segment) -> float:
    return max(segment.share_before, segment.share_now)
