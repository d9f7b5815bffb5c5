"""Retry and Catch of the pipeline's tasks: written once, expanded into plain ASL."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy import error_handling, lambdas
from deploy.command import DeployError
from deploy.template import BATCH_FILE, DEFINITIONS, PIPELINE_FILE

DEFINITION: dict[str, Any] = json.loads(PIPELINE_FILE.read_text())


@pytest.mark.parametrize("path", DEFINITIONS.values(), ids=lambda path: path.name)
def test_the_committed_definition_is_what_the_command_writes(path: Path) -> None:
    written = error_handling.render(json.loads(path.read_text()))
    assert written == path.read_text(), "python -m deploy.error_handling"


def test_a_batch_is_made_anew_so_its_failures_name_no_state_to_resume_at() -> None:
    states = json.loads(BATCH_FILE.read_text())["States"]
    assigned = [
        state["Catch"][0]["Assign"]
        for name, state in states.items()
        if "Assign" in state.get("Catch", [{}])[0]
    ]
    assert len(assigned) == 5
    assert all(one.keys() == {"failure"} for one in assigned)


def test_a_new_state_gets_its_retry_and_its_catch() -> None:
    states = {
        "Report": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {"FunctionName": "${LoadFunction}"},
            "Next": "Wait",
        },
        "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Report"},
    }
    handled = error_handling.with_error_handling({"StartAt": "Report", "States": states})["States"]
    assert list(handled["Report"]) == [
        *("Type", "Resource", "Arguments", "TimeoutSeconds", "Retry", "Catch", "Next")
    ]
    assert handled["Report"]["Retry"] == DEFINITION["States"]["Load"]["Retry"]
    assert handled["Report"]["Catch"][0]["Assign"]["failure"]["state"] == "Report"
    assert handled["Report"]["Catch"][0]["Assign"]["resume"] == "Report"
    assert handled["Report"]["Catch"][0]["Next"] == "LockHeld?"
    assert handled["Wait"] == states["Wait"]


def test_where_a_failure_leads_stays_as_the_state_says() -> None:
    handled = error_handling.with_error_handling(DEFINITION)["States"]
    leads = {name: state["Catch"][0]["Next"] for name, state in handled.items() if "Catch" in state}
    assert {name for name, target in leads.items() if target == "Rollback"} == {
        "Publish",
        "DescribeEndpoint",
        "Prove",
        "Canary",
        "Promote",
        "Record",
    }
    assert "Catch" not in handled["NotifySuccess"]
    assert handled["Rollback"]["Catch"] == DEFINITION["States"]["Rollback"]["Catch"]


def test_the_time_limit_of_a_lambda_comes_before_that_of_its_state() -> None:
    waits = {
        state["Arguments"]["FunctionName"]: state["TimeoutSeconds"]
        for state in DEFINITION["States"].values()
        if state.get("Resource", "").endswith(":lambda:invoke")
    }
    assert len(waits) == 9
    assert DEFINITION["States"]["Failed"]["TimeoutSeconds"] == waits["${LockFunction}"]
    for one in lambdas.LAMBDAS:
        if f"${{{one.title}Function}}" in waits:
            assert waits[f"${{{one.title}Function}}"] == one.timeout_s + error_handling.STATE_MARGIN_S


def test_a_state_of_an_undeclared_lambda_is_named() -> None:
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": "${LaodFunction}"},
    }
    with pytest.raises(DeployError, match=r"state Load invokes \$\{LaodFunction\}.*deploy/lambdas.py"):
        error_handling.with_error_handling({"States": {"Load": state}})


def test_a_job_is_never_retried_for_having_failed() -> None:
    jobs = {
        name: state
        for name, state in DEFINITION["States"].items()
        if state.get("Resource", "").endswith(".sync")
    }
    assert jobs.keys() == {"Train", "Tune", "Evaluate"}
    for state in jobs.values():
        # States.TaskFailed and States.ALL would match the failure of the job itself.
        assert all(error.startswith("SageMaker.") for rule in state["Retry"] for error in rule["ErrorEquals"])


def test_lambdas_are_retried_for_every_failure_that_may_pass() -> None:
    assert error_handling.TRANSIENT_ERRORS == ["WarehouseUnavailable", "StorageUnavailable"]


def test_the_end_of_a_run_is_not_retried_for_the_failure_that_it_raises() -> None:
    (rule,) = DEFINITION["States"]["Failed"]["Retry"]
    assert all(error.startswith("Lambda.") for error in rule["ErrorEquals"])


def test_a_busy_endpoint_is_waited_for_over_minutes() -> None:
    for state in ("Publish", "Promote", "Rollback"):
        busy, lambda_ = json.loads(PIPELINE_FILE.read_text())["States"][state]["Retry"]
        assert busy["ErrorEquals"] == ["EndpointBusy"]
        waits = [min(5 * 2**attempt, busy["MaxDelaySeconds"]) for attempt in range(busy["MaxAttempts"])]
        # Full jitter waits half of each interval on average. AWS takes two to six minutes for an endpoint.
        assert sum(waits) / 2 > 8 * 60
        assert lambda_ == error_handling.RETRY_LAMBDA


def test_a_state_that_differs_is_named_with_the_command_that_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "pipeline.asl.json"
    changed = json.loads(PIPELINE_FILE.read_text())
    changed["States"]["Load"]["Retry"][0]["MaxAttempts"] = 9
    changed["States"]["Train"]["Catch"][0]["Assign"]["failure"]["state"] = "Load"
    copy.write_text(json.dumps(changed, indent=2, ensure_ascii=False) + "\n")
    assert error_handling.main(["--check"], (copy,)) == 1
    said = capsys.readouterr().err
    assert "Retry, Catch or time limit of Load, Train differs" in said
    assert "python -m deploy.error_handling" in said
    assert error_handling.main([], (copy,)) == 0
    assert copy.read_text() == PIPELINE_FILE.read_text()
    assert error_handling.main(["--check"], (copy,)) == 0
