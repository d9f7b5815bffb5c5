"""Runs of the state machine on the local AWS: its names, its lock, its retries, its notifications and its rollback."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy import template
from functions.operations.gather import Clients, gather
from functions.operations.operations import build
from functions.platform.contract import LOCK_KEY
from functions.platform.metrics import ComparedRelease
from functions.platform.s3_keys import current_key
from functions.platform.settings import OperationsSettings, ShopIds
from functions.recommend.canary import Candidate, asked_release
from functions.recommend.request import Session
from local.testing import interrupt_training, wait_for
from local.tests.integration.aws.clients import ROLE, Aws
from tests.integration.statemachine.pipeline import DEFINITION, Pipeline, deployed
from tests.unit.statemachine.test_expressions import EVENT_BRIDGE_NAME

pytestmark = [pytest.mark.local_stack, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def scheduled(aws: Aws) -> Pipeline:
    """A state machine that a rule starts at the next minute, as the nightly rule does."""
    pipeline = deployed(aws)
    due = datetime.now(UTC) + timedelta(seconds=61)
    events = aws.client("events")
    rule = f"{pipeline.name}-nightly"
    cron = f"cron({due.minute} {due.hour} * * ? *)"
    events.put_rule(Name=rule, ScheduleExpression=cron, State="ENABLED")
    (written,) = template.load_resources()["Resources"]["NightlyRule"]["Properties"]["Targets"]
    target = {"Id": "pipeline", "Arn": pipeline.arn, "RoleArn": ROLE, "Input": written["Input"]}
    events.put_targets(Rule=rule, Targets=[target])
    return pipeline


@pytest.fixture(scope="module")
def pipeline(aws: Aws, scheduled: Pipeline) -> Pipeline:
    """One state machine for the tests that leave no run and no lock behind."""
    return deployed(aws)


@pytest.fixture
def slow_load(pipeline: Pipeline) -> Iterator[Pipeline]:
    """The state machine with a Load that takes seconds."""
    fast = pipeline.functions["Load"]
    pipeline.functions["Load"] = pipeline.functions["Slow"]
    pipeline.deploy()
    yield pipeline
    pipeline.functions["Load"] = fast
    pipeline.deploy()


def test_a_run_under_eventbridge_s_name_publishes_a_model(pipeline: Pipeline) -> None:
    run = pipeline.run(EVENT_BRIDGE_NAME)
    assert run.status == "SUCCEEDED"
    (job,) = pipeline.training_jobs()
    output = json.loads(run.described["output"])
    assert job == f"{pipeline.name}-{output['run_id']}-0-0"
    record = json.loads(
        pipeline.aws.client("s3").get_object(Bucket=pipeline.bucket, Key=current_key("demo"))["Body"].read()
    )
    assert record["release"]["model_version"] == job
    assert pipeline.lock_holder() is None
    (message,) = run.messages
    assert "succeeded" in message["subject"]


def test_the_operations_page_reads_the_run_and_links_it_to_its_release(pipeline: Pipeline) -> None:
    settings = OperationsSettings(
        stage="test",
        prefix=pipeline.name,
        events_bucket=pipeline.bucket,
        models_bucket=pipeline.bucket,
        endpoint_kind="serverless",
        trained_shops=ShopIds(("demo",)),
        state_machine_arn=pipeline.arn,
        batch_machine_arn=f"{pipeline.arn.removesuffix('pipeline')}batch",
        operations_minutes=5,
    )
    services = ("stepfunctions", "cloudwatch", "sagemaker", "events", "s3")
    clients = Clients(*(pipeline.aws.client(service) for service in services))
    # ListExecutions is eventually consistent.
    wait_for(lambda: gather(settings, clients, datetime.now(UTC)).runs.value.newest, 10)  # type: ignore[union-attr]
    body, _ = build(settings, clients, datetime.now(UTC))
    page = gather(settings, clients, datetime.now(UTC))
    assert page.runs.value is not None
    run = page.runs.value.newest[0]
    assert (run.status, run.started_by, run.note) == ("SUCCEEDED", "schedule", "")
    assert run.training is not None
    assert run.training.job == f"{pipeline.name}-{run.run_id}-0-0"
    assert run.training.code_uri.endswith("/code/source.tar.gz")
    assert run.training.billed_seconds > 0
    assert run.published is not None
    assert page.serving.value is not None
    (serving,) = page.serving.value
    assert serving.agrees
    assert serving.served_config == run.published.config
    assert f'id="release-{run.published.config}"' in body.decode()
    # The pipeline of this test has no nightly rule, and every other part can be read.
    parts = ("runs", "schedule", "serving", "metrics", "data", "alarms", "money")
    assert [name for name in parts if getattr(page, name).problem] == ["schedule"]


def test_an_unproved_model_reaches_no_shopper_and_the_failure_that_led_there_is_reported(
    pipeline: Pipeline,
) -> None:
    sagemaker = pipeline.aws.client("sagemaker")
    before = sagemaker.describe_endpoint(EndpointName=pipeline.endpoint)
    run = pipeline.run(do="lie", canary_seconds=5)
    assert run.status == "FAILED"
    assert run.described["error"] == "GoldenMismatch"
    assert [run.visits(state) for state in ("Prove", "Rollback", "NotifyFailure")] == [1, 1, 1]
    (message,) = run.messages
    assert message["subject"] == "Tugboat test: shop demo: GoldenMismatch in Prove"
    after = sagemaker.describe_endpoint(EndpointName=pipeline.endpoint)
    assert (after["EndpointStatus"], after["LastModifiedTime"]) == ("InService", before["LastModifiedTime"])
    wait_for(lambda: pipeline.endpoints() == {pipeline.endpoint: "InService"}, 10)
    assert pipeline.canary() is None
    assert pipeline.lock_holder() is None


def sessions_of(canary: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return sessions that ask the current release at each share, and sessions that ask the candidate at each share."""
    release = canary["release"]
    names = (release["endpoint"], release["endpoint_config"], release["model_version"])
    small, large = Candidate(*names, 5), Candidate(*names, 25)
    sessions = [Session("demo", f"s{number}") for number in range(1000)]
    old = [one.session_id for one in sessions if asked_release(large, one) is ComparedRelease.CURRENT]
    new = [one.session_id for one in sessions if asked_release(small, one) is ComparedRelease.CANDIDATE]
    return old[:30], new[:10]


