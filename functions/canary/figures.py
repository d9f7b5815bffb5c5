"""Read the figures of both releases during a canary from CloudWatch."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from functions.platform.contract import METRICS_NAMESPACE
from functions.platform.endpoint import is_realtime
from functions.platform.metrics import ComparedRelease
from functions.platform.scaling import VARIANT

PERIOD_S = 60
SUMS = ("ModelRequests", "ModelTimeouts", "ModelErrors", "ShortAnswers", "ModelMilliseconds", "Clicks")


class Figures(NamedTuple):
    """Counts of one release. `milliseconds` is the sum over all answers that came in time."""

    requests: float = 0
    timeouts: float = 0
    errors: float = 0
    short: float = 0
    milliseconds: float = 0
    clicks: float = 0
    cold_starts: float = 0

    @property
    def answers(self) -> float:
        """The number of answers in time, of any quality."""
        return max(0.0, self.requests - self.timeouts - self.errors)

    @property
    def timeouts_of_model(self) -> float:
        """The timeouts that no cold start explains. The request that starts a container waits for it."""
        return max(0.0, self.timeouts - self.cold_starts)


def read_figures(
    cloudwatch: Any,
    stage: str,
    shop_id: str,
    current_endpoint: str,
    candidate_endpoint: str,
    start_s: float,
    end_s: float,
) -> tuple[Figures, Figures]:
    """Return the figures of a shop's current release and of its candidate, from the minute of the canary's start until now."""
    endpoints = {ComparedRelease.CURRENT: current_endpoint, ComparedRelease.CANDIDATE: candidate_endpoint}
    queries = [
        query
        for release, endpoint in endpoints.items()
        for query in _queries(stage, shop_id, release, endpoint)
    ]
    sums: dict[str, float] = {}
    token: dict[str, str] = {}
    while True:
        page = cloudwatch.get_metric_data(
            MetricDataQueries=queries,
            StartTime=datetime.fromtimestamp(start_s // PERIOD_S * PERIOD_S, UTC),
            EndTime=datetime.fromtimestamp(end_s, UTC),
            **token,
        )
        for result in page["MetricDataResults"]:
            sums[result["Id"]] = sums.get(result["Id"], 0.0) + sum(result["Values"])
        if not page.get("NextToken"):
            break
        token = {"NextToken": page["NextToken"]}
    current, candidate = (
        Figures(*(sums.get(_id(release, name), 0.0) for name in (*SUMS, "ModelSetupTime")))
        for release in endpoints
    )
    return current, candidate


def _id(release: ComparedRelease, metric: str) -> str:
    return f"{release.value}_{metric.lower()}"


def _queries(stage: str, shop_id: str, release: ComparedRelease, endpoint: str) -> list[dict[str, Any]]:
    dimensions = {"Stage": stage, "Shop": shop_id, "Release": release.value}
    queries = [_query(release, METRICS_NAMESPACE, name, dimensions, "Sum") for name in SUMS]
    if not is_realtime(endpoint):
        # A serverless endpoint reports it once per new container:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-monitoring.html
        of_endpoint = {"EndpointName": endpoint, "VariantName": VARIANT}
        queries.append(_query(release, "AWS/SageMaker", "ModelSetupTime", of_endpoint, "SampleCount"))
    return queries


def _query(
    release: ComparedRelease, namespace: str, metric: str, dimensions: dict[str, str], stat: str
) -> dict[str, Any]:
    return {
        "Id": _id(release, metric),
        "MetricStat": {
            "Metric": {
                "Namespace": namespace,
                "MetricName": metric,
                "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            },
            "Period": PERIOD_S,
            "Stat": stat,
        },
    }
