"""The resources of the template that each shop has: alarms, log groups of endpoints, series on the dashboard.

A stage with one trained shop has the alarms as resources.yaml has them. With several, each shop has its own, whose names end with
the shop's.
"""

import hashlib
import json
from typing import Any

from deploy.stages import Stage
from functions.platform.contract import METRICS_NAMESPACE
from functions.platform.endpoint import endpoint_names
from functions.platform.metrics import ComparedRelease
from functions.platform.scaling import VARIANT
from functions.platform.shop_names import short_name

Json = dict[str, Any]

# Alarms on the figures of one endpoint, or on figures that a large shop would hide those of a small one in.
ALARMS = ("FallbacksAnswer", "AnswersEmpty", "ModelOld", "EndpointErrors", "EndpointSlow")
RIGHT = {"yAxis": "right"}


def add(resources: Json, stage: Stage, account_id: str) -> None:
    """Add the log groups, write the alarms of each shop, and fill the dashboard in."""
    _add_log_groups(resources, stage)
    alarms = [name for name in ALARMS if name in resources]
    names = []
    for logical_id in alarms:
        alarm = resources[logical_id]
        exists = is_created(alarm, of_model_age=stage.model_max_age_hours > 0)
        if len(stage.served_shops) > 1:
            del resources[logical_id]
        for shop in stage.served_shops:
            if len(stage.served_shops) > 1:
                resources[logical_id + _logical(shop)] = _of_shop(alarm, stage, shop)
            if exists:
                names.append(alarm_name(alarm, stage, shop))
    if "Dashboard" in resources:
        _fill_dashboard(resources["Dashboard"]["Properties"]["DashboardBody"], names, stage, account_id)


def is_created(alarm: Json, *, of_model_age: bool) -> bool:
    """Return True if CloudFormation creates the alarm. Without `model_max_age_hours` there is none `of_model_age`."""
    return of_model_age or alarm.get("Condition") != "HasModelAge"


def alarm_name(alarm: Json, stage: Stage, shop: str) -> str:
    """Return the name of a shop's alarm in CloudWatch."""
    name = str(alarm["Properties"]["AlarmName"]["Fn::Sub"]).replace("${Stage}", stage.name)
    return name + alarm_suffix(stage, shop)


def alarm_suffix(stage: Stage, shop: str) -> str:
    """Return the end of the names of a shop's alarms. Where only one shop is trained, they have none."""
    return f"-{short_name(shop)}" if len(stage.served_shops) > 1 else ""


def _logical(shop: str) -> str:
    """Return a shop as part of a logical id, which has letters and digits only. The hash tells a-1 from a1."""
    words = "".join(word.title() for word in short_name(shop).split("-"))
    return f"Of{words}{hashlib.sha256(shop.encode()).hexdigest()[:6]}"


def _add_log_groups(resources: Json, stage: Stage) -> None:
    for shop in stage.shops:
        for number, name in enumerate(endpoint_names(stage.prefix, shop)):
            resources[f"EndpointLogs{_logical(shop)}{number}"] = {
                "Type": "AWS::Logs::LogGroup",
                "Properties": {
                    "LogGroupName": f"/aws/sagemaker/Endpoints/{name}",
                    "RetentionInDays": {"Ref": "LogRetentionDays"},
                },
            }


def _of_shop(alarm: Json, stage: Stage, shop: str) -> Json:
    """Return an alarm for one of several shops."""
    endpoint = stage.endpoint_name(shop)
    text = json.dumps(alarm)
    text = text.replace(json.dumps({"Ref": "EndpointName"}), json.dumps(endpoint))
    text = text.replace("${EndpointName}", endpoint)
    text = text.replace("make rollback STAGE=${Stage}", f"make rollback STAGE=${{Stage}} SHOP={shop}")
    text = text.replace("make run STAGE=${Stage}", f"make run STAGE=${{Stage}} SHOP={shop}")
    of_stage = {"Name": "Stage", "Value": {"Ref": "Stage"}}
    text = text.replace(json.dumps([of_stage]), json.dumps([of_stage, {"Name": "Shop", "Value": shop}]))
    own: Json = json.loads(text)
    properties = own["Properties"]
    properties["AlarmName"]["Fn::Sub"] += f"-{short_name(shop)}"
    properties["AlarmDescription"]["Fn::Sub"] = f"Shop {shop}: {properties['AlarmDescription']['Fn::Sub']}"
    return own


def _fill_dashboard(body: Json, alarms: list[str], stage: Stage, account_id: str) -> None:
    arn = f"arn:aws:cloudwatch:{stage.region}:{account_id}:alarm:"
    body["Fn::Sub"][1] |= {
        "EndpointSeries": _listed(_endpoint_series(stage)),
        "CanarySeries": _listed(_canary_series(stage)),
        "ShopAlarms": _listed([arn + name for name in alarms]),
    }


def _listed(values: list[Any]) -> str:
    return ", ".join(json.dumps(one) for one in values)


def _endpoint_series(stage: Stage) -> list[list[Any]]:
    series: list[list[Any]] = []
    for shop in stage.served_shops:
        of_endpoint = ["EndpointName", stage.endpoint_name(shop), "VariantName", VARIANT]
        series += [
            ["AWS/SageMaker", "Invocations", *of_endpoint, {"stat": "Sum"}],
            ["AWS/SageMaker", "Invocation5XXErrors", *of_endpoint, {"stat": "Sum"}],
            ["AWS/SageMaker", "ModelLatency", *of_endpoint, {"stat": "p99", **RIGHT}],
        ]
    return series


def _canary_series(stage: Stage) -> list[list[Any]]:
    return [
        [
            METRICS_NAMESPACE, metric, "Stage", stage.name, "Shop", shop, "Release", release.value,
            *([] if metric == "ModelRequests" else [RIGHT]),
        ]
        for shop in stage.served_shops
        for metric in ("ModelRequests", "ModelErrors", "ModelTimeouts")
        for release in ComparedRelease
    ]  # fmt: skip