def test_a_new_model_is_proved_then_compared_and_then_has_all_shoppers(pipeline: Pipeline) -> None:
    before = pipeline.released()["model_version"]
    started = pipeline.start(canary_seconds=4)
    canary = wait_for(pipeline.canary, 60)
    assert canary["share"] == 5
    version = canary["release"]["model_version"]
    assert pipeline.asked_of_candidate(version) == ["x"], "no shopper came before the golden session"
    old, new = sessions_of(canary)
    assert {(one["variant"], one["model_version"]) for one in pipeline.shop(old)} == {("current", before)}
    assert {(one["variant"], one["model_version"]) for one in pipeline.shop(new)} == {("candidate", version)}
    run = pipeline.finish(started)
    assert run.status == "SUCCEEDED"
    assert run.visits("Canary") == 3
    assert (pipeline.released()["model_version"], pipeline.canary()) == (version, None)
    assert {(one["variant"], one["model_version"]) for one in pipeline.shop([*old, *new])} == {
        ("all-traffic", version)
    }
    wait_for(lambda: pipeline.endpoints() == {pipeline.endpoint: "InService"}, 10)
    (message,) = run.messages
    assert (
        "Canary at 25%: no figure is worse (10 requests of the candidate, 30 of the current release)."
        in message["message"]
    )


@pytest.mark.parametrize(
    ("do", "figure"),
    [
        ("garbage", "errors or empty answers 100.0% instead of 0.0% of the requests"),
        ("slow", "timeouts 100.0% instead of 0.0% of the requests"),
    ],
)
def test_a_candidate_that_is_worse_for_shoppers_is_taken_back_without_a_person(
    pipeline: Pipeline, do: str, figure: str
) -> None:
    before, served = pipeline.released(), pipeline.serving()
    pipeline.count_anew()
    started = pipeline.start(do=do, canary_seconds=12 if do == "slow" else 4)
    canary = wait_for(pipeline.canary, 60)
    old, new = sessions_of(canary)
    pipeline.shop(old)
    answers = pipeline.shop(new)
    # The current release answers for a candidate that fails, and the fallback for one that is slow.
    assert {one["source"] for one in answers} == {"model" if do == "garbage" else "popular"}
    assert all(one["items"] for one in answers)
    run = pipeline.finish(started)
    assert (run.status, run.described["error"]) == ("FAILED", "CanaryWorse")
    (message,) = run.messages
    assert message["subject"] == "Tugboat test: shop demo: CanaryWorse in Canary"
    # On a busy machine the shoppers come at the second share.
    assert re.search(rf"at (5|25)% of the sessions: {re.escape(figure)} \(10 requests", message["message"])
    assert "It is taken back" in message["message"]
    assert (pipeline.released(), pipeline.canary(), pipeline.serving()) == (before, None, served)
    assert {one["model_version"] for one in pipeline.shop(new)} == {before["model_version"]}
    wait_for(lambda: pipeline.endpoints() == {pipeline.endpoint: "InService"}, 10)


