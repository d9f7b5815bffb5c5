"""A subscriber for the time of a drill: a queue on the stage's topic, which gets what every other subscriber gets."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from deploy.drill.place import Place, drill_id

POLL_S = 2


class Delivered(NamedTuple):
    """A message of CloudWatch as a subscriber gets it."""

    subject: str
    message: dict[str, Any]


class Subscriber:
    """The queue of a drill."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        """Receive from this queue."""
        self._sqs, self._url = sqs, queue_url

    def wait(self, alarm_name: str, state: str, timeout_s: float) -> Delivered | None:
        """Return the message of an alarm's change to a state, or None if it did not arrive in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self._sqs.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=POLL_S
            )
            for one in found.get("Messages", []):
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=one["ReceiptHandle"])
                delivered = _read(one["Body"])
                message = delivered.message
                if (message.get("AlarmName"), message.get("NewStateValue")) == (alarm_name, state):
                    return delivered
            if time.monotonic() > deadline:
                return None


@contextmanager
def subscriber(place: Place) -> Iterator[Subscriber]:
    """Subscribe a queue to the stage's topic; delete both at the end."""
    sqs, sns = place.client("sqs"), place.client("sns")
    name, topic = (
        f"{place.stage.prefix}-{drill_id()}",
        place.arn("sns", f"{place.stage.prefix}-notifications"),
    )
    queue_arn = place.arn("sqs", name)
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    attributes = {
        "Policy": json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
        "MessageRetentionPeriod": "3600",
    }
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    try:
        subscribed = sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=queue_arn, ReturnSubscriptionArn=True
        )["SubscriptionArn"]
        try:
            yield Subscriber(sqs, url)
        finally:
            sns.unsubscribe(SubscriptionArn=subscribed)
    finally:
        sqs.delete_queue(QueueUrl=url)


def _read(body: str) -> Delivered:
    envelope = json.loads(body)
    try:
        message = json.loads(envelope["Message"])
    except ValueError:  # the pipeline's own notifications are text
        message = {}
    return Delivered(str(envelope.get("Subject", "")), message)
