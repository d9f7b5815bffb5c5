"""Estimate this month's bill so far: the predicted cost of each line, times the measured quantity by the predicted one.

A deployment writes the prediction for several sizes of a shop (deploy/bill/prediction.py). No call asks for the real
invoice: AWS shows it a day later, and Snowflake's is another one.
"""

import calendar
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec

from functions.operations.model import Metrics, Money, MoneyLine, Runs
from functions.platform.contract import OPERATIONS_BILL_KEY
from functions.platform.stored_json import read_json

BY_TIME = "time"
WAREHOUSE_STEPS = ("Load", "Transform", "Validate", "Export")
# What a line of the bill grows with, in words.
BASES = {
    "requests": "measured requests of the API",
    "events": "measured events",
    "recommendations": "measured recommendations",
    "runs": "counted runs",
    "transitions": "states of the runs",
    "train_s": "billed seconds of training",
    "evaluate_s": "seconds of evaluation",
    "warehouse_s": "seconds of the warehouse's steps",
}


class Line(msgspec.Struct, frozen=True):
    """A predicted line of a month. `driver` names the quantity that it grows with."""

    service: str
    item: str
    usd: float
    driver: str


class Prediction(msgspec.Struct, frozen=True):
    """The bill of one month with this many events."""

    events: float
    quantities: dict[str, float]
    lines: list[Line]

    @property
    def usd(self) -> float:
        """The total."""
        return sum(line.usd for line in self.lines)


class Bill(msgspec.Struct, frozen=True):
    """The predictions of a stage, from the smallest shop to the largest."""

    prices: str
    budget_usd: float
    months: list[Prediction]


def read_money(
    s3: Any, bucket: str, runs: Runs | None, metrics: Metrics | None, now: datetime
) -> Money | None:
    """Return the estimate, or None before a deployment has written the prediction."""
    stored = read_json(s3, bucket, OPERATIONS_BILL_KEY)
    if stored is None:
        return None
    bill = msgspec.convert(stored, Bill)
    return estimate(bill, measured(runs, metrics, now), now)


def measured(runs: Runs | None, metrics: Metrics | None, now: datetime) -> dict[str, float]:
    """Return this month's quantities, as far as they are known."""
    found: dict[str, float] = {}
    if metrics:
        month = metrics.month
        if "accepted" in month:
            found["events"] = month["accepted"] + month.get("refused", 0)
        for name, key in (("recommendations", "recommendations"), ("requests", "api_requests")):
            if key in month:
                found[name] = month[key]
    if runs:
        started = len(runs.month)
        digests = [
            run for run in runs.newest if (run.started_at.year, run.started_at.month) == (now.year, now.month)
        ]
        # Of many runs only the newest have a digest: the others count as its mean.
        factor = started / len(digests) if digests else 0.0
        found["runs"] = float(started)
        found["transitions"] = factor * sum(run.transitions for run in digests)
        found["train_s"] = factor * sum(run.training.billed_seconds for run in digests if run.training)
        found["evaluate_s"] = factor * sum(run.evaluation_s for run in digests)
        found["warehouse_s"] = factor * sum(
            (step.ended_at - step.started_at).total_seconds()
            for run in digests
            for step in run.steps
            if step.name in WAREHOUSE_STEPS and step.ended_at
        )
    return found


def elapsed_share(now: datetime) -> float:
    """Return the part of the month that has passed."""
    days = calendar.monthrange(now.year, now.month)[1]
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return max((now - start).total_seconds() / (days * 86_400), 1e-6)


def estimate(bill: Bill, quantities: dict[str, float], now: datetime) -> Money:
    """Return the estimate of a month of which `quantities` were measured."""
    elapsed = elapsed_share(now)
    events = quantities.get("events")
    month_events = events / elapsed if events is not None else None
    predicted = predicted_at(bill.months, month_events or 0)
    lines = [_line(line, predicted.quantities, quantities, elapsed) for line in predicted.lines]
    return Money(
        so_far=sum(line.so_far for line in lines),
        predicted=predicted.usd * elapsed,
        month_predicted=predicted.usd,
        month_events=month_events,
        elapsed=elapsed,
        budget_usd=bill.budget_usd,
        prices=bill.prices,
        lines=sorted(lines, key=lambda line: (-line.so_far, line.service, line.item)),
    )


def _line(line: Line, predicted: dict[str, float], quantities: dict[str, float], elapsed: float) -> MoneyLine:
    by_time = line.usd * elapsed
    wanted = predicted.get(line.driver, 0)
    if line.driver == BY_TIME:
        return MoneyLine(line.service, line.item, by_time, by_time, "time since the month began")
    if line.driver not in quantities or not wanted:
        return MoneyLine(line.service, line.item, by_time, by_time, "not measured: as predicted")
    so_far = line.usd * quantities[line.driver] / wanted
    return MoneyLine(line.service, line.item, so_far, by_time, BASES[line.driver])


def predicted_at(months: Sequence[Prediction], events: float) -> Prediction:
    """Return the prediction for this many events: each line and quantity on a straight line between two sizes of a shop.

    Beyond the largest size, the last two continue.
    """
    if len(months) == 1:
        return months[0]
    pairs = list(pairwise(months))
    below, above = next(((one, two) for one, two in pairs if events <= two.events), pairs[-1])
    share = (events - below.events) / (above.events - below.events)

    def between(one: float, two: float) -> float:
        return one + (two - one) * share

    low, high = ({(line.service, line.item): line for line in month.lines} for month in (below, above))
    lines = []
    for key, line in (low | high).items():
        usd = between(*(month[key].usd if key in month else 0.0 for month in (low, high)))
        lines.append(Line(line.service, line.item, max(usd, 0.0), line.driver))
    names = below.quantities | above.quantities
    quantities = {
        name: between(below.quantities.get(name, 0), above.quantities.get(name, 0)) for name in names
    }
    return Prediction(events, quantities, lines)
