"""Metrics in log lines: CloudWatch's embedded metric format.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from local.aws.cloudwatch.store import Metric, Store, metric

log = logging.getLogger(__name__)

METRICS_MAX = 100
DIMENSIONS_MAX = 30
VALUES_MAX = 100


class InvalidDocument(ValueError):
    """A log line that is meant as a document and breaks the specification. CloudWatch extracts nothing from it."""


class Datum(NamedTuple):
    """Values of one metric."""

    metric: Metric
    values: list[float]
    unit: str
    at_s: float


def extract(store: Store, lines: Sequence[str]) -> None:
    """Record the metrics of each line that is a document. A line with an error is logged and left out."""
    for line in lines:
        if '"CloudWatchMetrics"' not in line:
            continue
        try:
            data = list(read(line))
        except InvalidDocument as error:
            log.error("a log line has no valid embedded metrics: %s: %s", error, line[:300])
            continue
        for one in data:
            for value in one.values:
                store.put(one.metric, value, one.at_s, unit=one.unit)


def read(line: str) -> Iterator[Datum]:
    """Yield the metrics of a document.

    Raises:
        InvalidDocument: the line breaks the specification.
    """
    try:
        root = json.loads(line)
        metadata = root["_aws"]
        at_s = metadata["Timestamp"] / 1000
        for directive in metadata["CloudWatchMetrics"]:
            yield from _directive(root, directive, at_s)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InvalidDocument):
            raise
        raise InvalidDocument(f"{type(error).__name__}: {error}") from error


def _directive(root: dict[str, Any], directive: dict[str, Any], at_s: float) -> Iterator[Datum]:
    definitions, sets = directive["Metrics"], directive["Dimensions"]
    if len(definitions) > METRICS_MAX:
        raise InvalidDocument(f"{len(definitions)} metrics in a directive, {METRICS_MAX} are allowed")
    for names in sets:
        if len(names) > DIMENSIONS_MAX:
            raise InvalidDocument(f"{len(names)} dimensions in a set, {DIMENSIONS_MAX} are allowed")
        dimensions = {name: root[name] for name in names}
        if not all(isinstance(value, str) and value for value in dimensions.values()):
            raise InvalidDocument(f"a dimension is no text: {dimensions}")
        for definition in definitions:
            given = root[definition["Name"]]
            values = given if isinstance(given, list) else [given]
            if len(values) > VALUES_MAX or not all(_is_number(value) for value in values):
                raise InvalidDocument(f"{definition['Name']} has no number but {given!r}"[:200])
            of = metric(directive["Namespace"], definition["Name"], dimensions)
            yield Datum(of, values, definition.get("Unit", "None"), at_s)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
