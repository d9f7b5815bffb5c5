"""One drill per alarm: the cause that makes its condition true, or the values of a metric, or only a set state.

A cause is a context manager: it yields a sentence about what it did, and cleans up once the message has arrived.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from deploy.drill.place import NotPossible, Place, drill_id
from deploy.lambdas import named

Cause = Callable[[Place], AbstractContextManager[str]]

SHARE_PERIOD_S = 900
# The alarms of shares ring from 20 events or carousels on.
FEWEST = 25
BATCH = 500
MOST_EVENTS = 10_000
MOST_CAROUSELS = 400
# A value that no stage has by itself, so that a reader of the dashboard recognizes the drill.
MARKED = 9_999.0
# Enough for a share, and few beside the shoppers' own.
FEW = 100.0
ERRORS = 8
# A change of a role's policy takes seconds on AWS.
POLICY_S = 30


@dataclass(frozen=True)
class Drill:
    """The ways to ring one alarm, best first. `bad` are values that ring, `good` those that end the ringing."""

    alarm: str
    by_cause: str = ""
    cause: Cause | None = None
    bad: Mapping[str, float] = field(default_factory=dict)
    good: Mapping[str, float] = field(default_factory=dict)

    @property
    def described(self) -> str:
        """The best way, in a sentence."""
        if self.cause:
            return self.by_cause
        if self.bad:
            values = ", ".join(f"{name} = {value:g}" for name, value in self.bad.items())
            return f"puts marked data points: {values}"
        return "sets the alarm's state, because the condition takes long or would harm the stage"


@contextmanager
def aborted_run(place: Place) -> Iterator[str]:
    """Start a run of the pipeline and stop it at once."""
    states, name = place.client("stepfunctions"), drill_id()
    machine = place.arn("states", f"stateMachine:{place.stage.prefix}-pipeline")
    shop = next(iter(place.stage.shops))
    started = states.start_execution(
        stateMachineArn=machine, name=name, input=json.dumps({"shop_id": shop, "skip_training": True})
    )
    states.stop_execution(
        executionArn=started["executionArn"], error="Drill", cause="make drill aborted this run"
    )
    yield f"started the run {name} and stopped it"


@contextmanager
def refused_concurrency(place: Place) -> Iterator[str]:
    """Reserve no concurrency for the API's Lambda, so that API Gateway answers 500; then restore it."""
    lambda_, name = place.client("lambda"), named("api_handler").deployed_name(place.stage)
    before = lambda_.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
    lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        statuses = [place.ask("/recommend?items=drill")[0] for _ in range(ERRORS)]
    finally:
        if before is None:
            lambda_.delete_function_concurrency(FunctionName=name)
        else:
            lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=before)
    if min(statuses) < 500:
        raise NotPossible(f"the API answered {statuses} without concurrency for its Lambda")
    yield f"the API's Lambda had no concurrency for {ERRORS} requests, which got {statuses[0]}; it is restored"


def _failing(name: str, event: Any) -> Cause:
    """Return a cause that invokes a Lambda with an event that it refuses before it changes anything."""

    @contextmanager
    def invoked(place: Place) -> Iterator[str]:
        response = place.client("lambda").invoke(
            FunctionName=named(name).deployed_name(place.stage), Payload=json.dumps(event).encode()
        )
        answer = json.loads(response["Payload"].read())
        if not response.get("FunctionError"):
            raise NotPossible(f"the Lambda {name} accepted {json.dumps(event)}")
        yield f"invoked {name} with {json.dumps(event)}, which failed with {answer.get('errorType')}"

    return invoked


@contextmanager
def dead_letter(place: Place) -> Iterator[str]:
    """Send a message to the queue of undelivered messages, and delete it afterwards."""
    sqs, mark = place.client("sqs"), drill_id()
    queue = sqs.get_queue_url(QueueName=f"{place.stage.prefix}-dead-letters")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"drill": mark}))
    try:
        yield f"sent the message {mark} to {place.stage.prefix}-dead-letters; it is deleted at the end"
    finally:
        found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=5)
        for message in found.get("Messages", []):
            if mark in message["Body"]:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


@contextmanager
def refused_events(place: Place) -> Iterator[str]:
    """Send enough events that break the contract."""
    shop, key = next(iter(place.stage.sending_keys.items()))
    accepted = place.sum_of("EventsAccepted", SHARE_PERIOD_S)
    count = FEWEST + _beyond(accepted, place.stage.refused_max_percent)
    if count > MOST_EVENTS:
        raise NotPossible(
            f"{accepted:,.0f} events were accepted lately, so {count:,} refused ones would be needed"
        )
    mark = drill_id()
    events = [
        {"event_id": f"{mark}-{number}", "event_name": "drill", "shop_id": shop} for number in range(count)
    ]
    refused = 0
    for start in range(0, count, BATCH):
        status, answer = place.ask(f"/events?key={key}", {"events": events[start : start + BATCH]})
        if status != 200:
            raise NotPossible(f"/events answered {status}: {answer}")
        refused += len(answer.get("refused", []))
    yield f"sent {count} events of the unknown kind 'drill'; the collector refused {refused}"


