"""A simulated shop as the counts of MARTS.DAILY_FUNNEL, with a cause that a test plants in its last seven days."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from deploy.why.data import Data
from deploy.why.figures import COLUMNS, DIMENSIONS
from deploy.why.queries import Periods, Row, Span

TODAY = date(2026, 11, 29)
PERIODS = Periods(Span(date(2026, 11, 22), date(2026, 11, 28)), Span(date(2026, 11, 15), date(2026, 11, 21)))
# Sundays sell half as much as the busiest days.
WEEK = (1.0, 1.1, 1.0, 0.9, 1.2, 0.8, 0.6)


@dataclass(frozen=True)
class Day:
    """The parameters of one day."""

    sessions: float = 3000.0
    viewing: float = 0.7
    carting: float = 0.2
    ordering: float = 0.4
    recommendations: float = 0.8
    shown: float = 4.0
    click_rate: float = 0.05
    bought: float = 0.2
    price: float = 40.0
    models: tuple[tuple[str, float, float], ...] = (
        ("m1", 1.0, 1.0),
    )  # version, share, factor of the click rate
    placements: tuple[tuple[str, float], ...] = (("product", 0.6), ("home", 0.4))
    fallback: float = 0.02  # its click rate is a fifth of the model's
    mobile: float = 0.6
    hats: float = 0.5
    accepted_purchases: float = 1.0
    accepted_clicks: float = 1.0


Change = Callable[[int, Day], Day]


def simulate(
    change: Change | None = None,
    seed: int = 1,
    weeks: int = 2,
    usual: Day | None = None,
    periods: Periods = PERIODS,
) -> Data:
    """Return the counts of these weeks; `change` sets the parameters of each of the last seven days, from 0."""
    draw = np.random.default_rng(seed)
    data = Data("shop", periods, "USD")
    first = PERIODS.now.last - timedelta(days=7 * weeks - 1)
    for number in range(7 * weeks):
        day = first + timedelta(days=number)
        of_day = usual or Day()
        if change and day >= PERIODS.now.first:
            of_day = change((day - PERIODS.now.first).days, of_day)
        _add_day(data, day, of_day, draw)
    data.earlier = [PERIODS.before.before(number) for number in range(1, weeks - 1)]
    return data


def _add_day(data: Data, day: date, of_day: Day, draw: np.random.Generator) -> None:
    # Visitors of a day are alike: without this, days would vary less than those of a shop.
    volume = of_day.sessions * WEEK[day.weekday()] * draw.normal(1.0, 0.03)
    for device, share in (("mobile", of_day.mobile), ("desktop", 1 - of_day.mobile)):
        sessions = draw.poisson(volume * share)
        viewing = draw.binomial(sessions, of_day.viewing)
        carting = draw.binomial(viewing, of_day.carting)
        happened = draw.binomial(carting, of_day.ordering)
        orders = draw.binomial(happened, of_day.accepted_purchases)
        _refuse(data, day, "purchase", happened - orders)
        row = {
            "sessions": sessions, "viewing_sessions": viewing, "carting_sessions": carting,
            "ordering_sessions": orders, "orders": orders, "events": 5 * sessions,
        }  # fmt: skip
        _add(data, day, {"device": device}, row)
        for placement, placed in of_day.placements:
            answers = draw.poisson(sessions * of_day.recommendations * placed)
            _add_answers(data, day, of_day, {"device": device, "placement": placement}, answers, draw)


def _add_answers(
    data: Data, day: date, of_day: Day, place: dict[str, str], answers: int, draw: np.random.Generator
) -> None:
    for model, share, factor in of_day.models:
        for variant, served in (("AllTraffic", 1 - of_day.fallback), ("fallback", of_day.fallback)):
            given = draw.poisson(answers * share * served)
            dimensions = place | {"model_version": model, "variant": variant, "rules": "none"}
            _add(data, day, dimensions, {"recommendations": given})
            rate = of_day.click_rate * factor * (0.2 if variant == "fallback" else 1.0)
            for category, part in (("hats", of_day.hats), ("boots", 1 - of_day.hats)):
                shown = draw.poisson(given * of_day.shown * part)
                tried = draw.binomial(shown, min(rate, 1.0))
                clicked = draw.binomial(tried, of_day.accepted_clicks)
                _refuse(data, day, "recommendation_click", tried - clicked)
                happened = draw.binomial(tried, of_day.bought)
                bought = draw.binomial(happened, of_day.accepted_purchases)
                units = bought + draw.binomial(bought, 0.1)
                # A hat costs half as much as a pair of boots.
                prices = of_day.price * (2 / 3 if category == "hats" else 4 / 3)
                revenue = float(prices * draw.gamma(4.0, 0.25, size=int(units)).sum())
                row = {
                    "items_shown": shown, "items_clicked": clicked, "items_bought": bought, "units_bought": units,
                    "recommendation_revenue": revenue, "impression_events": given, "click_events": clicked,
                }  # fmt: skip
                _add(data, day, dimensions | {"item_category": category}, row)


def _refuse(data: Data, day: date, name: str, events: int) -> None:
    key = (day, name, "field_invalid")
    data.refused[key] = data.refused.get(key, 0.0) + float(events)


def _add(data: Data, day: date, dimensions: Mapping[str, str], row: Mapping[str, float]) -> None:
    for count, value in row.items():
        total = data.days.setdefault(day, {})
        total[count] = total.get(count, 0.0) + float(value)
    spans = data.periods
    period = "now" if day >= spans.now.first else "before" if day >= spans.before.first else None
    if period is None:
        return
    for dimension in DIMENSIONS:
        if dimension not in dimensions:
            continue
        of_segment: Row = (
            data.segments.setdefault(dimension, {})
            .setdefault(dimensions[dimension], {})
            .setdefault(period, dict.fromkeys(COLUMNS, 0.0))
        )
        for count, value in row.items():
            if count in of_segment:
                of_segment[count] += float(value)


def constant(**changed: object) -> Change:
    """Return a change that sets parameters on each day."""
    return lambda _, day: replace(day, **changed)  # type: ignore[arg-type]


def from_day(first: int, **changed: object) -> Change:
    """Return a change that begins on a day of the period, from 0."""
    return lambda number, day: replace(day, **changed) if number >= first else day  # type: ignore[arg-type]


def new_model(factor: float) -> Change:
    """Return the change by a model that takes over on the fourth day."""
    return from_day(3, models=(("m2", 1.0, factor),))


def both(changes: Sequence[Change]) -> Change:
    """Return several changes as one."""

    def change(number: int, day: Day) -> Day:
        for one in changes:
            day = one(number, day)
        return day

    return change
