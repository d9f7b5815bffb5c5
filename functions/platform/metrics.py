"""Metrics in CloudWatch's embedded metric format: log lines from which CloudWatch makes metrics, without an API call.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
Names, units and dimensions are in contracts/metrics.json. Each combination of a metric and its dimension values is billed.
The other dimensions besides the stage are a shop of its settings, a reason and a release. The types of the last two are enums:
no text of a caller becomes a dimension.
"""

import time
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

from functions.platform.contract import METRICS, METRICS_NAMESPACE, MetricValues
from functions.platform.log import get_logger

log = get_logger(__name__)


class ComparedRelease(StrEnum):
    """The two releases of a canary: the dimension Release, and the variant of their answers meanwhile."""

    CURRENT = "current"
    CANDIDATE = "candidate"


def write(
    stage: str,
    values: MetricValues,
    reason: StrEnum | None = None,
    release: ComparedRelease | None = None,
    shop: str = "",
) -> None:
    """Write one line of metrics. With a shop, a reason or a release, the metrics that have this dimension also count under it.

    `shop` is one of the stage's settings, and never an id that only a request names.
    """
    log.info("metrics", **document(stage, values, reason, time.time_ns() // 1_000_000, release, shop))


def count_by_reason(stage: str, name: str, counts: Mapping[StrEnum, int], values: MetricValues) -> None:
    """Write `values` with a metric that is counted by reason. A line has one value per dimension, so each reason has a line.

    Without any count, the metric is 0: the share of an alarm then has both of its parts in every period.
    """
    first: MetricValues = values
    for reason, count in counts.items() or [(None, 0)]:
        write(stage, {**first, name: count}, reason)  # type: ignore[misc]
        first = {}


def document(
    stage: str,
    values: MetricValues,
    reason: StrEnum | None,
    timestamp_ms: int,
    release: ComparedRelease | None = None,
    shop: str = "",
) -> dict[str, Any]:
    """Return the members of a document in the embedded metric format."""
    dimensions = {"Stage": stage} | ({"Shop": shop} if shop else {})
    if reason is not None:
        dimensions["Reason"] = reason.value
    if release is not None:
        dimensions["Release"] = release.value
    directives = _directives(tuple(values), frozenset(dimensions))
    return {"_aws": {"Timestamp": timestamp_ms, "CloudWatchMetrics": directives}, **dimensions, **values}


@lru_cache
def _directives(names: tuple[str, ...], dimensions: frozenset[str]) -> list[dict[str, Any]]:
    """Return what CloudWatch extracts: each metric with its dimension sets of which every dimension has a value."""
    by_sets: dict[tuple[tuple[str, ...], ...], list[dict[str, str]]] = {}
    for name in names:
        unit, sets = METRICS[name]
        known = tuple(one for one in sets if dimensions >= set(one))
        by_sets.setdefault(known, []).append({"Name": name, "Unit": unit})
    return [
        {"Namespace": METRICS_NAMESPACE, "Dimensions": sets, "Metrics": metrics}
        for sets, metrics in by_sets.items()
    ]