@contextmanager
def denied_endpoint(place: Place) -> Iterator[str]:
    """Deny the API's role the endpoint, so that the fallback answers; then allow it again."""
    status, answer = place.ask("/recommend?items=drill")
    if status != 200:
        reason = answer.get("error", {}).get("reason", status)
        raise NotPossible(f"/recommend answers {reason}, and the fallback needs a published model")
    function = named("api_handler").deployed_name(place.stage)
    role_arn = place.client("lambda").get_function_configuration(FunctionName=function)["Role"]
    role, policy, iam = role_arn.rpartition("/")[2], "drill-denies-the-endpoint", place.client("iam")
    statement = {"Effect": "Deny", "Action": "sagemaker:InvokeEndpoint", "Resource": "*"}
    answers = place.sum_of("Recommendations", SHARE_PERIOD_S)
    count = FEWEST + _beyond(answers, place.stage.fallbacks_max_percent)
    if count > MOST_CAROUSELS:
        raise NotPossible(
            f"{answers:,.0f} carousels were answered lately, so {count:,} of the fallback are needed"
        )
    iam.put_role_policy(
        RoleName=role,
        PolicyName=policy,
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    try:
        _ask_until_fallback(place)
        variants = [place.ask("/recommend?items=drill")[1].get("variant") for _ in range(count)]
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName=policy)
    yield (
        f"denied {role} the endpoint for {count} carousels, of which the fallback answered {variants.count('fallback')}; "
        "it is allowed again"
    )


def _ask_until_fallback(place: Place) -> None:
    deadline = time.monotonic() + POLICY_S
    while place.ask("/recommend?items=drill")[1].get("variant") != "fallback":
        if time.monotonic() > deadline:
            raise NotPossible(f"the endpoint still answers {POLICY_S} s after its denial")
        time.sleep(0.5)


def _beyond(others: float, percent: int) -> int:
    """Return how many cases beside `others` are more than this percentage of all."""
    return math.ceil(others * percent / (100 - percent)) + 1


DRILLS = {
    drill.alarm: drill
    for drill in (
        Drill("pipeline-failed", "starts a run of the pipeline and stops it at once", aborted_run),
        Drill(
            "api-5xx",
            "takes the API's Lambda its concurrency for eight requests, then restores it",
            refused_concurrency,
        ),
        Drill("recommend-p99"),
        Drill(
            "compact",
            "invokes the Lambda compact with a day that is no date, which it refuses",
            _failing("compact", {"from_day": "drill", "to_day": "drill"}),
        ),
        Drill(
            "catalogue",
            "invokes the Lambda catalogue without a file, which it refuses",
            _failing("catalogue", {}),
        ),
        Drill(
            "rollback",
            "invokes the Lambda rollback without an order, which it refuses",
            _failing("rollback", {}),
        ),
        Drill("events-late"),
        Drill("no-events"),
        Drill(
            "dead-letters",
            "sends a message to the queue of undelivered messages, and deletes it afterwards",
            dead_letter,
        ),
        Drill(
            "events-refused",
            "sends events of an unknown kind to /events",
            refused_events,
            {"EventsAccepted": 0, "EventsRefused": MARKED},
            {"EventsAccepted": FEW, "EventsRefused": 0},
        ),
        Drill(
            "fallbacks",
            "denies the API's role the endpoint for some carousels, then allows it again",
            denied_endpoint,
            {"Recommendations": MARKED, "Fallbacks": MARKED},
            {"Recommendations": FEW, "Fallbacks": 0},
        ),
        Drill(
            "empty-answers",
            bad={"Recommendations": MARKED, "EmptyAnswers": MARKED},
            good={"Recommendations": FEW, "EmptyAnswers": 0},
        ),
        Drill("model-old", bad={"ModelAgeHours": MARKED}, good={"ModelAgeHours": 0}),
        Drill("data-old", bad={"DataAgeMinutes": MARKED}, good={"DataAgeMinutes": 0}),
        Drill("volume", bad={"VolumeRatio": 0}, good={"VolumeRatio": 1}),
        Drill("checks-failed", bad={"ChecksFailed": MARKED}, good={"ChecksFailed": 0}),
        Drill("endpoint-5xx"),
        Drill("endpoint-slow"),
    )
}
