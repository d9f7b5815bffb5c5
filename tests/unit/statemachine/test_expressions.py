"""The expressions of the state machine, evaluated on what Step Functions and SageMaker may give them."""

import json
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.model import StringShape
from hypothesis import given
from hypothesis import strategies as st
from moto.stepfunctions.parser.asl.jsonata.jsonata import JSONataException

from deploy import template
from deploy.stages import read_stage
from local.aws import jsonata_
from tests.unit.statemachine.test_night import NIGHT
from tests.unit.statemachine.test_pipeline import AFTERWARDS, STATES, TASKS, expressions

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:tugboat-abcdefghijklmnop-pipeline"
# The longest name that a stage may have.
PREFIX = "tugboat-abcdefghijklmnop"
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
REFUSED_IN_EXECUTION_NAMES = '<>{}[]?*"#%\\^|~`$&,;:/ \t\n'
EXECUTION_NAMES = st.text(
    st.characters(exclude_characters=REFUSED_IN_EXECUTION_NAMES, exclude_categories=["C", "Z"]),
    min_size=1,
    max_size=80,
)
EVENT_BRIDGE_NAME = "9b1c5e4e-3f0f-5d4c-8a6e-2f9c3b7d1e00_c0ffee00-1111-5222-8333-444455556666"
JOBS = {
    "Train": ("CreateTrainingJob", "TrainingJobName"),
    "Tune": ("CreateHyperParameterTuningJob", "HyperParameterTuningJobName"),
    "Evaluate": ("CreateProcessingJob", "ProcessingJobName"),
}


def evaluate(expression: str, states: dict[str, Any], **variables: Any) -> Any:
    """Return the value of an expression, as the local Step Functions computes it."""
    assert expression.startswith("{%")
    bound = {"$states": states} | {f"${name}": value for name, value in variables.items()}
    declared = "".join(f"{name}:={json.dumps(value, ensure_ascii=False)};" for name, value in bound.items())
    text = expression[2:-2].strip().replace("${Prefix}", PREFIX)
    return jsonata_.evaluate(f"({declared}{text})")


