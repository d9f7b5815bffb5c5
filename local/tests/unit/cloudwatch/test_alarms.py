"""Alarms of the local CloudWatch: the order of what they publish."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from moto.cloudwatch.models import Alarm, CloudWatchBackend

from local.aws.cloudwatch import alarms
from local.aws.cloudwatch.store import Store


def waiting_alarm() -> Alarm:
    """Return an alarm without data, which the next evaluation sets to OK."""
    backend = CloudWatchBackend("us-east-1", "123456789012")
    named: dict[str, Any] = {
        "name": "no-data",
        "description": "",
        "namespace": "Own",
        "metric_name": "Seen",
        "statistic": "Sum",
        "period": 300,
        "evaluation_periods": 1,
        "threshold": 5.0,
        "comparison_operator": "GreaterThanThreshold",
        "treat_missing_data": "notBreaching",
        "dimensions": [],
        "alarm_actions": ["topic"],
        "ok_actions": ["topic"],
    }
    alarm = backend.put_metric_alarm(**named)
    alarms.carry_over(None, alarm)
    return alarm


def test_a_state_that_is_set_while_another_is_published_is_published_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alarm = waiting_alarm()
    published: list[str] = []
    publishing, may_publish = threading.Event(), threading.Event()

    def slow_topic(of: Alarm, topic: str, message: dict[str, Any], *rest: Any) -> None:
        publishing.set()
        if message["NewStateValue"] == "OK":
            may_publish.wait(10)
        published.append(message["NewStateReason"])

    monkeypatch.setattr(alarms, "_publish", slow_topic)
    evaluation = threading.Thread(target=alarms.evaluate, args=(alarm, Store(), 0.0))
    evaluation.start()
    assert publishing.wait(10)
    drill = threading.Thread(target=alarms.change, args=(alarm, "ALARM", "a drill", json.dumps(None)))
    drill.start()
    drill.join(0.2)
    may_publish.set()
    evaluation.join(10)
    drill.join(10)
    assert len(published) == 2
    assert published[1] == "a drill"
