"""The store of metrics: a few numbers per metric and minute, as CloudWatch keeps them for metrics of standard resolution.

moto 5.2.5 keeps each value in one list without end. It also finds metrics that have more dimensions than asked for.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MINUTE_S = 60
# CloudWatch keeps minutes for 15 days. Here the longest alarm looks back for a day.
KEPT_MINUTES = 26 * 60
# A percentile needs the values. A minute with more distinct values has percentiles of the first ones.
KEPT_VALUES = 2_000


class Metric(NamedTuple):
    """A metric: two metrics with different dimensions are different, and none is the sum of others."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


def metric(namespace: str, name: str, dimensions: Mapping[str, str]) -> Metric:
    """Return the metric with these dimensions."""
    return Metric(namespace, name, frozenset(dimensions.items()))


@dataclass
class Statistics:
    """The values of a metric in a period."""

    count: float = 0
    total: float = 0
    least: float = math.inf
    largest: float = -math.inf
    values: dict[float, float] = field(default_factory=dict)

    def add(self, value: float, count: float = 1) -> None:
        """Add a value that occurred `count` times."""
        self.add_set(count, value * count, value, value)
        if value in self.values or len(self.values) < KEPT_VALUES:
            self.values[value] = self.values.get(value, 0) + count

    def add_set(self, count: float, total: float, least: float, largest: float) -> None:
        """Add the statistics of values that are not known one by one."""
        self.count += count
        self.total += total
        self.least, self.largest = min(self.least, least), max(self.largest, largest)

    def merge(self, other: Statistics) -> None:
        """Add the values of another period."""
        self.add_set(other.count, other.total, other.least, other.largest)
        for value, count in other.values.items():
            self.values[value] = self.values.get(value, 0) + count

    def get(self, statistic: str) -> float | None:
        """Return a statistic: Sum, Average, Minimum, Maximum, SampleCount or a percentile such as p99."""
        if not self.count:
            return None
        if statistic.startswith("p"):
            return self._percentile(float(statistic[1:]))
        return {
            "Sum": self.total,
            "Average": self.total / self.count,
            "Minimum": self.least,
            "Maximum": self.largest,
            "SampleCount": self.count,
        }[statistic]

    def _percentile(self, percent: float) -> float | None:
        rank, seen = math.ceil(percent / 100 * sum(self.values.values())), 0.0
        for value in sorted(self.values):
            seen += self.values[value]
            if seen >= rank:
                return value
        return None


class Store:
    """All metrics of the account. `changed` is set with each value, so that alarms are evaluated soon."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.changed = threading.Event()
        self._clock = clock
        self._lock = threading.Lock()
        self._minutes: dict[Metric, dict[int, Statistics]] = {}
        self.units: dict[Metric, str] = {}

    def put(
        self, of: Metric, value: float, at_s: float | None = None, count: float = 1, unit: str = "None"
    ) -> None:
        """Add a value that occurred `count` times, by default now."""
        self.sample(of, value, at_s, count, unit)
        self.changed.set()

    def sample(
        self, of: Metric, value: float, at_s: float | None = None, count: float = 1, unit: str = "None"
    ) -> None:
        """Add a value that is no reason for an evaluation."""
        with self._lock:
            self._minute(of, at_s, unit).add(value, count)

    def put_set(
        self, of: Metric, count: float, total: float, least: float, largest: float, at_s: float, unit: str
    ) -> None:
        """Add the statistics of values that are not known one by one."""
        with self._lock:
            self._minute(of, at_s, unit).add_set(count, total, least, largest)
        self.changed.set()

    def statistics(self, of: Metric, start_s: float, end_s: float) -> Statistics:
        """Return the statistics of the minutes from `start_s` to before `end_s`."""
        found = Statistics()
        with self._lock:
            minutes = self._minutes.get(of)
            if minutes:
                for minute in range(math.ceil(start_s / MINUTE_S), math.ceil(end_s / MINUTE_S)):
                    if minute in minutes:
                        found.merge(minutes[minute])
        return found

    def metrics(self) -> Iterator[Metric]:
        """Yield each metric that has a value."""
        with self._lock:
            yield from list(self._minutes)

    def _minute(self, of: Metric, at_s: float | None, unit: str) -> Statistics:
        minutes = self._minutes.setdefault(of, {})
        self.units[of] = unit
        minute = int((self._clock() if at_s is None else at_s) // MINUTE_S)
        if minute not in minutes and len(minutes) >= KEPT_MINUTES:
            del minutes[min(minutes)]
        return minutes.setdefault(minute, Statistics())


STORE = Store()


def record(namespace: str, values: Mapping[str, float], /, **dimensions: str) -> None:
    """Record values of metrics of an AWS service that have the same dimensions."""
    for name, value in values.items():
        STORE.put(metric(namespace, name, dimensions), value)
