"""Patches of moto's CloudWatch: exact dimensions, percentiles, the history of alarms, alarms of templates, refused namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from moto.cloudwatch import models
from moto.cloudwatch.exceptions import InvalidParameterValue, ResourceNotFound
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.common_models import CloudFormationModel
from moto.core.responses import ActionResult

from local.aws.cloudwatch import alarms, expressions
from local.aws.cloudwatch.store import STORE, Metric, metric

_STATES = ("OK", "ALARM", "INSUFFICIENT_DATA")


class AlarmResource(CloudFormationModel):
    """AWS::CloudWatch::Alarm, created and deleted through moto's own CloudWatch."""

    def __init__(self, name: str, arn: str) -> None:
        self.name, self.arn = name, arn

    @property
    def physical_resource_id(self) -> str:
        return self.name

    @staticmethod
    def cloudformation_name_type() -> str:
        return "AlarmName"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::CloudWatch::Alarm"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn"

    def get_cfn_attribute(self, attribute_name: str) -> str:
        if attribute_name == "Arn":
            return self.arn
        raise KeyError(attribute_name)

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> AlarmResource:
        given = cloudformation_json["Properties"]
        alarm = models.cloudwatch_backends[account_id][region_name].put_metric_alarm(
            name=resource_name,
            description=given.get("AlarmDescription"),
            namespace=given.get("Namespace"),
            metric_name=given.get("MetricName"),
            dimensions=given.get("Dimensions", []),
            metric_data_queries=[_query(one) for one in given.get("Metrics", [])] or None,
            comparison_operator=given["ComparisonOperator"],
            evaluation_periods=int(given["EvaluationPeriods"]),
            datapoints_to_alarm=int(given["DatapointsToAlarm"]) if "DatapointsToAlarm" in given else None,
            period=int(given["Period"]) if "Period" in given else None,
            threshold=float(given.get("Threshold", 0)),
            statistic=given.get("Statistic"),
            extended_statistic=given.get("ExtendedStatistic"),
            treat_missing_data=given.get("TreatMissingData"),
            alarm_actions=given.get("AlarmActions", []),
            ok_actions=given.get("OKActions", []),
            insufficient_data_actions=given.get("InsufficientDataActions", []),
            actions_enabled=str(given.get("ActionsEnabled", "true")).lower() == "true",
        )
        return cls(resource_name, alarm.alarm_arn)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
    ) -> AlarmResource:
        if original_resource.name != new_resource_name:
            cls.delete_from_cloudformation_json(
                original_resource.name, cloudformation_json, account_id, region_name
            )
        return cls.create_from_cloudformation_json(
            new_resource_name, cloudformation_json, account_id, region_name
        )

    @classmethod
    def delete_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> None:
        models.cloudwatch_backends[account_id][region_name].delete_alarms([resource_name])


def _query(given: dict[str, Any]) -> models.MetricDataQuery:
    stat = None
    if "MetricStat" in given:
        asked = given["MetricStat"]["Metric"]
        dimensions = [models.Dimension(one["Name"], one["Value"]) for one in asked.get("Dimensions", [])]
        of = models.Metric(asked["MetricName"], asked["Namespace"], dimensions)
        stat = models.MetricStat(
            of,
            given["MetricStat"]["Period"],
            given["MetricStat"]["Stat"],
            given["MetricStat"].get("Unit"),
        )
    return models.MetricDataQuery(
        given["Id"],
        given.get("Label"),
        given.get("Period"),
        str(given.get("ReturnData", "true")).lower(),
        given.get("Expression"),
        stat,
    )


def install() -> None:
    """Patch moto's CloudWatch and start the evaluation of alarms."""
    _keep_metrics()
    _read_metrics()
    _keep_alarms()
    alarms.start()


def _keep_metrics() -> None:
    def put_metric_data(
        _: models.CloudWatchBackend, namespace: str, metric_data: list[dict[str, Any]]
    ) -> None:
        if namespace.startswith("AWS/"):
            raise InvalidParameterValue(
                "The value AWS/ for parameter Namespace is invalid. Namespaces of AWS services are reserved."
            )
        for number, given in enumerate(metric_data, start=1):
            _validate(given, number)
            of = metric(
                namespace,
                given["MetricName"],
                {one["Name"]: one["Value"] for one in given.get("Dimensions") or []},
            )
            at_s, unit = _seconds(given.get("Timestamp")), given.get("Unit") or "None"
            if given.get("StatisticValues"):
                of_set = given["StatisticValues"]
                count, total, least, largest = (
                    float(of_set[name]) for name in ("SampleCount", "Sum", "Minimum", "Maximum")
                )
                STORE.put_set(of, count, total, least, largest, at_s, unit)
                continue
            values = given.get("Values") or [given.get("Value", 0)]
            for value, count in zip(values, given.get("Counts") or [1] * len(values), strict=True):
                STORE.put(of, float(value), at_s, float(count), unit)

    validate = models.CloudWatchBackend._validate_parameters_put_metric_data

    def _validate(given: dict[str, Any], number: int) -> None:
        validate(models.CloudWatchBackend, given, number)

    models.CloudWatchBackend.put_metric_data = put_metric_data


