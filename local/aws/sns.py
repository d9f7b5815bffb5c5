"""SNS: it delivers messages and appends each to logs/notifications.jsonl, because nobody receives e-mail on localhost.

moto 5.2.5 keeps messages in memory only, and it invokes subscribed Lambda functions in the thread of the publisher.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import Any

from moto.awslambda.models import LambdaBackend
from moto.sns import models

from local.aws import asynchronous
from local.aws.settings import Settings

_lock = threading.Lock()


def install(settings: Settings) -> None:
    """Patch moto's SNS."""
    file = settings.logs / "notifications.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    publish = models.Topic.publish

    def publish_and_log(self: models.Topic, message: str, subject: str | None = None, **kwargs: Any) -> str:
        message_id: str = publish(self, message, subject=subject, **kwargs)
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "topic": self.arn,
            "message_id": message_id,
            "subject": subject,
            "message": message,
        }
        with _lock, file.open("a") as out:
            out.write(json.dumps(line) + "\n")
        return message_id

    models.Topic.publish = publish_and_log

    deliver = LambdaBackend.send_sns_message

    def deliver_later(self: LambdaBackend, *arguments: Any, **named: Any) -> None:
        asynchronous.submit(lambda: deliver(self, *arguments, **named))

    LambdaBackend.send_sns_message = deliver_later