def is_expression(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("{%")


def context(name: str, redrives: int | None = None, retries: int = 0) -> dict[str, Any]:
    """Return the context object. Without a redrive, it may lack RedriveCount."""
    execution: dict[str, Any] = {
        "Id": f"{MACHINE.replace(':stateMachine:', ':execution:')}:{name}",
        "Name": name,
        "StartTime": "2026-11-29T03:30:12.345Z",
    }
    if redrives is not None:
        execution["RedriveCount"] = redrives
    return {"context": {"Execution": execution, "State": {"RetryCount": retries}}}


def run_id(name: str) -> str:
    return str(evaluate(STATES["Prepare"]["Assign"]["run_id"], context(name)))


def job_name(
    state: str, execution: str, redrives: int | None = None, retries: int = 0, job_failures: int = 0
) -> str:
    """Return the name of the job that a state starts."""
    expression = STATES[state]["Arguments"][JOBS[state][1]]
    given_ = context(execution, redrives, retries)
    held = {"redrives": redrives or 0, "job_failures": job_failures}
    return str(evaluate(expression, given_, run_id=run_id(execution), **held))


@cache
def shape(operation: str, member: str) -> StringShape:
    """Return botocore's description of a parameter of SageMaker."""
    model = boto3.client("sagemaker", region_name="us-east-1").meta.service_model
    found = model.operation_model(operation).input_shape.members[member]
    assert isinstance(found, StringShape)
    return found


def is_accepted(name: str, operation: str, member: str) -> bool:
    """Return True if SageMaker accepts the name."""
    limits = shape(operation, member).metadata
    return bool(re.fullmatch(limits["pattern"], name)) and limits.get("min", 0) <= len(name) <= limits["max"]


def test_the_names_that_eventbridge_gives_are_refused_as_the_name_of_a_job() -> None:
    assert len(EVENT_BRIDGE_NAME) == 73
    assert not is_accepted(f"tugboat-dev-{EVENT_BRIDGE_NAME}", "CreateTrainingJob", "TrainingJobName")


@pytest.mark.parametrize("state", JOBS)
@given(execution=EXECUTION_NAMES | st.just(EVENT_BRIDGE_NAME))
def test_sagemaker_accepts_the_names_of_the_jobs_of_every_execution(state: str, execution: str) -> None:
    retries = STATES[state]["Retry"][0]["MaxAttempts"]
    for redrives in (None, 0, 99):
        assert is_accepted(job_name(state, execution, redrives, retries, job_failures=2), *JOBS[state])


@given(execution=EXECUTION_NAMES)
def test_sagemaker_accepts_the_name_of_a_run_s_model_and_configuration(execution: str) -> None:
    name = f"{PREFIX}-{run_id(execution)}"
    assert is_accepted(name, "CreateModel", "ModelName")
    assert is_accepted(name, "CreateEndpointConfig", "EndpointConfigName")


def test_two_executions_have_two_run_ids_and_the_date_comes_first() -> None:
    assert run_id("nightly") == run_id("nightly") != run_id("nightly-2")
    assert datetime.strptime(run_id("nightly").split("-")[0], "%Y%m%d").day == 29


@pytest.mark.parametrize("state", JOBS)
def test_no_try_meets_a_name_that_is_taken(state: str) -> None:
    names = [
        job_name(state, EVENT_BRIDGE_NAME, redrives, retries, failures)
        for redrives in range(12)
        for failures in range(3)
        for retries in range(STATES[state]["Retry"][0]["MaxAttempts"] + 1)
    ]
    assert len(set(names)) == len(names)
    assert job_name(state, "nightly") == job_name(state, "nightly", redrives=0)


@pytest.mark.parametrize("name", sorted(name for name, task in TASKS.items() if "Catch" in task))
def test_every_catch_has_a_value_for_every_expression_when_there_is_no_cause(name: str) -> None:
    caught = context("nightly") | {"errorOutput": {"Error": "States.Timeout"}}
    before = {"state": "Prove", "error": "GoldenMismatch", "cause": "other items"}
    assigned = TASKS[name]["Catch"][0].get("Assign", {})
    for value in [*assigned.get("failure", {}).values(), *assigned.values()]:
        if is_expression(value):
            assert evaluate(value, caught, failure=before, job_failures=0) is not None, value


def test_a_cause_reaches_the_notification() -> None:
    cause = TASKS["Train"]["Catch"][0]["Assign"]["failure"]["cause"]
    assert evaluate(cause, {"errorOutput": {"Error": "E", "Cause": "it broke"}}) == "it broke"


STOPPED = {"TrainingJobName": "t", "TrainingJobStatus": "Stopped"}
SEARCHED = {"HyperParameterTuningJobName": "t", "HyperParameterTuningJobStatus": "Stopped"}


@pytest.mark.parametrize(("state", "result"), [("Train", STOPPED), ("Tune", SEARCHED)])
def test_a_job_that_was_stopped_before_it_trained_reaches_the_state_that_says_so(
    state: str, result: dict[str, Any]
) -> None:
    for value in [*STATES[state]["Assign"].values(), *STATES[state]["Output"].values()]:
        evaluated = evaluate(value.replace("${ModelsBucket}", "models"), {"result": result})
        assert evaluated is not None, value
    status = evaluate(STATES[state]["Assign"]["training_status"], {"result": result})
    condition = STATES["Trained?"]["Choices"][0]["Condition"]
    assert evaluate(condition, {}, training_status=status) is False


def test_a_search_that_found_a_model_is_evaluated() -> None:
    found = SEARCHED | {"BestTrainingJob": {"TrainingJobName": "t-001", "TunedHyperParameters": {}}}
    assert evaluate(STATES["Tune"]["Assign"]["training_status"], {"result": found}) == "Completed"


def restarted(state: str, reason: str, job_failures: int = 1) -> str:
    """Return the state that follows the failure of a job."""
    description = {"TrainingJobName": "t", "FailureReason": reason, "TrainingJobStatus": "Failed"}
    failure = {"state": state, "error": "States.TaskFailed", "cause": json.dumps(description)}
    for rule in STATES["ServiceFault?"]["Choices"]:
        if evaluate(rule["Condition"], {}, failure=failure, job_failures=job_failures):
            return str(rule["Next"])
    return str(STATES["ServiceFault?"]["Default"])


@pytest.mark.parametrize("state", JOBS)
def test_a_job_that_sagemaker_lost_starts_again_and_one_that_failed_for_its_data_does_not(state: str) -> None:
    lost = "InternalServerError: We encountered an internal error. Please try again."
    full = "CapacityError: Unable to provision requested ML compute capacity."
    assert [restarted(state, reason) for reason in (lost, full)] == [state, state]
    assert restarted(state, lost, job_failures=3) == "LockHeld?"
    for reason in (
        "AlgorithmError: no sessions",
        "ClientError: Data download failed",
        "",
        f"AlgorithmError: {lost}",
    ):
        assert restarted(state, reason) == "LockHeld?"


@pytest.mark.parametrize("redrives", [None, 0, 1, 3])
@pytest.mark.parametrize("name", sorted(TASKS.keys() - AFTERWARDS - {"Lock"}))
def test_a_step_runs_only_in_the_try_that_asked_for_the_lock(name: str, redrives: int | None) -> None:
    held = {"run_id": "20261129-0", "job_failures": 0, "release": {"endpoint_name": "e"}}
    (guarded,) = [text for text in expressions(TASKS[name]["Arguments"]) if "$error(" in text]
    given_ = context("nightly", redrives)
    assert evaluate(f"{{%{guarded}%}}", given_, redrives=redrives or 0, **held)
    for other in {0, 1, 2} - {redrives or 0}:
        with pytest.raises(JSONataException, match="does not hold the lock"):
            evaluate(f"{{%{guarded}%}}", given_, redrives=other, **held)


@pytest.mark.parametrize(
    ("asked", "now", "leads"),
    [(0, None, "UnlockAfterFailure"), (1, 1, "UnlockAfterFailure"), (0, 1, "Lock"), (1, 3, "Lock")],
)
def test_a_failure_in_a_try_without_the_lock_asks_for_it_instead_of_reporting(
    asked: int, now: int | None, leads: str
) -> None:
    (rule,) = STATES["LockHeld?"]["Choices"]
    met = evaluate(rule["Condition"], context("nightly", now), redrives=asked)
    assert (rule["Next"] if met else STATES["LockHeld?"]["Default"]) == leads


LOCK_HOLDERS = {
    "run": f"{MACHINE.replace(':stateMachine:', ':execution:')}:{EVENT_BRIDGE_NAME}",
    "night": "arn:aws:states:us-east-1:123456789012:execution:tugboat-batch-night:n",
    "batch": "arn:aws:states:us-east-1:123456789012:execution:tugboat-batch-batch:run-20261129-0",
    "erasure": "erasure-0",
}


@pytest.mark.parametrize("machine", [STATES, NIGHT["States"]], ids=["pipeline", "night"])
@pytest.mark.parametrize(
    ("holder", "wait", "after", "leads", "notified"),
    [
        ("batch", True, timedelta(), "WaitForTurn", False),
        ("erasure", True, timedelta(hours=5), "WaitForTurn", False),
        ("batch", True, timedelta(hours=7), "AlreadyRunning", True),
        ("batch", False, timedelta(), "AlreadyRunning", False),
        ("batch", None, timedelta(hours=7), "AlreadyRunning", False),
        ("run", True, timedelta(), "AlreadyRunning", False),
        ("night", True, timedelta(hours=1), "AlreadyRunning", False),
    ],
)
def test_a_scheduled_run_waits_for_a_batch_or_an_erasure_and_for_no_other_run(
    machine: dict[str, Any], holder: str, wait: bool | None, after: timedelta, leads: str, notified: bool
) -> None:
    given_ = context(EVENT_BRIDGE_NAME)
    begun = datetime.now(UTC) - after
    given_["context"]["Execution"]["StartTime"] = begun.isoformat(timespec="milliseconds")
    lock = {"acquired": False, "holder": LOCK_HOLDERS[holder]}
    options = {} if wait is None else {"wait": wait}

    def next_of(name: str) -> str:
        met = (
            rule["Next"]
            for rule in machine[name]["Choices"]
            if evaluate(rule["Condition"], given_, lock=lock, options=options) is True
        )
        return str(next(met, machine[name]["Default"]))

    assert next_of("OnlyRun?") == leads
    assert machine["WaitForTurn"]["Next"] in ("Lock", "LockTables")
    assert machine["AlreadyRunning"]["Next"] == "Waited?"
    assert (next_of("Waited?") != "Failed") == notified


def test_a_run_that_waited_has_room_in_its_history_and_time() -> None:
    events_per_look, hours = 9, 6
    for name, work_s in (("Pipeline", 100_000), ("Night", 200_000)):
        definition = json.loads(template.DEFINITIONS[name].read_text())
        looks = hours * 3600 / definition["States"]["WaitForTurn"]["Seconds"]
        assert looks * events_per_look < 25_000 * 0.2
        assert definition["TimeoutSeconds"] >= hours * 3600 + work_s


def test_a_run_ends_with_its_failure_and_a_redrive_continues_it() -> None:
    payload = STATES["Failed"]["Arguments"]["Payload"]
    for asked, now, redriven in ((0, None, False), (0, 0, False), (0, 1, True), (2, 2, False), (2, 3, True)):
        assert evaluate(payload["redriven"], context("nightly", now), redrives=asked) is redriven
    failure = {"state": "Load", "error": "States.Timeout", "cause": "c" * 30_000}
    given_ = {key: evaluate(value, {}, failure=failure) for key, value in payload["failure"].items()}
    assert given_ == {"state": "Load", "error": "Timeout", "cause": "c" * 8000}


def message(
    state: str,
    redrives: int,
    overrides: list[str] | None = None,
    night: str = "",
    evaluation: dict[str, Any] | None = None,
    lists: str = "",
) -> str:
    """Return the text of a notification."""
    given_ = context("nightly", redrives)
    release = {"endpoint_name": "e"}
    validation: dict[str, Any] = {"checks": 3, "report_uri": "s3://report"}
    if overrides is not None:
        validation["overrides"] = overrides
    return str(
        evaluate(
            STATES[state]["Arguments"]["Message"],
            given_,
            redrives=redrives,
            run_id="20261129-0",
            resume="Publish",
            failure={"state": "Prove", "error": "GoldenMismatch", "cause": "other items"},
            load={"rows_loaded": 1, "files_loaded": 1, "files_failed": []},
            validation=validation,
            options={"skip_training": False, "shop_id": "demo", "night": night},
            evaluation=evaluation or {"model_version": "v"},
            release=release,
            canary={"verdict": "Canary at 25%: no figure is worse."},
            lists=lists,
        )
    )


def test_a_notification_counts_the_tries_and_says_how_the_run_continues() -> None:
    assert "(execution nightly) succeeded. Loaded" in message("NotifySuccess", 0)
    assert "(execution nightly) succeeded in try 3. Loaded" in message("NotifySuccess", 2)
    assert "now serves on endpoint e. Canary at 25%: no figure is worse. Evaluation:" in message(
        "NotifySuccess", 0
    )
    assert (
        "Run 20261129-0 of shop demo (execution nightly) succeeded. The night loaded the events, 3 checks"
        in message("NotifySuccess", 0, night="arn")
    )
    assert "make rollback STAGE=${Stage} SHOP=demo returns to it" in message("NotifySuccess", 0)
    assert "stopped in Prove with GoldenMismatch.\n" in message("NotifyFailure", 0)
    again = message("NotifyFailure", 1)
    assert "stopped in Prove with GoldenMismatch in try 2.\n" in again
    assert "make rerun STAGE=${Stage} RUN=20261129-0. It continues this run at Publish" in again


def test_a_notification_names_who_overrode_a_check() -> None:
    usual = "3 checks passed (s3://report)."
    # A run of before an upgrade has no list.
    assert usual in message("NotifySuccess", 0)
    assert usual in message("NotifySuccess", 0, [])
    overrides = ["volume by ann: Black Friday", "silence by bob: a holiday"]
    said = "3 checks passed, of which overridden: volume by ann: Black Friday; silence by bob: a holiday (s3://report)."
    assert said in message("NotifySuccess", 1, overrides)


def test_the_message_of_a_run_has_the_warnings_of_the_gate_that_the_evaluation_lists() -> None:
    read = STATES["ReadEvaluation"]["Assign"]["evaluation"]
    said = {}
    for warnings in (None, [], ["the lead fell"], ["the lead fell", "so did the other"]):
        stored = {"passed": True, "failures": [], "metrics": {}, "model_version": "v"}
        body = json.dumps(stored if warnings is None else stored | {"warnings": warnings})
        evaluation = evaluate(read, {"result": {"Body": body}})
        said[str(warnings)] = message("NotifySuccess", 0, evaluation=evaluation)
    assert said["None"] == said["[]"] == message("NotifySuccess", 0)
    assert "evaluation.html. The gate warns: the lead fell. The previous" in said["['the lead fell']"]
    assert "The gate warns: the lead fell; so did the other. The previous release" in said[list(said)[-1]]


@pytest.mark.parametrize(
    ("asks", "starts", "otherwise"),
    [
        ("Lists?", "StartLists", "NotifySuccess"),
        ("ListsAfterFailure?", "StartListsAfterFailure", "NotifyFailure"),
    ],
)
def test_a_batch_follows_a_run_whose_data_passed_validate_in_a_stage_with_batch_nightly(
    asks: str, starts: str, otherwise: str
) -> None:
    (rule,) = STATES[asks]["Choices"]
    # A run that failed before Validate has the value that Prepare assigns.
    for validation in ({"passed": True}, {"passed": False}, STATES["Prepare"]["Assign"]["validation"]):
        for nightly in ("true", "false"):
            condition = rule["Condition"].replace("${BatchNightly}", nightly)
            met = evaluate(condition, {}, validation=validation)
            assert (rule["Next"] if met else STATES[asks]["Default"]) == (
                starts if validation["passed"] and nightly == "true" else otherwise
            )


@pytest.mark.parametrize(
    ("state", "notification"),
    [("StartLists", "NotifySuccess"), ("StartListsAfterFailure", "NotifyFailure")],
)
def test_each_try_of_a_run_starts_one_batch_of_its_shop_and_its_message_says_so(
    state: str, notification: str
) -> None:
    task = STATES[state]
    given_ = context(EVENT_BRIDGE_NAME)
    names = [
        evaluate(task["Arguments"]["Name"], given_, run_id=run_id(EVENT_BRIDGE_NAME), redrives=redrives)
        for redrives in (0, 1)
    ]
    assert len(set(names)) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9-]{1,80}", name) for name in names)
    assert evaluate(task["Arguments"]["Input"]["shop_id"], given_, options={"shop_id": "second"}) == "second"
    assert task["Arguments"]["Input"]["wait"] is True
    assert "A batch of lists for mail has started." in message(notification, 0, lists=task["Assign"]["lists"])
    caught = {"errorOutput": {"Error": "StepFunctions.ExecutionLimitExceededException"}}
    said = evaluate(task["Catch"][0]["Assign"]["lists"], caught, options={"shop_id": "second"})
    assert "ExecutionLimitExceededException): make batch STAGE=${Stage} SHOP=second" in said