def _read_metrics() -> None:
    def get_metric_data(
        _: models.CloudWatchBackend,
        queries: list[dict[str, Any]],
        start_time: datetime,
        end_time: datetime,
        scan_by: str = "TimestampDescending",
    ) -> list[dict[str, Any]]:
        return [
            {
                "id": query["Id"],
                "label": query.get("Label") or _label(query),
                **_series(query, queries, _seconds(start_time), _seconds(end_time), scan_by),
                "status_code": "Complete",
            }
            for query in queries
            if str(query.get("ReturnData", True)).lower() != "false"
        ]

    def get_metric_statistics(
        _: models.CloudWatchBackend,
        namespace: str,
        metric_name: str,
        start_time: datetime,
        end_time: datetime,
        period: int,
        stats: list[str],
        dimensions: list[dict[str, str]],
        unit: str | None = None,
    ) -> list[dict[str, Any]]:
        of = metric(namespace, metric_name, {one["Name"]: one["Value"] for one in dimensions or []})
        found = []
        for start_s in _starts(_seconds(start_time), _seconds(end_time), int(period)):
            of_period = STORE.statistics(of, start_s, start_s + int(period))
            if of_period.count:
                point = {name: of_period.get(name) for name in stats or ()}
                at = datetime.fromtimestamp(start_s, UTC)
                found.append({"Timestamp": at, "Unit": STORE.units[of], **point})
        return found

    def list_metrics(
        _: models.CloudWatchBackend,
        next_token: str | None,
        namespace: str | None,
        metric_name: str | None,
        dimensions: list[dict[str, str]],
    ) -> tuple[str | None, list[Any]]:
        return None, [
            SimpleNamespace(
                namespace=one.namespace,
                name=one.name,
                metric_name=one.name,
                dimensions=[models.Dimension(name, value) for name, value in sorted(one.dimensions)],
            )
            for one in STORE.metrics()
            if (not namespace or one.namespace == namespace)
            and (not metric_name or one.name == metric_name)
            and all(_has(one, wanted) for wanted in dimensions or [])
        ]

    models.CloudWatchBackend.get_metric_data = get_metric_data
    models.CloudWatchBackend.get_metric_statistics = get_metric_statistics
    models.CloudWatchBackend.list_metrics = list_metrics


def _has(of: Metric, wanted: dict[str, str]) -> bool:
    return any(
        name == wanted["Name"] and wanted.get("Value") in (None, value) for name, value in of.dimensions
    )


def _label(query: dict[str, Any]) -> str:
    return str(query["MetricStat"]["Metric"]["MetricName"] if "MetricStat" in query else query["Id"])


def _series(
    query: dict[str, Any], queries: list[dict[str, Any]], start_s: float, end_s: float, scan_by: str
) -> dict[str, list[Any]]:
    """Return the values of a query per period, with those of the queries that its expression uses."""
    periods = [int(one["MetricStat"]["Period"]) for one in queries if "MetricStat" in one]
    period = int(query["MetricStat"]["Period"]) if "MetricStat" in query else max(periods, default=60)
    used = [query] if "MetricStat" in query else [one for one in queries if one is not query]
    chosen = [_query({**one, "ReturnData": one is query}) for one in used]
    if query not in used:
        chosen.append(_query({**query, "ReturnData": True}))
    timestamps: list[datetime] = []
    values: list[float] = []
    for at_s in _starts(start_s, end_s, period):

        def statistic(of: Metric, stat: str, at_s: float = at_s) -> float | None:
            return STORE.statistics(of, at_s, at_s + period).get(stat)

        try:
            value = alarms.query_values(chosen, statistic)
        except expressions.InvalidExpression as error:
            raise InvalidParameterValue(str(error)) from None
        if value is not None:
            timestamps.append(datetime.fromtimestamp(at_s, UTC))
            values.append(value)
    if scan_by == "TimestampDescending":
        timestamps.reverse()
        values.reverse()
    return {"timestamps": timestamps, "values": values}


def _starts(start_s: float, end_s: float, period: int) -> Iterator[float]:
    """Yield the starts of the periods that begin in the time. CloudWatch aligns them to multiples of the period."""
    at_s = start_s // period * period
    while at_s < end_s:
        yield at_s
        at_s += period


def _seconds(at: datetime | str | None) -> float:
    if at is None:
        return datetime.now(UTC).timestamp()
    found = datetime.fromisoformat(at) if isinstance(at, str) else at
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _keep_alarms() -> None:
    put = models.CloudWatchBackend.put_metric_alarm

    def put_metric_alarm(self: models.CloudWatchBackend, **given: Any) -> models.Alarm:
        old = self.alarms.get(given["name"])
        alarm = put(self, **given)
        alarms.carry_over(old, alarm)
        STORE.changed.set()
        return alarm

    def set_alarm_state(
        self: models.CloudWatchBackend, alarm_name: str, reason: str, reason_data: str, state_value: Any
    ) -> None:
        if alarm_name not in self.alarms:
            raise ResourceNotFound
        if state_value not in _STATES:
            raise InvalidParameterValue(f"{state_value} is no state: use one of {', '.join(_STATES)}")
        alarms.change(self.alarms[alarm_name], state_value, reason, reason_data or "null")

    def describe_alarm_history(self: CloudWatchResponse) -> ActionResult:
        asked, kind = self._get_param("AlarmName"), self._get_param("HistoryItemType")
        items = [
            {
                "AlarmName": alarm.name,
                "AlarmType": "MetricAlarm",
                "Timestamp": item.at,
                "HistoryItemType": item.kind,
                "HistorySummary": item.summary,
                "HistoryData": item.data,
            }
            for alarm in list(self.cloudwatch_backend.alarms.values())
            if asked in (None, alarm.name)
            for item in alarms.history(alarm)
            if kind in (None, item.kind)
        ]
        items.sort(key=lambda item: item["Timestamp"], reverse=True)
        return ActionResult({"AlarmHistoryItems": items[: int(self._get_param("MaxRecords") or 100)]})

    models.CloudWatchBackend.put_metric_alarm = put_metric_alarm
    models.CloudWatchBackend.set_alarm_state = set_alarm_state
    CloudWatchResponse.describe_alarm_history = describe_alarm_history
