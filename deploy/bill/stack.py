"""Facts of the stack that the bill counts: resources, metrics of alarms, Lambdas that run without a person."""

import json
from functools import cache
from typing import Any

from contracts import read
from deploy.lambdas import LAMBDAS
from deploy.shop_resources import ALARMS as SHOP_ALARMS
from deploy.shop_resources import is_created
from deploy.template import PIPELINE_FILE, load_resources, substitution_keys
from functions.platform.contract import METRICS
from functions.platform.errors import Reason
from functions.platform.metrics import ComparedRelease
from functions.recommend.recommend import FallbackReason


@cache
def resources() -> dict[str, dict[str, Any]]:
    """Return the resources of the stack."""
    found: dict[str, dict[str, Any]] = load_resources()["Resources"]
    return found


def of_type(kind: str) -> list[dict[str, Any]]:
    """Return the properties of the stack's resources of a type."""
    return [one.get("Properties", {}) for one in resources().values() if one["Type"] == kind]


def alarm_metrics(shops: int = 1, *, of_model_age: bool = True) -> int:
    """Return the number of metrics in all alarms. An alarm on an expression is billed per metric in it.

    A stage with `model_max_age_hours = 0` has no alarms `of_model_age`.
    """
    return sum(
        (
            sum("MetricStat" in metric for metric in one["Properties"]["Metrics"])
            if "Metrics" in one["Properties"]
            else 1
        )
        * (shops if name in SHOP_ALARMS else 1)
        for name, one in resources().items()
        if one["Type"] == "AWS::CloudWatch::Alarm" and is_created(one, of_model_age=of_model_age)
    )


def metrics_written(shops: int = 1) -> int:
    """Return the number of metrics that a stage writes while nothing is refused and the endpoints answer."""
    counted = (sets for _, sets in METRICS.values())
    return sum((("Stage",) in sets) + shops * (("Stage", "Shop") in sets) for sets in counted)


def canary_metrics() -> int:
    """Return the number of metrics that exist only while a canary of one shop runs, of both releases."""
    return sum(("Stage", "Shop", "Release") in sets for _, sets in METRICS.values()) * len(ComparedRelease)


def metrics_at_most(shops: int = 1) -> int:
    """Return the number of metrics with every reason, and a canary, in every hour. No caller can add another one."""
    reasons = {"collect": len(Reason), "recommend": len(FallbackReason)}
    contract = read("metrics")["metrics"]
    by_reason = (one["writer"] for one in contract.values() if ["Stage", "Reason"] in one["dimensions"])
    return metrics_written(shops) + shops * canary_metrics() + sum(reasons[writer] for writer in by_reason)


@cache
def invoked_lambdas() -> frozenset[str]:
    """Return the names of the Lambdas that the state machine or a rule invokes."""
    of_pipeline = substitution_keys(PIPELINE_FILE.read_text())
    targets = json.dumps([rule["Targets"] for rule in of_type("AWS::Events::Rule")])
    return frozenset(
        one.name
        for one in LAMBDAS
        if f"{one.title}Function" in of_pipeline or f':function:tugboat-${{Stage}}{one.suffix}"' in targets
    )
