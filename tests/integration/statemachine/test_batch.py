"""The state machine of a batch on the local AWS: its lock, its job, its loop, its output, and the message of a failure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.batch.__main__ import BatchFailed, follow
from deploy.stages import read_stage
from deploy.template import BATCH_FILE
from functions.platform.contract import LOCK_KEY
from local.testing import wait_for
from local.tests.integration.aws.clients import Aws
from tests.integration.statemachine.pipeline import Pipeline, _create, _zip

pytestmark = [pytest.mark.local_stack, pytest.mark.timeout(300)]

REPLACED = """
def histories(event, context):
    clients = {"empty": 0, "new": 0}.get(event["shop_id"], 3)
    base = "s3://BUCKET/batch/x"
    return {"run_id": event["run_id"], "shop_id": event["shop_id"] or "demo", "clients": clients, "made_at_ms": 5,
            "has_model": event["shop_id"] != "new", "model_data_uri": "s3://BUCKET/model.tar.gz",
            "histories_uri": base + "/histories/",
            "candidates_uri": base + "/candidates/"}
def answers(event, context):
    first = event["after"] == ""
    return {"after": "a" if first else "b", "clients": event["clients"] + (1 if first else 2), "rows": event["rows"] + 10,
            "affinities": event["affinities"] + 100, "finished": not first, "model_version": "m1"}
def batch(event, context):
    if event["shop_id"] == "bad":
        raise ValueError("the lists of bad cannot be loaded")
    return {name: event[name] for name in ("run_id", "shop_id", "clients", "rows", "affinities", "model_version")}
"""
LOCK = """
from boto3 import client
from functions.platform import settings
def lock(event, context):
    from functions.lock.lock import lock
    return lock(event, settings.lock_settings(), client("s3"), client("stepfunctions"))
"""
SCORE = "import pathlib, sys; (pathlib.Path(sys.argv[-1]) / 'part-0.parquet').write_text('scored')"


@pytest.fixture(scope="module")
def machine(aws: Aws) -> Pipeline:
    bucket, s3 = aws.make_bucket(), aws.client("s3")
    for key, body in (
        ("model.tar.gz", "m"),
        ("batch/x/histories/data_0.parquet", "h"),
        ("code/files/batch.py", SCORE),
    ):
        s3.put_object(Bucket=bucket, Key=key, Body=body.encode())
    made = Pipeline(aws, bucket)
    replaced = _zip({"app.py": REPLACED.replace("BUCKET", bucket)})
    for handler in ("histories", "answers", "batch"):
        made.functions[handler.title()] = _create(made, handler, replaced, {})
    made.functions["Lock"] = _create(
        made, "lock", _zip({"app.py": LOCK}, real=True), {"TUGBOAT_MODELS_BUCKET": bucket}
    )
    definition = json.loads(BATCH_FILE.read_text())
    definition["States"]["WaitForTurn"]["Seconds"] = 1
    made.deploy(definition)
    return made


def start(machine: Pipeline, **given: Any) -> str:
    client = machine.aws.client("stepfunctions")
    return str(client.start_execution(stateMachineArn=machine.arn, input=json.dumps(given))["executionArn"])


def test_a_batch_goes_through_all_steps_and_returns_their_counts(machine: Pipeline) -> None:
    said: list[str] = []
    states = machine.aws.client("stepfunctions")
    output = follow(start(machine, shop_id="demo"), read_stage("local"), states, said.append, poll_s=0.2)
    assert output | {"run_id": ""} == {
        **{"run_id": "", "shop_id": "demo", "clients": 3, "rows": 20, "affinities": 200},
        "model_version": "m1",
    }
    # The first call of Answers had too little time.
    assert said == ["Lock", "Histories", "Score", "Answers", "Answers", "Batch", "Unlock"]
    assert machine.lock_holder() is None
    scored = machine.aws.client("s3").get_object(
        Bucket=machine.bucket, Key="batch/x/candidates/part-0.parquet"
    )
    assert scored["Body"].read() == b"scored"


@pytest.mark.parametrize(
    ("shop", "error", "next_step"),
    [("bad", "ValueError", "fix the cause"), ("empty", "NoClients", "send events")],
)
def test_a_batch_that_fails_releases_the_lock_and_mails_why(
    machine: Pipeline, shop: str, error: str, next_step: str
) -> None:
    states, execution = machine.aws.client("stepfunctions"), start(machine, shop_id=shop)
    with pytest.raises(BatchFailed, match=error):
        follow(execution, read_stage("local"), states, lambda _: None, poll_s=0.2)
    assert machine.lock_holder() is None
    (message,) = [one for one in machine.messages() if execution in one["message"]]
    assert error in message["subject"]
    assert next_step in message["message"]
    assert "MARTS.RECOMMENDATIONS_BATCH" in message["message"]


def test_a_shop_without_a_model_yet_ends_without_lists_and_without_a_mail(machine: Pipeline) -> None:
    states, execution = machine.aws.client("stepfunctions"), start(machine, shop_id="new", wait=True)
    said: list[str] = []
    output = follow(execution, read_stage("local"), states, said.append, poll_s=0.2)
    assert (output["clients"], output["skipped"].partition(":")[0]) == (0, "Shop new has no model yet")
    assert said == ["Lock", "Histories", "Unlock"]
    assert machine.lock_holder() is None
    assert [one for one in machine.messages() if execution in one["message"]] == []


def test_a_batch_waits_for_nobody_while_a_run_holds_the_lock(machine: Pipeline) -> None:
    s3 = machine.aws.client("s3")
    until = "2100-01-01T00:00:00+00:00"
    held = {"execution_arn": "erasure-1", "until": until}
    s3.put_object(Bucket=machine.bucket, Key=LOCK_KEY, Body=json.dumps(held).encode())
    with pytest.raises(BatchFailed, match="erasure-1 is running: wait for it, then make batch again"):
        follow(
            start(machine),
            read_stage("local"),
            machine.aws.client("stepfunctions"),
            lambda _: None,
            poll_s=0.2,
        )
    wait_for(lambda: machine.lock_holder() == "erasure-1", 5)
    s3.delete_object(Bucket=machine.bucket, Key=LOCK_KEY)


def test_a_batch_of_a_night_waits_until_the_lock_is_free(machine: Pipeline) -> None:
    s3, states = machine.aws.client("s3"), machine.aws.client("stepfunctions")
    held = {"execution_arn": "erasure-2", "until": "2100-01-01T00:00:00+00:00"}
    s3.put_object(Bucket=machine.bucket, Key=LOCK_KEY, Body=json.dumps(held).encode())
    execution = start(machine, shop_id="second", wait=True)

    def entered() -> list[str]:
        events = states.get_execution_history(executionArn=execution)["events"]
        return [
            one["stateEnteredEventDetails"]["name"] for one in events if "stateEnteredEventDetails" in one
        ]

    wait_for(lambda: "WaitForTurn" in entered(), 30)
    s3.delete_object(Bucket=machine.bucket, Key=LOCK_KEY)
    output = follow(execution, read_stage("local"), states, lambda _: None, poll_s=0.2)
    assert output["shop_id"] == "second"
    assert machine.lock_holder() is None
