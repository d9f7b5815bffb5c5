"""The stage that a drill rings an alarm of: its clients, its API, and the values of its metrics."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.shop_resources import alarm_suffix
from deploy.stages import Stage
from functions.platform.contract import METRICS, METRICS_NAMESPACE

REQUEST_TIMEOUT_S = 30
# The alarms that each of several shops has: those of deploy/shop_resources.py, by the ends of their names.
OF_SHOPS = ("fallbacks", "empty-answers", "model-old", "endpoint-5xx", "endpoint-slow")


class NotPossible(Exception):
    """The cause of an alarm cannot be produced on this stage now. The message says why."""


@dataclass(frozen=True)
class Place:
    """A deployed stage, and the shop whose alarms are rung if each shop has its own."""

    stage: Stage
    account_id: str
    session: Any
    api_url: str
    shop: str = ""

    def client(self, service: str) -> Any:
        """Return a client of the stage's region."""
        return self.session.client(service)

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource of the stage's account."""
        return f"arn:aws:{service}:{self.stage.region}:{self.account_id}:{resource}"

    def alarm_name(self, alarm: str) -> str:
        """Return the alarm's name in CloudWatch."""
        of_shop = alarm_suffix(self.stage, self.shop) if alarm in OF_SHOPS else ""
        return f"{self.stage.prefix}-{alarm}{of_shop}"

    def alarm(self, alarm: str) -> dict[str, Any] | None:
        """Return the alarm, or None if the stage has none of this name."""
        found = self.client("cloudwatch").describe_alarms(AlarmNames=[self.alarm_name(alarm)])
        return next(iter(found["MetricAlarms"]), None)

    def set_state(self, alarm: str, state: str, reason: str) -> None:
        """Set the alarm's state. Its next evaluation returns it to the state of its data."""
        self.client("cloudwatch").set_alarm_state(
            AlarmName=self.alarm_name(alarm), StateValue=state, StateReason=reason
        )

    def put(self, values: Mapping[str, float], after_s: int = 0) -> None:
        """Put values of the stage's metrics, `after_s` seconds from now. Alarms of shops look at those of their shop."""
        at = datetime.now(UTC) + timedelta(seconds=after_s)
        data = [
            {
                "MetricName": name,
                "Dimensions": self._dimensions(name),
                "Timestamp": at,
                "Value": value,
                "Unit": METRICS[name][0],
            }
            for name, value in values.items()
        ]
        self.client("cloudwatch").put_metric_data(Namespace=METRICS_NAMESPACE, MetricData=data)

    def sum_of(self, metric: str, seconds: int) -> float:
        """Return the sum of one of the stage's metrics over the last seconds."""
        now = datetime.now(UTC)
        found = self.client("cloudwatch").get_metric_statistics(
            Namespace=METRICS_NAMESPACE,
            MetricName=metric,
            Dimensions=self._dimensions(metric),
            StartTime=now - timedelta(seconds=seconds + 60),
            EndTime=now + timedelta(seconds=60),
            Period=60,
            Statistics=["Sum"],
        )
        return float(sum(point["Sum"] for point in found["Datapoints"]))

    def _dimensions(self, metric: str) -> list[dict[str, str]]:
        """Return the dimensions that the alarms on a metric have."""
        dimensions = [{"Name": "Stage", "Value": self.stage.name}]
        if len(self.stage.served_shops) > 1 and ("Stage", "Shop") in METRICS[metric][1]:
            dimensions.append({"Name": "Shop", "Value": self.shop})
        return dimensions

    def ask(self, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """Send a request to the stage's API. Return its status, and its body if that is JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.api_url.rstrip("/") + path, data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:
                return response.status, _json(response.read())
        except urllib.error.HTTPError as error:
            return error.code, _json(error.read())
        except OSError as error:
            raise NotPossible(f"the API {self.api_url} does not answer: {error}") from error


def _json(text: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def drill_id() -> str:
    """Return a name that marks what a drill makes."""
    return f"drill-{time.time_ns() // 1_000_000}"