@pytest.mark.parametrize(("tune", "step"), [(True, "Tune"), (False, "Train")])
def test_a_stopped_training_job_starts_again_as_it_was(tune: bool, step: str) -> None:
    resume = STATES["TrainingStopped"]["Assign"]["resume"]
    assert evaluate(resume, {}, options={"tune": tune}) == step


def test_the_subject_of_a_notification_is_within_the_limit_of_sns() -> None:
    expression = STATES["NotifyFailure"]["Arguments"]["Subject"]
    subject = evaluate(expression, {}, failure={"error": "E" * 200, "state": "Train"})
    assert 0 < len(subject) < 100


def test_the_definition_fits_into_the_template() -> None:
    assert len(template.render(read_stage("dev"), "210987654321")) < template.STORED_MAX_BYTES


@pytest.mark.parametrize(
    ("state", "log"), [("Canary", "canary"), ("Promote", "publish"), ("Record", "prove")]
)
def test_a_failure_names_the_log_group_of_the_lambda_that_failed(state: str, log: str) -> None:
    failure = {"state": state, "error": "CanaryWorse", "cause": "errors 9.0% instead of 0.2%"}
    names = {"redrives": 0, "run_id": "20261129-0", "resume": "Publish", "failure": failure, "lists": ""}
    said = evaluate(STATES["NotifyFailure"]["Arguments"]["Message"], context("nightly", 0), **names)
    assert f"/aws/lambda/tugboat-${{Stage}}-{log} or" in said
    assert "errors 9.0% instead of 0.2%" in said


