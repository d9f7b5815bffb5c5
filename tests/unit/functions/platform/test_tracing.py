"""Traces of AWS calls: subsegments in a Lambda, silence elsewhere."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from functions.platform.clients import client, time_boxed_client
from functions.platform.time_box import Deadline, call_until
from functions.platform.tracing import trace_aws_calls

TRACE_ID = "1-5e272390-8c398be037738dc042009320"


class FakeDaemon:
    """Keeps the segments that the recorder sends to X-Ray's daemon."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send_entity(self, entity: Any) -> None:
        self.sent.append(json.loads(entity.serialize()))


@pytest.fixture(autouse=True)
def fresh_clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_XRAY_CONTEXT_MISSING", raising=False)
    for cached in (client, time_boxed_client, trace_aws_calls):
        cached.cache_clear()
    yield
    for cached in (client, time_boxed_client):
        cached.cache_clear()


def list_buckets(s3: Any) -> None:
    with Stubber(s3) as stubbed:
        stubbed.add_response("list_buckets", {"Buckets": []})
        assert s3.list_buckets()["Buckets"] == []


@pytest.mark.parametrize("made", [lambda: client("s3"), lambda: time_boxed_client("s3", 100)])
def test_outside_a_lambda_a_call_works_and_logs_nothing(
    made: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from aws_xray_sdk.core import xray_recorder
    from aws_xray_sdk.core.context import Context

    monkeypatch.setattr(xray_recorder, "_context", Context())
    with caplog.at_level(logging.WARNING):
        list_buckets(made())
    assert [record.getMessage() for record in caplog.records if record.name.startswith("aws_xray")] == []
    assert xray_recorder.context.context_missing == "IGNORE_ERROR"


@pytest.mark.parametrize("in_a_thread", [False, True])
def test_in_a_lambda_a_call_is_a_subsegment_of_its_trace(
    monkeypatch: pytest.MonkeyPatch, in_a_thread: bool
) -> None:
    from aws_xray_sdk.core import xray_recorder
    from aws_xray_sdk.core.lambda_launcher import LambdaContext

    daemon = FakeDaemon()
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root={TRACE_ID};Parent=53995c3f42cd8ad8;Sampled=1")
    monkeypatch.setattr(xray_recorder, "_context", LambdaContext())
    monkeypatch.setattr(xray_recorder, "_emitter", daemon)
    monkeypatch.setattr(xray_recorder.streaming, "_threshold", 0)
    s3 = client("s3")
    if in_a_thread:
        call_until(Deadline.after(20), lambda: list_buckets(s3))
    else:
        list_buckets(s3)
    [sent] = daemon.sent
    assert (sent["name"], sent["namespace"]) == ("s3", "aws")
    assert sent["aws"]["operation"] == "ListBuckets"
    assert (sent["trace_id"], sent["parent_id"]) == (TRACE_ID, "53995c3f42cd8ad8")