def test_the_kind_of_endpoint_changes_both_ways_and_a_bad_model_on_a_new_kind_is_never_asked(
    aws: Aws,
) -> None:
    pipeline = deployed(aws)
    sagemaker = aws.client("sagemaker")
    realtime = f"{pipeline.endpoint}-realtime"
    assert pipeline.run().status == "SUCCEEDED"
    first = pipeline.released()
    assert first["endpoint"] == pipeline.endpoint

    pipeline.use_endpoint_kind("realtime")
    refused = pipeline.run(do="lie")
    assert (refused.status, refused.described["error"]) == ("FAILED", "GoldenMismatch")
    assert pipeline.released() == first
    wait_for(lambda: pipeline.endpoints() == {pipeline.endpoint: "InService"}, 10)
    assert sagemaker.describe_endpoint(EndpointName=pipeline.endpoint)["EndpointStatus"] == "InService"

    assert pipeline.run().status == "SUCCEEDED"
    assert pipeline.released()["endpoint"] == realtime
    targets = aws.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    assert [one["ResourceId"] for one in targets["ScalableTargets"]] == [
        f"endpoint/{realtime}/variant/all-traffic"
    ]
    assert pipeline.run().status == "SUCCEEDED"
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=pipeline.endpoint, WaiterConfig={"Delay": 1})

    pipeline.use_endpoint_kind("serverless")
    assert pipeline.run().status == "SUCCEEDED"
    assert pipeline.released()["endpoint"] == pipeline.endpoint
    assert sagemaker.describe_endpoint(EndpointName=realtime)["EndpointStatus"] == "InService"


def test_a_run_that_is_aborted_before_its_release_is_on_record_is_undone(aws: Aws) -> None:
    pipeline = deployed(aws)
    pipeline.undo_ended_runs(step_timeout_s=2)
    assert pipeline.run().status == "SUCCEEDED"
    proved = pipeline.released()
    stalled = copy.deepcopy(DEFINITION)
    stalled["States"]["Promote"]["Next"] = "Stall"
    stalled["States"]["Stall"] = {"Type": "Wait", "Seconds": 60, "Next": "WaitForEndpoint"}
    pipeline.deploy(stalled)
    started = pipeline.start(canary_seconds=1)
    wait_for(lambda: pipeline.serving()[1] != proved["endpoint_config"], 60)
    assert pipeline.canary() is not None
    assert len(pipeline.endpoints()) == 2
    pipeline.aws.client("stepfunctions").stop_execution(executionArn=started)
    assert pipeline.finish(started).status == "ABORTED"
    wait_for(lambda: pipeline.serving() == ("InService", proved["endpoint_config"]), 60)
    wait_for(lambda: pipeline.endpoints() == {pipeline.endpoint: "InService"}, 30)
    assert (pipeline.released(), pipeline.canary()) == (proved, None)


def test_a_job_that_fails_for_its_data_runs_once(pipeline: Pipeline) -> None:
    jobs = pipeline.training_jobs()
    run = pipeline.run(do="fail")
    assert run.status == "FAILED"
    assert run.visits("Train") == 1
    assert len(run.last("Train").failures) == 1
    (job,) = set(pipeline.training_jobs()) - set(jobs)
    assert job.endswith("-0-0")
    (message,) = run.messages
    assert "no sessions to train on" in message["message"]


def test_a_job_that_somebody_stops_is_notified_and_not_evaluated(pipeline: Pipeline) -> None:
    before = set(pipeline.training_jobs())
    started = pipeline.start(do="slowly")
    (job,) = wait_for(lambda: set(pipeline.training_jobs()) - before, 30)
    sagemaker = pipeline.aws.client("sagemaker")
    wait_for(
        lambda: sagemaker.describe_training_job(TrainingJobName=job)["SecondaryStatus"] == "Training", 30
    )
    sagemaker.stop_training_job(TrainingJobName=job)
    run = pipeline.finish(started)
    assert (run.status, run.described["error"]) == ("FAILED", "TrainingStopped")
    assert not run.visits("Evaluate")
    (message,) = run.messages
    assert "ended as Stopped" in message["message"]


