"""Redriven runs: where they continue, which lock they hold, what they report, and what they publish."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from demo import rerun
from deploy.error_handling import REDRIVES
from functions.platform.run_history import read_history
from local.testing import wait_for
from local.tests.integration.aws.clients import Aws
from tests.integration.statemachine.pipeline import DEFINITION, Ended, Pipeline, deployed

pytestmark = [pytest.mark.local_stack, pytest.mark.timeout(300)]

# In the order of a run.
STEPS = (
    *("Lock", "Load", "Transform", "Validate", "Export", "Train", "Evaluate", "ReadEvaluation"),
    *("Publish", "DescribeEndpoint", "Prove", "Canary", "Promote", "Record", "NotifySuccess"),
)
PUBLISHING = ("Publish", "DescribeEndpoint", "Prove", "Canary", "Promote", "Record")
AFTER_A_FAILURE = ("UnlockAfterFailure", "ListsAfterFailure?", "NotifyFailure", "Failed")
POLLED = ("WaitForEndpoint", "DescribeEndpoint", "EndpointReady?")


@pytest.fixture(scope="module")
def pipeline(aws: Aws) -> Pipeline:
    return deployed(aws)


def redrive(pipeline: Pipeline, arn: str) -> Ended:
    pipeline.aws.client("stepfunctions").redrive_execution(executionArn=arn)
    return pipeline.finish(arn)


def entered(pipeline: Pipeline, arn: str) -> list[str]:
    """Return the states that the last try entered, in their order, each turn of the poll of the endpoint once."""
    events = read_history(pipeline.aws.client("stepfunctions"), arn)
    began = max(
        at for at, event in enumerate(events) if event["type"].startswith(("ExecutionS", "ExecutionR"))
    )
    if events[-1]["type"] == "ExecutionSucceeded":
        began = max(
            (at for at, event in enumerate(events) if event["type"] == "ExecutionRedriven"), default=0
        )
    names = [
        event["stateEnteredEventDetails"]["name"]
        for event in events[began:]
        if event["type"].endswith("StateEntered")
    ]
    return [name for at, name in enumerate(names) if name not in POLLED or name not in names[:at]]


def failing_in_turn() -> dict[str, Any]:
    """Return the definition with steps that fail until as many redrives were made as steps stand before them."""
    definition = copy.deepcopy(DEFINITION)
    states = definition["States"]
    for position, name in enumerate(STEPS):
        fails = f"{REDRIVES} <= {position}"
        state = states[name]
        arguments = state["Arguments"]
        match name:
            case "Train":
                arguments["HyperParameters"] = (
                    f"{{% $merge([{arguments['HyperParameters'][2:-2]}, {fails} ? {{'do': 'fail'}} : {{}}]) %}}"
                )
            case "Evaluate":
                arguments["AppSpecification"]["ContainerEntrypoint"][1] = (
                    f"{{% {fails} ? '/absent.py' : '/opt/ml/processing/input/code/evaluate.py' %}}"
                )
            case "ReadEvaluation" | "DescribeEndpoint":
                key = "Key" if name == "ReadEvaluation" else "EndpointName"
                arguments[key] = f"{{% {fails} ? 'absent' : ({arguments[key][2:-2]}) %}}"
                state["Retry"] = []
            case "NotifySuccess":
                arguments["TopicArn"] = f"{{% {fails} ? 'absent' : '{arguments['TopicArn']}' %}}"
                state["Retry"] = []
            case _:
                arguments["FunctionName"] = f"{{% {fails} ? 'absent' : '{arguments['FunctionName']}' %}}"
        if not state["Retry"]:
            del state["Retry"]
    for name in ("Publish", "Promote", "Rollback"):
        # The local SageMaker changes and deletes endpoints within seconds.
        states[name]["Retry"][0]["IntervalSeconds"] = 1
    return definition


def result(ended: Ended, pipeline: Pipeline) -> dict[str, Any]:
    """Return what a run leaves, without its own names and times."""
    output, release = json.loads(ended.described["output"]), pipeline.released()
    run_id = output.pop("run_id")
    assert release["run_id"] == run_id
    own = {"published_at", "model_version"}
    left = json.dumps({"output": output, "release": {k: v for k, v in release.items() if k not in own}})
    return dict(json.loads(left.replace(run_id, "RUN")))


def test_a_run_whose_every_step_fails_once_ends_as_one_that_never_failed(aws: Aws) -> None:
    pipeline = deployed(aws)
    whole = pipeline.run()
    assert whole.status == "SUCCEEDED"
    expected, steps = result(whole, pipeline), entered(pipeline, whole.arn)
    served = pipeline.serving()
    pipeline.deploy(failing_in_turn())
    ended = pipeline.run()
    for tries, step in enumerate(STEPS):
        assert ended.status == "FAILED", step
        assert ended.described["redriveCount"] == tries
        assert pipeline.lock_holder() is None
        ran = entered(pipeline, ended.arn)
        # The step before failed last, and the run continues there. Without an endpoint to serve it, a model is published again.
        failed_before = STEPS[tries - 1] if tries else "Lock"
        first = "Publish" if failed_before in PUBLISHING else failed_before
        if step == "Lock":
            assert ran == ["Prepare", "Lock", *AFTER_A_FAILURE]
        elif step == "NotifySuccess":
            # It has no Catch, so Step Functions continues at the state itself.
            assert ended.described["error"] != "Failed"
            assert len(ended.messages) == tries
        else:
            begins = "Load" if first == "Lock" else first
            assert ran[:4] == ["Lock", "OnlyRun?", "WhichStep?", begins]
            assert ran[3 : ran.index(step) + 1] == steps[steps.index(begins) : steps.index(step) + 1]
            tail = ran[ran.index(step) + 1 :]
            undone = "Rollback" if step in PUBLISHING else "LockHeld?"
            assert [name for name in tail if name != "ServiceFault?"] == [undone, *AFTER_A_FAILURE]
        if step != "NotifySuccess":
            assert len(ended.messages) == tries + 1
            message = ended.messages[-1]
            assert message["subject"].endswith(f" in {step}")
            continues = "Load" if step == "Lock" else "Publish" if step in PUBLISHING else step
            assert f"It continues this run at {continues}" in message["message"]
            assert (f" in try {tries + 1}." in message["message"]) is bool(tries)
            if step in PUBLISHING:
                wait_for(lambda: pipeline.serving() == served, 60)
        ended = redrive(pipeline, ended.arn)
    assert ended.status == "SUCCEEDED"
    assert entered(pipeline, ended.arn) == []
    assert f"in try {len(STEPS)}" in ended.messages[-1]["message"]
    assert result(ended, pipeline) == expected
    assert pipeline.serving() == ("InService", pipeline.released()["endpoint_config"])
    for step in ("Load", "Transform", "Validate", "Export", "Train", "Evaluate"):
        assert ended.visits(step) == 2
    run_id = pipeline.released()["run_id"]
    jobs = [name for name in pipeline.training_jobs() if run_id in name]
    assert jobs == [f"{pipeline.name}-{run_id}-5-0", f"{pipeline.name}-{run_id}-6-0"]
    with pytest.raises(ClientError, match="ExecutionNotRedrivable"):
        redrive(pipeline, ended.arn)


def test_a_stopped_run_waits_for_the_run_that_took_its_lock_and_then_trains_from_its_checkpoints(
    pipeline: Pipeline,
) -> None:
    states, s3 = pipeline.aws.client("stepfunctions"), pipeline.aws.client("s3")
    stopped = pipeline.start(do="slowly")
    wait_for(lambda: s3.list_objects_v2(Bucket=pipeline.bucket, Prefix="checkpoints/")["KeyCount"], 60)
    states.stop_execution(executionArn=stopped)
    assert pipeline.finish(stopped).status == "ABORTED"
    jobs = pipeline.training_jobs()

    slow = copy.deepcopy(DEFINITION)
    slow["States"]["Load"]["Arguments"]["FunctionName"] = "${SlowFunction}"
    pipeline.deploy(slow)
    other = pipeline.start(skip_training=True)
    wait_for(lambda: pipeline.lock_holder() == other, 30)
    refused = redrive(pipeline, stopped)
    assert (refused.status, refused.described["error"]) == ("FAILED", "AlreadyRunning")
    assert other in refused.described["cause"]
    assert entered(pipeline, stopped) == [
        *("ServiceFault?", "LockHeld?", "Lock", "OnlyRun?", "AlreadyRunning", "Waited?", "Failed")
    ]
    assert pipeline.training_jobs() == jobs
    assert refused.messages == []
    assert pipeline.lock_holder() == other
    assert pipeline.finish(other).status == "SUCCEEDED"
    pipeline.deploy()

    found = rerun.choose(states, pipeline.arn, stopped, "")
    assert (found.step, found.error, found.redrives, found.is_outdated) == (
        "Train",
        "AlreadyRunning",
        1,
        False,
    )
    rerun.redrive(states, found)
    ended = pipeline.finish(stopped)
    assert ended.status == "SUCCEEDED"
    assert entered(pipeline, stopped)[:4] == ["Lock", "OnlyRun?", "WhichStep?", "Train"]
    assert ended.visits("Load") == 1
    (job,) = set(pipeline.training_jobs()) - set(jobs)
    assert job.endswith("-2-0")
    log = (pipeline.aws.stack.logs / "jobs" / f"{job}.log").read_text()
    (resumed,) = [int(line.split()[-1]) for line in log.splitlines() if line.startswith("resumed at")]
    assert resumed > 0
    assert pipeline.lock_holder() is None
    (message,) = ended.messages
    assert "succeeded in try 3" in message["message"]


def test_a_stopped_run_whose_release_was_undone_publishes_it_again(aws: Aws) -> None:
    pipeline = deployed(aws)
    pipeline.undo_ended_runs(step_timeout_s=2)
    assert pipeline.run().status == "SUCCEEDED"
    proved = pipeline.released()
    slow = copy.deepcopy(DEFINITION)
    slow["States"]["WaitForEndpoint"]["Seconds"] = f"{{% {REDRIVES} = 0 ? 60 : 1 %}}"
    pipeline.deploy(slow)
    stopped = pipeline.start()
    candidate = f"{pipeline.endpoint}-candidate"
    wait_for(lambda: pipeline.endpoints().get(candidate) == "InService", 60)
    pipeline.aws.client("stepfunctions").stop_execution(executionArn=stopped)
    assert pipeline.finish(stopped).status == "ABORTED"
    wait_for(lambda: pipeline.endpoints() == {pipeline.endpoint: "InService"}, 60)
    assert pipeline.serving() == ("InService", proved["endpoint_config"])
    ended = redrive(pipeline, stopped)
    assert ended.status == "SUCCEEDED"
    assert ended.visits("Train") == 1
    assert ended.visits("Publish") == 2
    assert pipeline.released()["run_id"] == json.loads(ended.described["output"])["run_id"]
    assert pipeline.serving() == ("InService", pipeline.released()["endpoint_config"])
