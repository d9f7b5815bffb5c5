"""CloudWatch: metrics of logs and services, and alarms that change their state and publish."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.testing import wait_for
from local.tests.integration.aws.clients import Aws

pytestmark = pytest.mark.local_stack


@pytest.fixture(autouse=True)
def no_alarm_is_left(aws: Aws) -> Iterator[None]:
    """Delete the alarms of a test: later tests of this process read the last notification."""
    yield
    cloudwatch = aws.client("cloudwatch")
    found = cloudwatch.describe_alarms(AlarmNamePrefix="watch-")["MetricAlarms"]
    cloudwatch.delete_alarms(AlarmNames=[one["AlarmName"] for one in found])


class Watch:
    """An alarm on a metric of its own, with a topic and a subscribed queue."""

    def __init__(self, aws: Aws, **changes: Any) -> None:
        self.name = f"watch-{uuid.uuid4().hex[:8]}"
        self.cloudwatch, self.sqs = aws.client("cloudwatch"), aws.client("sqs")
        sns = aws.client("sns")
        self.topic = sns.create_topic(Name=self.name)["TopicArn"]
        self.queue = self.sqs.create_queue(QueueName=self.name)["QueueUrl"]
        sns.subscribe(
            TopicArn=self.topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:123456789012:{self.name}"
        )
        settings: dict[str, Any] = {
            "AlarmName": self.name,
            "AlarmDescription": "Run make status.",
            "Namespace": "Own",
            "MetricName": self.name,
            "Dimensions": [{"Name": "Stage", "Value": "test"}],
            "Statistic": "Sum",
            "Period": 300,
            "EvaluationPeriods": 1,
            "Threshold": 5,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
            "AlarmActions": [self.topic],
            "OKActions": [self.topic],
        }
        self.cloudwatch.put_metric_alarm(
            **{key: value for key, value in {**settings, **changes}.items() if value is not None}
        )

    def put(self, value: float, age: timedelta = timedelta(0), reason: str = "") -> None:
        """Put a value of the metric."""
        dimensions = [{"Name": "Stage", "Value": "test"}]
        if reason:
            dimensions.append({"Name": "Reason", "Value": reason})
        datum = {
            "MetricName": self.name,
            "Value": value,
            "Timestamp": datetime.now(UTC) - age,
            "Dimensions": dimensions,
        }
        self.cloudwatch.put_metric_data(Namespace="Own", MetricData=[datum])

    def alarm(self) -> dict[str, Any]:
        """Return the alarm's description."""
        [found] = self.cloudwatch.describe_alarms(AlarmNames=[self.name])["MetricAlarms"]
        return dict(found)

    def wait(self, state: str) -> dict[str, Any]:
        """Wait for a state and return the alarm."""
        wait_for(lambda: self.alarm()["StateValue"] == state, 20, pause_s=0.2)
        return self.alarm()

    def messages(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many messages and return what CloudWatch published, in order."""
        found: list[dict[str, Any]] = []

        def receive() -> bool:
            for one in self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get(
                "Messages", []
            ):
                found.append(json.loads(one["Body"]))
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=one["ReceiptHandle"])
            return len(found) >= count

        wait_for(receive, 20, pause_s=0.2)
        return found


def test_an_alarm_rings_recovers_and_tells_both_to_its_topic(aws: Aws) -> None:
    watch = Watch(aws)
    watch.wait("OK")
    watch.put(9, timedelta(minutes=8))
    ringing = watch.wait("ALARM")
    assert "9.0" in ringing["StateReason"]
    assert "greater than the threshold (5.0)" in ringing["StateReason"]
    watch.put(1)
    watch.wait("OK")
    messages = watch.messages(3)
    assert [json.loads(one["Message"])["NewStateValue"] for one in messages] == ["OK", "ALARM", "OK"]
    assert messages[1]["Subject"] == f'ALARM: "{watch.name}" in US East (N. Virginia)'
    rang = json.loads(messages[1]["Message"])
    assert rang["AlarmDescription"] == "Run make status."
    assert (rang["OldStateValue"], rang["AlarmArn"]) == ("OK", ringing["AlarmArn"])
    assert rang["Trigger"]["Dimensions"] == [{"value": "test", "name": "Stage"}]
    items = watch.cloudwatch.describe_alarm_history(AlarmName=watch.name)["AlarmHistoryItems"]
    updates = [one["HistorySummary"] for one in items if one["HistoryItemType"] == "StateUpdate"]
    assert updates == [
        "Alarm updated from ALARM to OK",
        "Alarm updated from OK to ALARM",
        "Alarm updated from INSUFFICIENT_DATA to OK",
    ]


def test_a_share_of_two_metrics_rings_by_its_expression(aws: Aws) -> None:
    name = f"share-{uuid.uuid4().hex[:8]}"

    def part(of: str) -> dict[str, Any]:
        dimensions = [{"Name": "Stage", "Value": name}]
        stat = {"Metric": {"Namespace": "Own", "MetricName": of, "Dimensions": dimensions}}
        return {"Id": of.lower(), "ReturnData": False, "MetricStat": {**stat, "Period": 300, "Stat": "Sum"}}

    share = "IF(answers >= 20, 100 * bad / answers, 0)"
    metrics = [{"Id": "e", "Expression": share, "ReturnData": True}, part("Answers"), part("Bad")]
    watch = Watch(
        aws,
        **dict.fromkeys(["Namespace", "MetricName", "Dimensions", "Statistic", "Period"]),
        Metrics=metrics,
    )
    values = {"Answers": 40.0, "Bad": 4.0}
    dimensions = [{"Name": "Stage", "Value": name}]
    data = [{"MetricName": key, "Value": value, "Dimensions": dimensions} for key, value in values.items()]
    watch.cloudwatch.put_metric_data(Namespace="Own", MetricData=data)
    assert "10.0" in watch.wait("ALARM")["StateReason"]
    assert [one["Id"] for one in json.loads(watch.messages(1)[-1]["Message"])["Trigger"]["Metrics"]] == [
        "e",
        "answers",
        "bad",
    ]


def test_values_of_another_dimension_set_do_not_count(aws: Aws) -> None:
    watch = Watch(aws)
    watch.put(9, reason="wrong_key")
    watch.put(2)
    now = datetime.now(UTC)
    found = watch.cloudwatch.get_metric_statistics(
        Namespace="Own",
        MetricName=watch.name,
        Dimensions=[{"Name": "Stage", "Value": "test"}],
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=1),
        Period=300,
        Statistics=["Sum", "Maximum"],
    )["Datapoints"]
    assert sum(one["Sum"] for one in found) == 2
    listed = watch.cloudwatch.list_metrics(Namespace="Own", MetricName=watch.name)["Metrics"]
    assert sorted(len(one["Dimensions"]) for one in listed) == [1, 2]
    stat = {
        "Metric": {
            "Namespace": "Own",
            "MetricName": watch.name,
            "Dimensions": [{"Name": "Stage", "Value": "test"}],
        },
        "Period": 300,
        "Stat": "Sum",
    }
    queries = [
        {"Id": "m", "MetricStat": stat, "ReturnData": False},
        {"Id": "double", "Expression": "m * 2"},
    ]
    [result] = watch.cloudwatch.get_metric_data(
        MetricDataQueries=queries, StartTime=now - timedelta(minutes=10), EndTime=now + timedelta(minutes=1)
    )["MetricDataResults"]
    assert (result["Id"], sum(result["Values"])) == ("double", 4)


def test_a_state_that_is_set_publishes_and_the_next_evaluation_corrects_it(aws: Aws) -> None:
    watch = Watch(aws)
    watch.wait("OK")
    watch.cloudwatch.set_alarm_state(AlarmName=watch.name, StateValue="ALARM", StateReason="a drill")
    watch.wait("OK")
    reasons = [json.loads(one["Message"])["NewStateReason"] for one in watch.messages(3)]
    assert reasons[1] == "a drill"


def test_an_alarm_that_is_put_again_keeps_its_state(aws: Aws) -> None:
    watch = Watch(aws)
    watch.put(9)
    before = watch.wait("ALARM")
    settings = {
        key: before[key]
        for key in (
            *("AlarmName", "Namespace", "MetricName", "Dimensions", "Statistic", "Period"),
            *("EvaluationPeriods", "ComparisonOperator", "TreatMissingData", "AlarmActions"),
        )
    }
    watch.cloudwatch.put_metric_alarm(**settings, Threshold=6)
    assert watch.alarm()["StateValue"] == "ALARM"


def test_namespaces_of_aws_are_reserved(aws: Aws) -> None:
    with pytest.raises(ClientError, match="reserved"):
        aws.client("cloudwatch").put_metric_data(
            Namespace="AWS/Lambda", MetricData=[{"MetricName": "Errors", "Value": 1}]
        )


def test_a_function_that_fails_and_its_log_lines_are_metrics(aws: Aws) -> None:
    source = """
import json, time
def handler(event, context):
    aws = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [
        {"Namespace": "Own", "Dimensions": [["Function"]], "Metrics": [{"Name": "Seen", "Unit": "Count"}]}]}
    print(json.dumps({"_aws": aws, "Function": context.function_name, "Seen": event}))
    raise ValueError(event)
"""
    name = aws.make_function(source)
    watch = Watch(
        aws,
        Namespace="AWS/Lambda",
        MetricName="Errors",
        Dimensions=[{"Name": "FunctionName", "Value": name}],
        Threshold=0,
    )
    aws.invoke(name, 3)
    watch.wait("ALARM")
    now = datetime.now(UTC)
    [seen] = watch.cloudwatch.get_metric_statistics(
        Namespace="Own",
        MetricName="Seen",
        Dimensions=[{"Name": "Function", "Value": name}],
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    assert seen["Sum"] == 3


def test_a_message_in_a_queue_that_an_alarm_watches_rings(aws: Aws) -> None:
    queue = f"letters-{uuid.uuid4().hex[:8]}"
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    watch = Watch(
        aws,
        Namespace="AWS/SQS",
        MetricName="ApproximateNumberOfMessagesVisible",
        Dimensions=[{"Name": "QueueName", "Value": queue}],
        Statistic="Maximum",
        Threshold=0,
    )
    watch.wait("OK")
    sqs.send_message(QueueUrl=url, MessageBody="undeliverable")
    watch.wait("ALARM")
