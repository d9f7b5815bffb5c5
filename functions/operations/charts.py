"""Geometry of the page's charts. An SVG has no text: it stretches with the screen, and words stand in HTML beside it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from functions.operations.model import Points, Run

WIDTH, HEIGHT = 100.0, 40.0


class Curve(NamedTuple):
    """A line through values: the points of a polyline, and the figures that its caption names."""

    points: str
    first: float
    last: float
    low: float
    high: float
    size: int


class Bar(NamedTuple):
    """One bar of a series, with the words of its tooltip."""

    x: float
    width: float
    height: float
    words: str


class Span(NamedTuple):
    """The place of a step within its run, as shares of the run in percent."""

    start: float
    width: float


def curve(values: Sequence[float]) -> Curve | None:
    """Return the line through the values, or None without any."""
    if not values:
        return None
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    step = WIDTH / max(len(values) - 1, 1)
    points = " ".join(
        f"{index * step:.2f},{HEIGHT - 3 - (value - low) / spread * (HEIGHT - 6):.2f}"
        for index, value in enumerate(values)
    )
    return Curve(points, values[0], values[-1], low, high, len(values))


def hours(points: Points, since: datetime, count: int) -> list[Bar]:
    """Return one bar per hour. An hour without a value has none."""
    most = max((value for _, value in points), default=0.0)
    width = WIDTH / count
    bars = []
    for at, value in points:
        index = int((at - since).total_seconds() // 3600)
        height = max(0.6, value / most * HEIGHT) if most and value else 0.6
        bars.append(Bar(index * width, width * 0.8, height, f"{at:%H:%M}: {value:,.4g}"))
    return bars


def span(run: Run, started: datetime, ended: datetime | None, now: datetime) -> Span:
    """Return where a step lies within its run."""
    total = max(run.seconds(now), 0.001)
    start = min(max((started - run.started_at).total_seconds() / total, 0.0), 1.0)
    end = min(max((((ended or now) - run.started_at).total_seconds()) / total, start), 1.0)
    width = max(0.8, 100 * (end - start))
    return Span(min(100 * start, 100 - width), width)


def durations(runs: Sequence[Run], now: datetime) -> list[dict[str, Any]]:
    """Return one bar per run, oldest first, scaled to the longest."""
    ordered = list(reversed(runs))
    longest = max((run.seconds(now) for run in ordered), default=0.0) or 1.0
    width = WIDTH / max(len(ordered), 8)
    return [
        {
            "run": run,
            "x": index * width,
            "width": width * 0.72,
            "height": max(1.0, run.seconds(now) / longest * HEIGHT),
        }
        for index, run in enumerate(ordered)
    ]
