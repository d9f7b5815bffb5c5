"""Read the series of CloudWatch that the page shows: the last day by the hour, and this month's sums.

GetMetricData is billed per series, so every series is asked once, and of those by reason only the existing ones.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from functions.operations.model import Metrics, Points
from functions.platform.contract import METRICS_NAMESPACE
from functions.platform.scaling import VARIANT

HOURS = 24
PERIOD_S = 3600
QUERIES_MAX = 500
# A reason comes from a list in the code. More of them than this would be a fault, and would cost.
REASONS_MAX = 25
# Shops with figures on the page. Each has five series.
SHOPS_MAX = 20
# Sums of the month, from which the money is estimated. They are in the last day's series too.
OF_MONTH = ("accepted", "refused", "recommendations", "api_requests")


class Query(NamedTuple):
    """One series: its id, its metric, its dimensions and its statistic."""

    id: str
    namespace: str
    metric: str
    dimensions: dict[str, str]
    stat: str


def standing_queries(stage: str, api_function: str) -> list[Query]:
    """Return the series that every stage has."""
    of_api = {"ApiName": "tugboat", "Stage": stage}
    of_stage = {"Stage": stage}
    rows = [
        ("accepted", METRICS_NAMESPACE, "EventsAccepted", of_stage, "Sum"),
        ("refused", METRICS_NAMESPACE, "EventsRefused", of_stage, "Sum"),
        ("recommendations", METRICS_NAMESPACE, "Recommendations", of_stage, "Sum"),
        ("fallbacks", METRICS_NAMESPACE, "Fallbacks", of_stage, "Sum"),
        ("empty", METRICS_NAMESPACE, "EmptyAnswers", of_stage, "Sum"),
        ("api_requests", "AWS/ApiGateway", "Count", of_api, "Sum"),
        ("api_5xx", "AWS/ApiGateway", "5XXError", of_api, "Sum"),
        ("api_4xx", "AWS/ApiGateway", "4XXError", of_api, "Sum"),
        ("api_p50", "AWS/Lambda", "Duration", {"FunctionName": api_function}, "p50"),
        ("api_p99", "AWS/Lambda", "Duration", {"FunctionName": api_function}, "p99"),
    ]
    return [Query(*row) for row in rows]


def endpoint_queries(endpoint: str) -> list[Query]:
    """Return the series of the endpoint of a stage that serves one shop."""
    of_endpoint = {"EndpointName": endpoint, "VariantName": VARIANT}
    rows = [
        ("invocations", "Invocations", "Sum"),
        ("endpoint_5xx", "Invocation5XXErrors", "Sum"),
        ("endpoint_4xx", "Invocation4XXErrors", "Sum"),
        # In microseconds: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
        ("latency_p50", "ModelLatency", "p50"),
        ("latency_p99", "ModelLatency", "p99"),
        ("overhead_p99", "OverheadLatency", "p99"),
        # A serverless endpoint reports it once per new container, so its number is that of the cold starts.
        ("cold_starts", "ModelSetupTime", "SampleCount"),
        ("cold_start_max", "ModelSetupTime", "Maximum"),
        ("concurrency", "ServerlessConcurrentExecutionsUtilization", "Maximum"),
    ]
    return [Query(name, "AWS/SageMaker", metric, of_endpoint, stat) for name, metric, stat in rows]


def shop_queries(stage: str, shop: str, endpoint: str, number: int) -> list[Query]:
    """Return the series of one of several shops. An id of CloudWatch cannot contain every shop's."""
    of_shop = {"Stage": stage, "Shop": shop}
    of_endpoint = {"EndpointName": endpoint, "VariantName": VARIANT}
    rows = [
        ("recommendations", METRICS_NAMESPACE, "Recommendations", of_shop, "Sum"),
        ("fallbacks", METRICS_NAMESPACE, "Fallbacks", of_shop, "Sum"),
        ("empty", METRICS_NAMESPACE, "EmptyAnswers", of_shop, "Sum"),
        ("latency_p99", "AWS/SageMaker", "ModelLatency", of_endpoint, "p99"),
        ("endpoint_5xx", "AWS/SageMaker", "Invocation5XXErrors", of_endpoint, "Sum"),
    ]
    return [Query(f"shop{number}_{name}", *row) for name, *row in rows]  # type: ignore[arg-type]


