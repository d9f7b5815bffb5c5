"""The statements behind a report. The code binds their values; a reader copies them with the values in place."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from deploy.why.figures import COLUMNS, LOST_BY, RECEIPTS, Loss, Stage
from functions.platform import warehouse

Row = dict[str, float]

COUNTS = (*COLUMNS, "orders", "events", "impression_events", "click_events")
# A name of a column or a schema is part of the statement, where no parameter can be bound.
NAME = re.compile(r"[a-z_]+")


@dataclass(frozen=True)
class Span:
    """Days from the first to the last, both included, in UTC."""

    first: date
    last: date

    @property
    def days(self) -> list[date]:
        """Return the days in order."""
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]

    def before(self, number: int = 1) -> "Span":
        """Return the span of the same length that ends where this one begins, or an earlier one."""
        length = timedelta(days=len(self.days) * number)
        return Span(self.first - length, self.last - length)

    def __str__(self) -> str:
        """Return the first and the last day."""
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Periods:
    """The period that is explained, and the one it is compared with."""

    now: Span
    before: Span


@dataclass(frozen=True)
class Statement:
    """A statement with %s for each value, and the values."""

    sql: str
    values: tuple[Any, ...]

    def rows(self, connection: Any) -> list[tuple[Any, ...]]:
        """Return the rows of the statement."""
        return warehouse.rows(connection, self.sql, self.values)

    def __str__(self) -> str:
        """Return the statement with its values in place."""
        values = iter(self.values)
        return re.sub("%s", lambda _: _literal(next(values)), self.sql)


def _literal(value: Any) -> str:
    if isinstance(value, date):
        return f"'{value}'::date"
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


def totals(shop: str, days: Span) -> Statement:
    """Return the counts of each day, the currency, and the time of the newest row."""
    sums = ", ".join(f"sum({name})" for name in COUNTS)
    return Statement(
        f"select DAY, {sums}, max(CURRENCY) from MARTS.DAILY_FUNNEL\n"
        "where SHOP_ID = %s and DAY between %s and %s\ngroup by DAY order by DAY",
        (shop, days.first, days.last),
    )


def by_segment(shop: str, periods: Periods, dimension: str) -> Statement:
    """Return the counts of each segment of a dimension and period."""
    sums = ", ".join(f"sum({name})" for name in COLUMNS)
    condition, values = _where(shop, periods)
    return Statement(
        f"select coalesce({_name(dimension)}, ''), {_period()}, {sums} from MARTS.DAILY_FUNNEL\n"
        f"where {condition}\ngroup by 1, 2 order by 1, 2",
        (periods.now.first, periods.now.last, *values),
    )


def refused(shop: str, periods: Periods) -> Statement:
    """Return the refused events by day, event kind and reason, as the newest run of Validate counted them."""
    condition, values = _where(shop, periods)
    return Statement(
        "select DAY, EVENT_NAME, REASON, EVENTS from QA.REFUSED_EVENTS\n"
        f"where {condition}\n"
        "qualify CHECKED_AT = max(CHECKED_AT) over (partition by DAY)\norder by 1, 2, 3",
        values,
    )


def receipts(shop: str, periods: Periods) -> Statement:
    """Return the valid receipts of each day, and those that were too late or not verified."""
    condition, values = _where(shop, periods)
    return Statement(
        "select DAY, sum(RECEIPTS_VALID), sum(RECEIPTS_EXPIRED), sum(RECEIPTS_UNVERIFIED)\n"
        f"from MARTS.DAILY_RECOMMENDATIONS where {condition}\ngroup by DAY order by DAY",
        values,
    )


def first_served(shop: str, periods: Periods) -> Statement:
    """Return the first day of each model version and variant in the two periods."""
    condition, values = _where(shop, periods)
    return Statement(
        "select MODEL_VERSION, min(DAY) from MARTS.DAILY_FUNNEL\n"
        f"where {condition} and PART = 'recommendations'\ngroup by MODEL_VERSION order by 2, 1",
        values,
    )


SHOPS = Statement(
    "select SHOP_ID, min(DAY), max(DAY) from MARTS.DAILY_FUNNEL group by SHOP_ID order by 1", ()
)
RANGE = "select min(DAY), max(DAY), max(STAGED_AT)::date from MARTS.DAILY_FUNNEL where SHOP_ID = %s and SESSIONS > 0"


def of_stage(
    shop: str, periods: Periods, stage: Stage, losses: Sequence[Loss], segment: tuple[str, str] | None = None
) -> Statement:
    """Return a stage in both periods, of all segments or of one: the numbers of its line.

    Args:
        shop: the shop.
        periods: both periods.
        stage: the stage.
        losses: the losses that are not nothing, so that the counts are corrected for them.
        segment: the dimension and the segment.
    """
    length = 1 if len(periods.now.days) == len(periods.before.days) else None
    part = _corrected(stage.part, losses)
    if stage.whole:
        value = f"{part} / nullif({_corrected(stage.whole, losses)}, 0)"
    elif length:
        value = part
    else:
        value = f"{part} / iff(PERIOD = 'now', {len(periods.now.days)}, {len(periods.before.days)})"
    # A segment that adds to the stage is per the whole of all segments.
    adds = segment is not None and stage.adds(segment[0])
    counts, values = _funnel(shop, periods, stage, None if adds else segment, segment if adds else None)
    more, more_values = _accepted(shop, periods, stage, losses)
    return Statement(
        f"with funnel as (\n{counts}\n){more}\nselect PERIOD, {value} as VALUE\nfrom funnel"
        f"{' inner join accepted using (PERIOD)' if more else ''}\norder by PERIOD",
        (*values, *more_values),
    )


def of_segments(shop: str, periods: Periods, stage: Stage, dimension: str) -> Statement:
    """Return each segment's share of the denominator, and its own value, in both periods, as counted."""
    condition, values = _where(shop, periods)
    whole = stage.whole or stage.part
    share = stage.part if stage.adds(dimension) else whole
    value = f"sum({stage.part}) / nullif(sum({whole}), 0)"
    if stage.adds(dimension):
        value = f"sum({stage.part})"
    return Statement(
        f"select {_name(dimension)} as SEGMENT, {_period()} as PERIOD,\n"
        f"    sum({share}) / nullif(sum(sum({share})) over (partition by PERIOD), 0) as SHARE,\n"
        f"    {value} as VALUE\n"
        f"from MARTS.DAILY_FUNNEL\nwhere {condition} and {_name(dimension)} is not null\n"
        "group by SEGMENT, PERIOD order by SEGMENT, PERIOD",
        (periods.now.first, periods.now.last, *values),
    )


