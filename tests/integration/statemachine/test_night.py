"""Nights on the local AWS: the tables once, one execution per shop, and a shop that fails beside one that is released."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from demo.rerun import NotRerun, choose
from functions.platform.run_history import parse, read_history
from functions.platform.run_names import run_id_of
from local.testing import wait_for
from local.tests.integration.aws.clients import Aws
from tests.integration.statemachine.pipeline import Ended, Pipeline, deployed

pytestmark = [pytest.mark.local_stack, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def pipeline(aws: Aws) -> Pipeline:
    """The pipeline with its night, in a stage with batch_nightly."""
    pipeline = deployed(aws)
    pipeline.follow_runs_by_batches()
    pipeline.deploy_night()
    return pipeline


@pytest.fixture(scope="module")
def night(pipeline: Pipeline) -> Ended:
    """A night of two good shops, and of one whose data the checks refuse."""
    return pipeline.finish(pipeline.start_night(["demo", "broken", "second"]), 240)


def executions(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """Return the executions of the pipeline by their names."""
    client = pipeline.aws.client("stepfunctions")
    listed = client.list_executions(stateMachineArn=pipeline.arn)["executions"]
    return {one["name"]: client.describe_execution(executionArn=one["executionArn"]) for one in listed}


def names_of(pipeline: Pipeline, night: Ended) -> dict[str, str]:
    """Return the name of the execution of each shop, and of the tables."""
    begun = night.described["startDate"]
    prefix = f"night-{run_id_of(night.arn, begun)}"
    return {"tables": f"{prefix}.tables"} | {
        shop: f"{prefix}-{shop}" for shop in ("demo", "broken", "second")
    }


def test_a_shop_that_fails_stops_neither_the_other_shops_nor_hides_itself(
    pipeline: Pipeline, night: Ended
) -> None:
    found, names = executions(pipeline), names_of(pipeline, night)
    assert {of: found[name]["status"] for of, name in names.items()} == {
        "tables": "SUCCEEDED",
        "demo": "SUCCEEDED",
        "broken": "FAILED",
        "second": "SUCCEEDED",
    }
    assert (night.status, night.story.error) == ("FAILED", "ShopsFailed")
    assert "broken: failed with BatchRefused: Validate: no prices" in night.story.cause
    assert "demo" not in night.story.cause


def test_the_tables_are_made_once_for_all_shops(pipeline: Pipeline, night: Ended) -> None:
    client, names = pipeline.aws.client("stepfunctions"), names_of(pipeline, night)
    visited = {
        of: {
            state.name
            for state in parse(read_history(client, executions(pipeline)[name]["executionArn"])).states
        }
        for of, name in names.items()
    }
    assert {of for of, states in visited.items() if "Load" in states or "Transform" in states} == {"tables"}
    assert {of for of, states in visited.items() if "Validate" in states} == {"demo", "broken", "second"}


def test_each_shop_has_its_own_endpoint_record_and_model(pipeline: Pipeline, night: Ended) -> None:
    versions = {}
    for shop in ("demo", "second"):
        release = pipeline.released(shop)
        assert release["endpoint"] == f"{pipeline.name}-{shop}"
        assert release["shop_id"] == shop
        (answer,) = pipeline.shop(["y"], shop)
        assert (answer["source"], answer["model_version"]) == ("model", release["model_version"])
        versions[shop] = answer["model_version"]
    assert versions["demo"] != versions["second"]


@pytest.mark.parametrize(
    ("shop", "reason"),
    [
        ("broken", "stage .* has no model of the shop broken: train one"),
        ("unserved", "stage .* has no model of the shop unserved: train one"),
        ("unknown", "stage .* has no model of the shop unknown: add it"),
    ],
)
def test_a_shop_without_a_model_is_refused(pipeline: Pipeline, night: Ended, shop: str, reason: str) -> None:
    import re

    response = pipeline.ask(["y"], shop)
    assert response["FunctionError"] == "Unhandled"
    error = json.load(response["Payload"])
    assert error["errorType"] == "RequestRefused"
    assert re.search(reason, error["errorMessage"])


def test_the_night_and_the_failed_shop_notify_and_the_tables_do_not(pipeline: Pipeline, night: Ended) -> None:
    subjects = [one["subject"] for one in pipeline.messages()]
    assert "Tugboat test: night failed for 1 of 3 shops" in subjects
    assert "Tugboat test: shop broken: BatchRefused in Validate" in subjects
    assert sorted(one for one in subjects if "succeeded" in one) == [
        "Tugboat test: run of shop demo succeeded",
        "Tugboat test: run of shop second succeeded",
    ]
    (summary,) = (one["message"] for one in pipeline.messages() if "night" in one["subject"])
    assert "demo: published by run " in summary


def test_after_a_night_no_lock_is_left(pipeline: Pipeline, night: Ended) -> None:
    assert pipeline.lock_holder() is None
    left = pipeline.aws.client("s3").list_objects_v2(Bucket=pipeline.bucket, Prefix="locks/")
    assert left["KeyCount"] == 0


def test_the_run_of_a_failed_shop_is_the_one_that_make_rerun_continues(
    pipeline: Pipeline, night: Ended
) -> None:
    client = pipeline.aws.client("stepfunctions")
    found = choose(client, pipeline.arn, None, "", "broken", "demo")
    assert found.step == "Validate"
    with pytest.raises(NotRerun, match="succeeded"):
        choose(client, pipeline.arn, None, "", "second", "demo")


def test_a_batch_follows_each_shop_of_the_night_but_that_of_refused_data(
    pipeline: Pipeline, night: Ended
) -> None:
    found, names = executions(pipeline), names_of(pipeline, night)
    expected = {}
    for shop in ("demo", "second"):
        run = found[names[shop]]
        started = {"AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": run["executionArn"]}
        name = f"run-{run_id_of(run['executionArn'], run['startDate'])}-0"
        expected[name] = {"shop_id": shop, "wait": True, **started}
    assert pipeline.batches() == expected


def test_a_batch_follows_the_run_of_one_shop_also_if_its_model_could_not_be_trained(
    pipeline: Pipeline, night: Ended
) -> None:
    before = pipeline.batches()
    run = pipeline.run(shop_id="second", do="fail")
    assert (run.status, run.described["error"]) == ("FAILED", "TaskFailed")
    (name,) = wait_for(lambda: pipeline.batches().keys() - before.keys(), 60)
    assert name == f"run-{run_id_of(run.arn, run.described['startDate'])}-0"
    assert pipeline.batches()[name]["shop_id"] == "second"
    (message,) = run.messages
    assert "It still serves. A batch of lists for mail has started." in message["message"]
    assert pipeline.lock_holder() is None


def running_shop(pipeline: Pipeline, shop: str) -> dict[str, Any] | None:
    """Return the shop's execution that runs."""
    found = executions(pipeline).items()
    return next(
        (one for name, one in found if name.endswith(f"-{shop}") and one["status"] == "RUNNING"), None
    )


def test_a_second_night_waits_for_none(pipeline: Pipeline, night: Ended) -> None:
    """A night or a run that starts while a night runs ends at once, and leaves the night its lock."""
    client = pipeline.aws.client("stepfunctions")
    running = pipeline.start_night(["demo"], do="slowly")
    wait_for(lambda: pipeline.lock_holder() == running, 30, 0.1)
    second, direct = pipeline.finish(pipeline.start_night(["second"])), pipeline.run(shop_id="second")
    assert second.story.error == direct.story.error == "AlreadyRunning"
    assert pipeline.lock_holder() == running
    inner = wait_for(partial(running_shop, pipeline, "demo"), 30, 0.2)
    client.stop_execution(executionArn=running)
    stopped = pipeline.finish(running)
    assert stopped.status == "ABORTED"
    wait_for(
        lambda: client.describe_execution(executionArn=inner["executionArn"])["status"] == "ABORTED", 30, 0.2
    )
