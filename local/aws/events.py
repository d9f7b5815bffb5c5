"""EventBridge: Lambda, Step Functions and SNS as targets, schedules that run, and delivery outside the sender's thread.

moto 5.2.5 raises NotImplementedError for these targets and ignores the state of a rule. A rule that has only a schedule
matches every event there.
"""

from __future__ import annotations

import copy
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from moto.awslambda.models import lambda_backends
from moto.events import models
from moto.utilities.arns import parse_arn

from local.aws import asynchronous
from local.aws.authorization import sessions
from local.aws.authorization.function_policies import may_invoke
from local.aws.authorization.policies import Call
from local.aws.schedules import next_time
from local.aws.validation import requests

log = logging.getLogger(__name__)

_OWN_TARGETS = ("lambda", "states", "sns")


def install() -> None:
    """Patch moto's EventBridge and start the thread of schedules."""
    original = models.Rule.send_to_targets

    def send_to_targets(self: models.Rule, original_event: Any, transform_input: bool = True) -> None:
        if self.state != "ENABLED" or not self.event_pattern.get_pattern():
            return
        if not self.event_pattern.matches_event(original_event):
            return
        for target in self.targets:
            if parse_arn(target["Arn"]).service in _OWN_TARGETS:
                asynchronous.submit(deliver, self.arn, target, _with_iso_time(original_event))
        others = copy.copy(self)
        others.targets = [t for t in self.targets if parse_arn(t["Arn"]).service not in _OWN_TARGETS]
        if others.targets:
            original(others, _with_unix_time(original_event), transform_input)

    models.Rule.send_to_targets = send_to_targets
    threading.Thread(target=_tick, daemon=True, name="schedules").start()


def deliver(rule_arn: str, target: dict[str, Any], event: dict[str, Any]) -> None:
    """Deliver an event to a Lambda function, a state machine or a topic.

    A function needs a resource policy that lets the rule invoke it, and a state machine needs a role in the target.
    """
    arn = parse_arn(target["Arn"])
    payload = target_input(target, event)
    if arn.service == "lambda":
        function = lambda_backends[arn.account][arn.region].get_function(target["Arn"])
        if not may_invoke(function, "events.amazonaws.com", rule_arn):
            log.error("%s may not invoke %s: add_permission() is missing", rule_arn, target["Arn"])
            return
        asynchronous.invoke_lambda(target["Arn"], payload)
    elif arn.service == "states":
        session = sessions.assume(target["RoleArn"], "events.amazonaws.com", "EventBridge")
        session.require(Call("states:StartExecution", target["Arn"]))
        from moto.stepfunctions.parser.models import stepfunctions_parser_backends

        name, execution_input = execution_name(target, event), json.dumps(payload)
        requests.check(
            "stepfunctions",
            "StartExecution",
            {"stateMachineArn": target["Arn"], "name": name, "input": execution_input},
        )
        stepfunctions_parser_backends[arn.account][arn.region].start_execution(
            target["Arn"], name, execution_input
        )
    else:
        from moto.sns.models import sns_backends

        sns_backends[arn.account][arn.region].publish(
            payload if isinstance(payload, str) else json.dumps(payload), arn=target["Arn"]
        )


def execution_name(target: dict[str, Any], event: dict[str, Any]) -> str:
    """Return the name that EventBridge gives to an execution: the event's id and a UUID of the target, 73 characters.

    One event has one name per target, so that a second delivery does not start a second execution.
    """
    return f"{event['id']}_{uuid.uuid5(uuid.NAMESPACE_URL, target['Arn'] + target['Id'])}"


def target_input(target: dict[str, Any], event: dict[str, Any]) -> Any:
    """Return the input of the target: the event, a constant, a part of the event, or a transformed text."""
    if "Input" in target:
        return json.loads(target["Input"])
    if "InputPath" in target:
        part: Any = event
        for name in target["InputPath"].removeprefix("$").strip(".").split("."):
            part = part[name] if name else part
        return part
    if "InputTransformer" in target:
        transformer = target["InputTransformer"]
        return models.EventTemplateParser.parse(
            input_template=transformer["InputTemplate"],
            input_paths_map=transformer.get("InputPathsMap", {}),
            # moto 5.2.5 requires an ingestion time, which events of S3 lack.
            event={"ingestion-time": event["time"], **event},
        )
    return event


def _tick() -> None:
    due: dict[str, tuple[str, datetime]] = {}
    while True:
        now = datetime.now(UTC)
        for rule in _scheduled_rules():
            expression, time_due = due.get(rule.arn, ("", now))
            try:
                if expression != rule.scheduled_expression:  # a new or changed schedule
                    due[rule.arn] = (rule.scheduled_expression, next_time(rule.scheduled_expression, now))
                elif time_due <= now:
                    due[rule.arn] = (expression, next_time(expression, now))
                    _fire(rule, now)
            except ValueError as error:
                due[rule.arn] = (rule.scheduled_expression, datetime.max.replace(tzinfo=UTC))
                log.error("rule %s never runs, because its schedule is invalid: %s", rule.name, error)
        time.sleep(1)


def _scheduled_rules() -> Iterator[models.Rule]:
    for account in list(models.events_backends.values()):
        for backend in list(account.values()):
            for bus in list(backend.event_buses.values()):
                for rule in list(bus.rules.values()):
                    if rule.scheduled_expression and rule.state == "ENABLED":
                        yield rule


def _fire(rule: models.Rule, now: datetime) -> None:
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": rule.account_id,
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": rule.region_name,
        "resources": [rule.arn],
        "detail": {},
    }
    for target in rule.targets:
        asynchronous.submit(deliver, rule.arn, target, event)


def _with_iso_time(event: dict[str, Any]) -> dict[str, Any]:
    time_ = event.get("time")
    if isinstance(time_, int | float):
        time_ = datetime.fromtimestamp(time_, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**event, "time": time_}


def _with_unix_time(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event with its time as a number, which moto's own targets expect."""
    time_ = event.get("time")
    if isinstance(time_, str) and "T" in time_:
        time_ = datetime.fromisoformat(time_).timestamp()
    return {**event, "time": time_}