def of_figure(shop: str, periods: Periods, chain: Sequence[str], is_level: bool) -> Statement:
    """Return a figure in both periods."""
    condition, values = _where(shop, periods)
    value = f"sum({chain[-1]})" if is_level else f"sum({chain[-1]}) / nullif(sum({chain[0]}), 0)"
    if is_level and len(periods.now.days) != len(periods.before.days):
        value += f" / iff(PERIOD = 'now', {len(periods.now.days)}, {len(periods.before.days)})"
    return Statement(
        f"select {_period()} as PERIOD, {value} as VALUE\nfrom MARTS.DAILY_FUNNEL\n"
        f"where {condition}\ngroup by PERIOD order by PERIOD",
        (periods.now.first, periods.now.last, *values),
    )


def of_loss(shop: str, periods: Periods, loss: Loss) -> Statement:
    """Return the share of events that were not lost, in both periods."""
    accepted, values = _accepted_rows(shop, periods, [loss])
    return Statement(
        f"with accepted as (\n{accepted}\n)\nselect PERIOD, {loss.key} as VALUE from accepted order by PERIOD",
        values,
    )


def _funnel(
    shop: str, periods: Periods, stage: Stage, only: tuple[str, str] | None, part_of: tuple[str, str] | None
) -> tuple[str, tuple[Any, ...]]:
    """Return the sums of a stage's counts per period: of one segment, or with one segment's numerator."""
    condition, values = _where(shop, periods)
    names = [stage.part, *([stage.whole] if stage.whole else [])]
    sums, of_sums = [], []
    for name in names:
        if part_of and name == stage.part:
            sums.append(f"sum(iff({_name(part_of[0])} = %s, {name}, 0)) as {name}")
            of_sums.append(part_of[1])
        else:
            sums.append(f"sum({name}) as {name}")
    if only:
        condition += f" and {_name(only[0])} = %s"
        values = (*values, only[1])
    sql = (
        f"    select {_period()} as PERIOD, {', '.join(sums)}\n    from MARTS.DAILY_FUNNEL\n"
        f"    where {condition}\n    group by PERIOD"
    )
    return sql, (periods.now.first, periods.now.last, *of_sums, *values)