def read_metrics(
    cloudwatch: Any, stage: str, endpoints: dict[str, str], api_function: str, now: datetime
) -> Metrics:
    """Return the series that have values. `endpoints` has the endpoint of each shop that the stage serves."""
    since = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    month_start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    standing = standing_queries(stage, api_function)
    by_shop = {}
    if len(endpoints) == 1:
        standing += endpoint_queries(*endpoints.values())
    else:
        by_shop = {
            shop: shop_queries(stage, shop, endpoint, number)
            for number, (shop, endpoint) in enumerate(list(endpoints.items())[:SHOPS_MAX])
        }
    by_reason = list(_by_reason(cloudwatch, stage))
    of_month = [one for one in standing if one.id in OF_MONTH]
    of_day = [one for one in standing if one.id not in OF_MONTH] + by_reason
    of_day += [query for queries in by_shop.values() for query in queries]
    found = _read(cloudwatch, of_day, since, now)
    long = _read(cloudwatch, of_month, min(since, month_start), now)
    day = {name: [point for point in points if point[0] >= since] for name, points in long.items()}
    month = {
        name: sum(value for at, value in points if at >= month_start)
        for name, points in long.items()
        if any(at >= month_start for at, _ in points)
    }
    reasons = {one.id: one for one in by_reason}
    sums = {
        name: {
            reasons[key].dimensions["Reason"]: sum(value for _, value in points)
            for key, points in found.items()
            if key in reasons and reasons[key].metric == name
        }
        for name in ("EventsRefused", "Fallbacks")
    }
    shops = {
        shop: Metrics(
            since,
            {query.id.split("_", 1)[1]: points for query in queries if (points := found.pop(query.id, []))},
            {},
            {},
            {},
        )
        for shop, queries in by_shop.items()
    }
    series = {name: points for name, points in (found | day).items() if points and name not in reasons}
    return Metrics(since, series, month, _used(sums["EventsRefused"]), _used(sums["Fallbacks"]), shops)


def _used(counts: dict[str, float]) -> dict[str, float]:
    return dict(
        sorted(
            ((name, count) for name, count in counts.items() if count), key=lambda pair: (-pair[1], pair[0])
        )
    )


def _by_reason(cloudwatch: Any, stage: str) -> Iterator[Query]:
    """Yield the series of the metrics that are counted by reason."""
    for metric in ("EventsRefused", "Fallbacks"):
        listed = cloudwatch.list_metrics(
            Namespace=METRICS_NAMESPACE,
            MetricName=metric,
            Dimensions=[{"Name": "Stage", "Value": stage}, {"Name": "Reason"}],
        )["Metrics"]
        for number, one in enumerate(listed[:REASONS_MAX]):
            dimensions = {dimension["Name"]: dimension["Value"] for dimension in one["Dimensions"]}
            if "Reason" in dimensions:
                yield Query(f"{metric.lower()}_{number}", METRICS_NAMESPACE, metric, dimensions, "Sum")


def _read(cloudwatch: Any, queries: Iterable[Query], start: datetime, end: datetime) -> dict[str, Points]:
    wanted = [
        {
            "Id": one.id,
            "MetricStat": {
                "Metric": {
                    "Namespace": one.namespace,
                    "MetricName": one.metric,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in one.dimensions.items()],
                },
                "Period": PERIOD_S,
                "Stat": one.stat,
            },
        }
        for one in queries
    ]
    found: dict[str, Points] = {}
    token: dict[str, str] = {}
    while wanted:
        page = cloudwatch.get_metric_data(
            MetricDataQueries=wanted[:QUERIES_MAX],
            StartTime=start,
            EndTime=end,
            ScanBy="TimestampAscending",
            **token,
        )
        for result in page["MetricDataResults"]:
            points = zip(result["Timestamps"], result["Values"], strict=True)
            found.setdefault(result["Id"], []).extend(
                (at.astimezone(UTC), float(value)) for at, value in points if value is not None
            )
        if not page.get("NextToken"):
            break
        token = {"NextToken": page["NextToken"]}
    return {name: sorted(points) for name, points in found.items()}