def test_a_state_that_times_out_without_a_cause_is_notified(slow_load: Pipeline) -> None:
    impatient = copy.deepcopy(DEFINITION)
    impatient["States"]["Load"]["TimeoutSeconds"] = 1
    slow_load.deploy(impatient)
    run = slow_load.run()
    assert (run.status, run.described["error"]) == ("FAILED", "Timeout")
    (message,) = run.messages
    assert message["subject"] == "Tugboat test: shop demo: States.Timeout in Load"


def test_of_several_executions_that_start_at_once_one_runs(slow_load: Pipeline) -> None:
    with ThreadPoolExecutor() as pool:
        started = list(pool.map(lambda _: slow_load.start(skip_training=True), range(3)))
    runs = [slow_load.finish(arn) for arn in started]
    assert sorted(run.status for run in runs) == ["FAILED", "FAILED", "SUCCEEDED"]
    (ran,) = (run for run in runs if run.status == "SUCCEEDED")
    for refused in (run for run in runs if run.status == "FAILED"):
        assert refused.described["error"] == "AlreadyRunning"
        assert not refused.visits("Load")
        assert ran.arn in refused.described["cause"]


def test_the_nightly_run_waits_for_an_erasure_and_any_other_run_does_not(pipeline: Pipeline) -> None:
    s3, states = pipeline.aws.client("s3"), pipeline.aws.client("stepfunctions")
    held = {"execution_arn": "erasure-1", "until": "2100-01-01T00:00:00+00:00"}
    s3.put_object(Bucket=pipeline.bucket, Key=LOCK_KEY, Body=json.dumps(held).encode())
    assert pipeline.run(skip_training=True).described["error"] == "AlreadyRunning"
    nightly = pipeline.start(skip_training=True, wait=True)
    wait_for(
        lambda: any(
            one.get("stateEnteredEventDetails", {}).get("name") == "WaitForTurn"
            for one in states.get_execution_history(executionArn=nightly)["events"]
        ),
        30,
    )
    s3.delete_object(Bucket=pipeline.bucket, Key=LOCK_KEY)
    assert pipeline.finish(nightly).status == "SUCCEEDED"
    assert pipeline.lock_holder() is None


def test_an_execution_that_is_killed_does_not_block_the_next(pipeline: Pipeline) -> None:
    killed = pipeline.start(do="slowly")
    wait_for(lambda: pipeline.lock_holder() == killed, 30)
    pipeline.aws.client("stepfunctions").stop_execution(executionArn=killed)
    assert pipeline.finish(killed).status == "ABORTED"
    assert pipeline.lock_holder() == killed
    assert pipeline.run(skip_training=True).status == "SUCCEEDED"
    assert pipeline.lock_holder() is None


def test_the_nightly_rule_starts_a_run_that_trains_and_publishes(scheduled: Pipeline) -> None:
    states = scheduled.aws.client("stepfunctions")
    (started,) = wait_for(
        lambda: states.list_executions(stateMachineArn=scheduled.arn)["executions"], timeout_s=150, pause_s=1
    )
    run = scheduled.finish(started["executionArn"])
    assert run.status == "SUCCEEDED"
    assert all(
        run.visits(state) == 1 for state in ("Load", "Train", "Evaluate", "Publish", "Prove", "Record")
    )


def test_a_spot_interruption_is_no_failure_of_the_run(aws: Aws) -> None:
    pipeline = deployed(aws, use_spot=True)
    s3 = aws.client("s3")
    started = pipeline.start(do="slowly")
    wait_for(lambda: s3.list_objects_v2(Bucket=pipeline.bucket, Prefix="checkpoints/")["KeyCount"], 60)
    (job,) = pipeline.training_jobs()
    interrupt_training(aws.stack, job)
    run = pipeline.finish(started)
    assert run.status == "SUCCEEDED"
    assert pipeline.training_jobs() == [job]
    described = aws.client("sagemaker").describe_training_job(TrainingJobName=job)
    passed = [one["Status"] for one in described["SecondaryStatusTransitions"]]
    assert passed.count("Interrupted") == 1
    log = (aws.stack.logs / "jobs" / f"{job}.log").read_text()
    resumed = [int(line.split()[-1]) for line in log.splitlines() if line.startswith("resumed at")]
    assert resumed[0] == 0 < resumed[1]