def _corrected(count: str, losses: Sequence[Loss]) -> str:
    """Return a count as if nothing had been lost."""
    lost = [loss for loss in LOST_BY.get(count, ()) if loss in losses]
    return f"({' / '.join([count, *(f'accepted.{loss.key}' for loss in lost)])})" if lost else count


def _accepted(
    shop: str, periods: Periods, stage: Stage, losses: Sequence[Loss]
) -> tuple[str, tuple[Any, ...]]:
    names = [stage.part, *([stage.whole] if stage.whole else [])]
    used = [loss for loss in losses if any(loss in LOST_BY.get(name, ()) for name in names)]
    if not used:
        return "", ()
    sql, values = _accepted_rows(shop, periods, used)
    return f",\n\naccepted as (\n{sql}\n)\n", values


def _accepted_rows(shop: str, periods: Periods, losses: Sequence[Loss]) -> tuple[str, tuple[Any, ...]]:
    """Return the shares of events that were not lost, per period."""
    condition, values = _where(shop, periods)
    period_values = (periods.now.first, periods.now.last)
    of_events = [loss for loss in losses if loss is not RECEIPTS]
    columns, parts, bound = [], [], []
    if of_events:
        sums = ", ".join(f"sum({loss.counts}) as {loss.counts}" for loss in of_events)
        counted = ", ".join(
            f"sum(iff(EVENT_NAME = '{loss.event_name}', EVENTS, 0)) as REFUSED_{loss.key}"
            for loss in of_events
        )
        parts.append(
            f"(select {_period()} as PERIOD, {sums} from MARTS.DAILY_FUNNEL\n"
            f"        where {condition} group by PERIOD) as counted"
        )
        bound += [*period_values, *values]
        parts.append(
            f"(select {_period()} as PERIOD, {counted} from (\n"
            f"            select * from QA.REFUSED_EVENTS where {condition}\n"
            "            qualify CHECKED_AT = max(CHECKED_AT) over (partition by DAY)\n"
            "        ) as newest group by PERIOD) as refused"
        )
        bound += [*period_values, *values]
        columns += [
            f"{loss.counts} / nullif({loss.counts} + coalesce(REFUSED_{loss.key}, 0), 0) as {loss.key}"
            for loss in of_events
        ]
    if RECEIPTS in losses:
        parts.append(
            f"(select {_period()} as PERIOD,\n"
            "            sum(RECEIPTS_VALID) / nullif(sum(RECEIPTS_VALID + RECEIPTS_EXPIRED + RECEIPTS_UNVERIFIED), 0)\n"
            f"            as {RECEIPTS.key}\n        from MARTS.DAILY_RECOMMENDATIONS\n"
            f"        where {condition} group by PERIOD) as brought"
        )
        bound += [*period_values, *values]
        columns.append(RECEIPTS.key)
    joined = parts[0] + "".join(f"\n    left join {part} using (PERIOD)" for part in parts[1:])
    return f"    select PERIOD, {', '.join(columns)}\n    from {joined}", tuple(bound)


def _where(shop: str, periods: Periods) -> tuple[str, tuple[Any, ...]]:
    """Return the condition of the rows of a shop in both periods, with its values."""
    days = (periods.before.first, periods.before.last, periods.now.first, periods.now.last)
    return "SHOP_ID = %s and (DAY between %s and %s or DAY between %s and %s)", (shop, *days)


def _period() -> str:
    return "iff(DAY between %s and %s, 'now', 'before')"


def _name(dimension: str) -> str:
    if not NAME.fullmatch(dimension):
        raise ValueError(f"{dimension!r} is no name of a column")
    return dimension.upper()