@pytest.mark.parametrize(
    ("status", "config", "target", "leads"),
    [
        ("Creating", "c", "candidate", "WaitForEndpoint"),
        ("InService", "c", "candidate", "Prove"),
        ("InService", "c", "stage", "Record"),
        ("InService", "other", "candidate", "EndpointRefused"),
        ("Failed", "c", "stage", "EndpointRefused"),
    ],
)
def test_an_endpoint_in_service_is_proved_as_the_candidate_s_or_recorded_as_the_stage_s(
    status: str, config: str, target: str, leads: str
) -> None:
    names: dict[str, Any] = {
        "endpoint": {"status": status, "config": config},
        "release": {"endpoint_config_name": "c", "target": target},
    }
    met = [
        rule["Next"]
        for rule in STATES["EndpointReady?"]["Choices"]
        if evaluate(rule["Condition"], {}, **names)
    ]
    assert (met or [STATES["EndpointReady?"]["Default"]])[0] == leads


@pytest.mark.parametrize(("over", "leads"), [(True, "Promote"), (False, "WaitForShoppers")])
def test_a_canary_waits_until_it_is_over(over: bool, leads: str) -> None:
    canary = {"share": 25, "over": over, "wait_s": 1800, "verdict": ""}
    (rule,) = STATES["CanaryOver?"]["Choices"]
    met = evaluate(rule["Condition"], {}, canary=canary)
    assert (rule["Next"] if met else STATES["CanaryOver?"]["Default"]) == leads
    assert evaluate(STATES["WaitForShoppers"]["Seconds"], {}, canary=canary) == 1800
    assert evaluate(STATES["Record"]["Arguments"]["Payload"]["canaried"], {}, canary=canary) is True
    assert evaluate(STATES["Record"]["Arguments"]["Payload"]["canaried"], {}, canary={"share": 0}) is False
