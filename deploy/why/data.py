"""Read what a report needs: the counts of both periods and of earlier ones, by day and by segment."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from deploy.command import DeployError
from deploy.why import queries
from deploy.why.figures import COLUMNS, DIMENSIONS, LOSSES, RECEIPTS, Figure, Loss
from deploy.why.queries import COUNTS, Periods, Row, Span
from functions.platform import warehouse

# Earlier periods show the usual variation. More would be of another season.
EARLIER_PERIODS = 6
DEFAULT_DAYS = 7
# An older shop is a data set: its newest day is not yesterday.
LIVE_DAYS = 7


class WhyError(DeployError):
    """The change cannot be explained. The message ends with the next step."""


@dataclass
class Data:
    """The counts of a shop."""

    shop: str
    periods: Periods
    currency: str | None = None
    earlier: list[Span] = field(default_factory=list)
    days: dict[date, Row] = field(default_factory=dict)
    # dimension -> segment -> period -> counts
    segments: dict[str, dict[str, dict[str, Row]]] = field(default_factory=dict)
    # day, event kind, reason -> events
    refused: dict[tuple[date, str, str], float] = field(default_factory=dict)
    # day -> valid receipts, and lost ones
    receipts: dict[date, tuple[float, float]] = field(default_factory=dict)
    first_served: list[tuple[str, date]] = field(default_factory=list)

    def daily(self, span: Span, count: str) -> list[float]:
        """Return a count of each day; a day without rows has 0."""
        return [self.days.get(day, {}).get(count, 0.0) for day in span.days]

    def having(self, count: str) -> list[date]:
        """Return the days on which a count is above 0, also those after both periods."""
        return sorted(day for day, row in self.days.items() if row.get(count, 0.0) > 0)

    def sum(self, span: Span, count: str) -> float:
        """Return a count of a period."""
        return sum(self.daily(span, count))

    def share_kept(self, span: Span, loss: Loss) -> float:
        """Return the share of events that were not lost; 1 without any."""
        if loss is RECEIPTS:
            found = [self.receipts[day] for day in span.days if day in self.receipts]
            kept, lost = sum(valid for valid, _ in found), sum(lost for _, lost in found)
        else:
            kept = self.sum(span, str(loss.counts))
            lost = self.lost(span, loss)
        return kept / (kept + lost) if kept + lost > 0 else 1.0

    def lost(self, span: Span, loss: Loss) -> float:
        """Return the number of lost events of a period."""
        if loss is RECEIPTS:
            return sum(self.receipts[day][1] for day in span.days if day in self.receipts)
        days = set(span.days)
        return sum(
            events
            for (day, name, _), events in self.refused.items()
            if day in days and name == loss.event_name
        )

    @property
    def losses(self) -> list[Loss]:
        """Return the losses that happened in one of the periods."""
        both = (self.periods.before, self.periods.now)
        return [loss for loss in LOSSES if any(self.share_kept(span, loss) < 1 for span in both)]


def choose_periods(
    connection: Any, shop: str, first: date | None, last: date | None, against: date | None, today: date | None = None
) -> Periods:  # fmt: skip
    """Return the periods: by default, the last seven complete days and the seven days before.

    Args:
        connection: a connection to the warehouse.
        shop: the shop.
        first: the first day of the period, or None.
        last: its last day, or None.
        against: the first day of the period to compare with, or None for the days before.
        today: the current day in UTC, for tests.

    Raises:
        WhyError: the shop has no data, or the days make no period.
    """
    today = today or datetime.now(UTC).date()
    oldest, newest, staged_on = warehouse.one(connection, queries.RANGE, (shop,))
    if newest is None:
        shops = queries.SHOPS.rows(connection)
        known = ", ".join(f"{name} ({begin} to {end})" for name, begin, end in shops)
        raise WhyError(
            f"MARTS.DAILY_FUNNEL has no session of shop {shop!r}. "
            + (
                f"It has: {known}. Choose one: make why SHOP=..."
                if known
                else "Run the pipeline first: make run"
            )
        )
    if last is None:
        complete = min(today, staged_on) - timedelta(days=1)
        last = complete if (today - newest).days <= LIVE_DAYS else newest
        if first is not None:
            week = first + timedelta(days=DEFAULT_DAYS - 1)
            last = week if first > last else min(last, week)
    first = first or last - timedelta(days=DEFAULT_DAYS - 1)
    if last < first:
        raise WhyError(f"TO={last} is before FROM={first}. Exchange them")
    now = Span(first, last)
    before = now.before()
    if against is not None:
        before = Span(against, against + timedelta(days=len(now.days) - 1))
        if before.last >= now.first:
            raise WhyError(
                f"AGAINST={against} names the {len(now.days)} days to {before.last}, which overlap the period {now}. "
                f"Choose {now.before().first} or an earlier day"
            )
    for span in (now, before):
        if span.first > newest or span.last < oldest:
            raise WhyError(
                f"shop {shop} has sessions from {oldest} to {newest}, and none in the period {span}. "
                "Choose other periods: make why FROM=YYYY-MM-DD TO=YYYY-MM-DD AGAINST=YYYY-MM-DD"
            )
    return Periods(now, before)


def read(connection: Any, shop: str, periods: Periods) -> Data:
    """Read the counts of both periods, of earlier ones of the same length, and of the days since."""
    data = Data(shop, periods)
    oldest = periods.before.before(EARLIER_PERIODS)
    until_today = Span(oldest.first, max(periods.now.last, datetime.now(UTC).date()))
    for day, *counts, currency in queries.totals(shop, until_today).rows(connection):
        data.days[day] = {name: float(count or 0) for name, count in zip(COUNTS, counts, strict=True)}
        data.currency = currency or data.currency
    begin = min(data.days, default=periods.now.first)
    data.earlier = [
        span
        for span in (periods.before.before(number) for number in range(1, EARLIER_PERIODS + 1))
        if span.first >= begin
    ]
    for dimension in DIMENSIONS:
        found = data.segments.setdefault(dimension, {})
        for segment, period, *counts in queries.by_segment(shop, periods, dimension).rows(connection):
            if segment:
                row = {name: float(count or 0) for name, count in zip(COLUMNS, counts, strict=True)}
                found.setdefault(str(segment), {})[str(period)] = row
    for day, name, reason, events in queries.refused(shop, periods).rows(connection):
        data.refused[day, str(name), str(reason)] = float(events)
    for day, valid, expired, unverified in queries.receipts(shop, periods).rows(connection):
        data.receipts[day] = float(valid), float(expired) + float(unverified)
    data.first_served = [
        (str(name), day) for name, day in queries.first_served(shop, periods).rows(connection)
    ]
    return data


def require_data(data: Data, figure: Figure) -> None:
    """Raise an error if the figure has no value in one of the periods.

    Raises:
        WhyError: nothing to divide by. The message names the days that have data.
    """
    base = figure.chain[0]
    for span in (data.periods.now, data.periods.before):
        if data.sum(span, base) > 0:
            continue
        name, having = base.replace("_", " "), data.having(base)
        next_step = "Choose other periods: make why FROM=YYYY-MM-DD TO=YYYY-MM-DD AGAINST=YYYY-MM-DD"
        if not having:
            known = f"No day since {data.periods.before.before(EARLIER_PERIODS).first} has any. {next_step}"
        elif having[0] <= data.periods.now.last:
            known = f"Days with {name}: {having[0]} to {having[-1]}. {next_step}"
        else:
            second = having[0] + timedelta(days=1)
            known = (
                f"The first day with {name} is {having[0]}. Compare it with the day after, once that is over and a run has "
                f"counted it: make why FIGURE={figure.key} FROM={second} TO={second} AGAINST={having[0]}"
            )
        raise WhyError(
            f"shop {data.shop} has no {name} in the period {span}, so {figure.title.lower()} cannot be compared. {known}"
        )
