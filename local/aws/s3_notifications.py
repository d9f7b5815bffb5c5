"""Notifications of S3: delivery outside the request's thread, AWS's retries, and AWS's format for EventBridge."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime
from typing import Any

from moto.s3 import notifications
from moto.s3.responses import S3Response

from local.aws import asynchronous

log = logging.getLogger(__name__)


def install() -> None:
    """Patch moto's notifications."""
    _accept_capitalized_filters()
    _deliver_in_background()
    notifications._invoke_awslambda = _invoke_lambda
    notifications._send_event_bridge_message = _send_to_event_bridge


def _accept_capitalized_filters() -> None:
    # moto 5.2.5 accepts only the filter rules "prefix" and "suffix"; botocore and CloudFormation may send "Prefix".
    original = S3Response._notification_config_from_body

    def parsed(self: S3Response) -> Any:
        body = self.body
        text = body.decode() if isinstance(body, bytes) else body
        for name in ("Prefix", "Suffix"):
            text = text.replace(f"<Name>{name}</Name>", f"<Name>{name.lower()}</Name>")
        self.body = text.encode() if isinstance(body, bytes) else text
        return original(self)

    S3Response._notification_config_from_body = parsed


def _deliver_in_background() -> None:
    # moto 5.2.5 delivers inside PutObject: a slow function would block the writer, and its errors would be lost.
    original = notifications.send_event

    def send_event(account_id: str, event_name: Any, bucket: Any, key: Any) -> None:
        if bucket.notification_configuration is not None and key is not None:
            asynchronous.submit(original, account_id, event_name, bucket, key)

    notifications.send_event = send_event


def _invoke_lambda(account_id: str, event_body: Any, fn_arn: str, region_name: str) -> None:
    asynchronous.invoke_lambda(fn_arn, event_body)


def _send_to_event_bridge(account_id: str, bucket: Any, event_name: str, key: Any) -> None:
    # moto 5.2.5 omits the id, sends the time as a number and suppresses every error, for example a missing target.
    from moto.events.models import events_backends

    removed = "ObjectRemoved" in event_name
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": notifications._detail_type(event_name),
        "source": "aws.s3",
        "account": account_id,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": bucket.region_name,
        "resources": [bucket.arn],
        "detail": {
            "version": "0",
            "bucket": {"name": bucket.name},
            "object": {
                "key": key.name,
                **({} if removed else {"size": key.size, "etag": key.etag.strip('"')}),
                "sequencer": f"{int(key.last_modified.timestamp() * 1e6):016X}",
            },
            "request-id": uuid.uuid4().hex[:16].upper(),
            "requester": account_id,
            "source-ip-address": "127.0.0.1",
            "reason": "DeleteObject" if removed else _reason(event_name),
        },
    }
    for bus in events_backends[account_id][bucket.region_name].event_buses.values():
        for rule in list(bus.rules.values()):
            rule.send_to_targets(event, transform_input=True)


def _reason(event_name: str) -> str:
    return {"Copy": "CopyObject", "CompleteMultipartUpload": "CompleteMultipartUpload"}.get(
        event_name.rpartition(":")[2], "PutObject"
    )
