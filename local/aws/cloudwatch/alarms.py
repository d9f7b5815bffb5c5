"""Alarms that ring: each is evaluated soon after a new value, changes its state, keeps its history and publishes to SNS.

CloudWatch evaluates each minute the whole minutes before. Here the present minute counts too, so that a drill takes seconds.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import Alarm, cloudwatch_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from local.aws.cloudwatch import expressions
from local.aws.cloudwatch.evaluation import EXTRA_PERIODS, Point, Rule, State, judge
from local.aws.cloudwatch.store import MINUTE_S, STORE, Metric, Store, metric
from local.aws.settings import ACCOUNT_ID, REGION

log = logging.getLogger(__name__)

# Without new values, time alone changes a state: a period without data begins.
IDLE_S = 10.0
# Under load, values come all the time.
BETWEEN_S = 1.0
HISTORY_KEPT = 200
REGION_NAMES = {"us-east-1": "US East (N. Virginia)"}
# A state is published before the next one is set, so messages have the order of the states.
_changing = threading.RLock()


@dataclass(frozen=True)
class HistoryItem:
    """A change of an alarm, as DescribeAlarmHistory returns it."""

    at: datetime
    kind: str
    summary: str
    data: str


def start() -> None:
    """Start the thread that evaluates all alarms."""
    threading.Thread(target=_run, daemon=True, name="alarms").start()


def _run() -> None:
    while True:
        STORE.changed.wait(IDLE_S)
        STORE.changed.clear()
        evaluate_all(STORE, time.time())
        time.sleep(BETWEEN_S)


def evaluate_all(store: Store, now_s: float) -> None:
    """Evaluate every alarm of the account."""
    alarms = list(cloudwatch_backends[ACCOUNT_ID][REGION].alarms.values())
    _sample_queues(alarms, store)
    for alarm in alarms:
        try:
            evaluate(alarm, store, now_s)
        except Exception:  # the thread must survive: an alarm that cannot be evaluated silences no other one
            log.exception("the alarm %s could not be evaluated", alarm.name)


def evaluate(alarm: Alarm, store: Store, now_s: float) -> None:
    """Give the alarm the state of its data points."""
    if alarm.metric_name is None and not alarm.metric_data_queries:  # a composite alarm
        return
    rule = _rule(alarm)
    points = data_points(alarm, store, now_s, rule.periods + EXTRA_PERIODS)
    with _changing:
        state: State = alarm.state_value
        verdict = judge(rule, points, state)
        if verdict.state != state:
            known = [point for point in verdict.points if point.value is not None]
            data = {
                "version": "1.0",
                "queryDate": _iso(datetime.now(UTC)),
                "period": _period(alarm),
                "recentDatapoints": [point.value for point in reversed(known)],
                "threshold": rule.threshold,
            }
            change(alarm, verdict.state, verdict.reason, json.dumps(data))


def data_points(alarm: Alarm, store: Store, now_s: float, count: int) -> list[Point]:
    """Return the value of each of the last `count` periods, newest first."""
    period = _period(alarm)
    end = (int(now_s // MINUTE_S) + 1) * MINUTE_S
    starts = [end - period * (number + 1) for number in range(count)]
    return [Point(start, _value(alarm, store, start, start + period)) for start in starts]


def change(alarm: Alarm, state: State, reason: str, data: str) -> None:
    """Change the state, write the history, and publish to the topics of the new state."""
    with _changing:
        before = alarm.state_value
        now = datetime.now(UTC)
        alarm.update_state(reason, data, state)
        alarm.state_updated_timestamp = now.replace(tzinfo=None)
        if before == state:
            return
        details = {
            "version": "1.0",
            "oldState": {"stateValue": before},
            "newState": {
                "stateValue": state,
                "stateReason": reason,
                "stateReasonData": json.loads(data or "null"),
            },
        }
        _remember(alarm, now, "StateUpdate", f"Alarm updated from {before} to {state}", details)
        actions = {"ALARM": alarm.alarm_actions, "OK": alarm.ok_actions}.get(
            state, alarm.insufficient_data_actions
        )
        if alarm.actions_enabled:
            for topic in actions:
                _publish(alarm, topic, notification(alarm, before, now), state, now)


def notification(alarm: Alarm, before: str, at: datetime) -> dict[str, Any]:
    """Return the message that CloudWatch publishes for a change of state."""
    return {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": ACCOUNT_ID,
        "AlarmConfigurationUpdatedTimestamp": _iso(alarm.configuration_updated_timestamp),
        "NewStateValue": alarm.state_value,
        "NewStateReason": alarm.state_reason,
        "StateChangeTime": _iso(at),
        "Region": REGION_NAMES.get(REGION, REGION),
        "AlarmArn": alarm.alarm_arn,
        "OldStateValue": before,
        "OKActions": alarm.ok_actions,
        "AlarmActions": alarm.alarm_actions,
        "InsufficientDataActions": alarm.insufficient_data_actions,
        "Trigger": _trigger(alarm),
    }


def history(alarm: Alarm) -> list[HistoryItem]:
    """Return the changes of an alarm, newest first."""
    return list(reversed(getattr(alarm, "items", [])))


def carry_over(old: Alarm | None, new: Alarm) -> None:
    """Keep the state and the history of an alarm that is put again. A new one has no data yet."""
    if old is None:
        new.state_value = "INSUFFICIENT_DATA"
        return
    new.state_value, new.state_reason, new.state_reason_data = (
        old.state_value,
        old.state_reason,
        old.state_reason_data,
    )
    new.state_updated_timestamp = old.state_updated_timestamp
    new.items = getattr(old, "items", [])


def _remember(alarm: Alarm, at: datetime, kind: str, summary: str, data: dict[str, Any]) -> None:
    items = [*getattr(alarm, "items", []), HistoryItem(at, kind, summary, json.dumps(data))]
    alarm.items = items[-HISTORY_KEPT:]


def _publish(alarm: Alarm, topic: str, message: dict[str, Any], state: str, at: datetime) -> None:
    subject = f'{state}: "{alarm.name}" in {REGION_NAMES.get(REGION, REGION)}'[:100]
    try:
        sns_backends[ACCOUNT_ID][REGION].publish(json.dumps(message), arn=topic, subject=subject)
    except Exception as error:  # any error of the topic, such as a deleted one, is part of the history
        log.exception("%s could not be published to %s", alarm.name, topic)
        summary = f"Failed to execute action {topic}"
        _remember(alarm, at, "Action", summary, {"actionState": "Failed", "error": str(error)})
        return
    _remember(alarm, at, "Action", f"Successfully executed action {topic}", {"actionState": "Succeeded"})


def _rule(alarm: Alarm) -> Rule:
    periods = int(alarm.evaluation_periods)
    return Rule(
        alarm.comparison_operator,
        float(alarm.threshold),
        periods,
        int(alarm.datapoints_to_alarm or periods),
        alarm.treat_missing_data or "missing",
    )


def _period(alarm: Alarm) -> int:
    periods = [int(query.metric_stat.period) for query in alarm.metric_data_queries if query.metric_stat]
    return max(periods) if periods else int(alarm.period)


def _value(alarm: Alarm, store: Store, start_s: float, end_s: float) -> float | None:
    if not alarm.metric_data_queries:
        of = metric(alarm.namespace, alarm.metric_name, {one.name: one.value for one in alarm.dimensions})
        return store.statistics(of, start_s, end_s).get(alarm.extended_statistic or alarm.statistic)
    return query_values(
        alarm.metric_data_queries, lambda of, stat: store.statistics(of, start_s, end_s).get(stat)
    )


def query_values(queries: Iterable[Any], statistic: Callable[[Metric, str], float | None]) -> float | None:
    """Return the value of the query that returns data, in one period."""
    known: dict[str, float | None] = {}
    waiting = list(queries)
    returned = next((query.id for query in waiting if _returns(query)), None)
    while waiting:
        ready = [
            query
            for query in waiting
            if query.metric_stat or expressions.names(query.expression) <= known.keys()
        ]
        if not ready:
            raise expressions.InvalidExpression(f"{waiting[0].expression!r} uses an id that no query has")
        for query in ready:
            waiting.remove(query)
            if query.metric_stat:
                asked = query.metric_stat.metric
                of = metric(
                    asked.namespace, asked.metric_name, {one.name: one.value for one in asked.dimensions}
                )
                known[query.id] = statistic(of, query.metric_stat.stat)
            else:
                known[query.id] = expressions.evaluate(query.expression, known)
    return known.get(returned or "")


def _returns(query: Any) -> bool:
    return str(query.return_data).lower() not in ("false", "none")


def _sample_queues(alarms: Iterable[Alarm], store: Store) -> None:
    """Record the visible messages of each queue that an alarm watches, as SQS does by itself."""
    for alarm in alarms:
        if alarm.namespace != "AWS/SQS":
            continue
        dimensions = {one.name: one.value for one in alarm.dimensions}
        queue = sqs_backends[ACCOUNT_ID][REGION].queues.get(dimensions.get("QueueName", ""))
        if queue is not None:
            store.sample(
                metric("AWS/SQS", alarm.metric_name, dimensions), float(queue.approximate_number_of_messages)
            )


def _trigger(alarm: Alarm) -> dict[str, Any]:
    common = {
        "Period": _period(alarm),
        "EvaluationPeriods": int(alarm.evaluation_periods),
        "DatapointsToAlarm": int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
        "ComparisonOperator": alarm.comparison_operator,
        "Threshold": float(alarm.threshold),
        "TreatMissingData": alarm.treat_missing_data or "missing",
        "EvaluateLowSampleCountPercentile": alarm.evaluate_low_sample_count_percentile or "",
    }
    if alarm.metric_data_queries:
        return {**common, "Metrics": [_query(query) for query in alarm.metric_data_queries]}
    statistic = (
        {"StatisticType": "ExtendedStatistic", "ExtendedStatistic": alarm.extended_statistic}
        if alarm.extended_statistic
        else {"StatisticType": "Statistic", "Statistic": str(alarm.statistic).upper()}
    )
    return {
        "MetricName": alarm.metric_name,
        "Namespace": alarm.namespace,
        **statistic,
        "Unit": alarm.unit,
        "Dimensions": [{"value": one.value, "name": one.name} for one in alarm.dimensions],
        **common,
    }


def _query(query: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"Id": query.id}
    if query.expression:
        found |= {"Expression": query.expression, "Label": query.label}
    else:
        of = query.metric_stat.metric
        found["MetricStat"] = {
            "Metric": {
                "Dimensions": [{"value": one.value, "name": one.name} for one in of.dimensions],
                "MetricName": of.metric_name,
                "Namespace": of.namespace,
            },
            "Period": int(query.metric_stat.period),
            "Stat": query.metric_stat.stat,
        }
    return {**found, "ReturnData": _returns(query)}


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}+0000"
