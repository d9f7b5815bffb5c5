"""The structure of the state machine, of which moto accepts more than AWS does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonata
import pytest

from deploy import template
from deploy.error_handling import REDRIVES
from training_jobs.train import METRIC_DEFINITIONS, parser

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "statemachine" / "pipeline.asl.json").read_text()
PIPELINE: dict[str, Any] = json.loads(TEXT)
STATES: dict[str, dict[str, Any]] = PIPELINE["States"]
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
STEPS_IN_LAMBDA = {
    "Lock",
    "Load",
    "Transform",
    "Validate",
    "Export",
    "Publish",
    "Prove",
    "Canary",
    "Rollback",
}
# One Lambda acquires the lock, releases it, and ends a run that failed.
UNLOCKING = {"Unlock", "UnlockAfterFailure"}
OF_THE_LOCK = {*UNLOCKING, "Failed"}
# A release that was proved as a candidate moves to the stage's endpoint, where it is proved again.
ON_THE_STAGE = {"Promote": "Publish", "Record": "Prove"}
# What runs after a step has failed, or after the run has succeeded.
LISTS = {"StartLists", "StartListsAfterFailure"}
AFTERWARDS = {*OF_THE_LOCK, *LISTS, "NotifySuccess", "NotifyFailure"}


def targets(state: dict[str, Any]) -> Iterator[str]:
    if "Next" in state:
        yield state["Next"]
    if "Default" in state:
        yield state["Default"]
    for rule in [*state.get("Choices", []), *state.get("Catch", [])]:
        yield rule["Next"]


def expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)
    elif isinstance(value, str) and value.startswith("{%"):
        assert value.endswith("%}"), value
        yield value[2:-2]


def reachable(start: str) -> set[str]:
    seen, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(targets(STATES[name]))
    return seen


def test_every_transition_leads_to_a_state_and_every_state_is_reached() -> None:
    assert reachable(PIPELINE["StartAt"]) == set(STATES)


@pytest.mark.parametrize("name", sorted(STATES))
def test_a_state_has_a_next_one_or_ends_and_never_both(name: str) -> None:
    state = STATES[name]
    ends = state.get("End", False) or state["Type"] in ("Succeed", "Fail")
    assert ends != bool("Next" in state or state["Type"] == "Choice")
    if state["Type"] == "Choice":
        assert "Default" in state


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_has_a_time_limit_and_retries_with_backoff_and_jitter(name: str) -> None:
    task = TASKS[name]
    assert task["TimeoutSeconds"] > 0
    for rule in task["Retry"]:
        assert rule["BackoffRate"] > 1
        assert rule["JitterStrategy"] == "FULL"
        assert rule["MaxDelaySeconds"] > rule["IntervalSeconds"]


@pytest.mark.parametrize("name", sorted(TASKS.keys() - {"Unlock", "StartLists", "NotifySuccess", "Failed"}))
def test_every_task_catches_everything_and_ends_in_a_notification(name: str) -> None:
    catch = TASKS[name]["Catch"][-1]
    assert catch["ErrorEquals"] == ["States.ALL"]
    assert "NotifyFailure" in reachable(catch["Next"]) or name == "NotifyFailure"


def test_a_lock_that_is_not_released_changes_no_outcome() -> None:
    for name, following in (("Unlock", "Notify?"), ("UnlockAfterFailure", "ListsAfterFailure?")):
        assert STATES[name]["Catch"] == [{"ErrorEquals": ["States.ALL"], "Next": following}]
        assert STATES[name]["Next"] == following


def test_a_batch_that_cannot_be_started_changes_no_outcome() -> None:
    for asks, starts, notification in (
        ("Lists?", "StartLists", "NotifySuccess"),
        ("ListsAfterFailure?", "StartListsAfterFailure", "NotifyFailure"),
    ):
        assert list(targets(STATES[asks])) == [notification, starts]
        assert list(targets(STATES[starts])) == [notification, notification]
        # Nobody waits for a batch.
        assert STATES[starts]["Resource"] == "arn:aws:states:::states:startExecution"


def test_every_way_that_ends_a_run_releases_the_lock() -> None:
    for name, state in STATES.items():
        for target in targets(state):
            if target in ("Notify?", "ListsAfterFailure?"):
                assert name in UNLOCKING
            if target == "NotifyFailure":
                assert name in ("ListsAfterFailure?", "StartListsAfterFailure")
            if target == "NotifySuccess":
                assert name in ("Lists?", "StartLists")
            if target == "Lists?":
                assert name == "Notify?"


def test_states_have_the_names_of_the_folders() -> None:
    folders = {path.name for path in (ROOT / "functions").iterdir() if path.is_dir()} - {"__pycache__"}
    assert {name.lower() for name in STEPS_IN_LAMBDA} - {"prove", "rollback"} <= folders
    for name in STEPS_IN_LAMBDA:
        assert STATES[name]["Arguments"]["FunctionName"] == f"${{{name}Function}}"
    for name in OF_THE_LOCK:
        assert STATES[name]["Arguments"]["FunctionName"] == "${LockFunction}"
    for name, step in ON_THE_STAGE.items():
        assert STATES[name]["Arguments"]["FunctionName"] == f"${{{step}Function}}"


def test_nothing_is_trained_or_published_without_passing_its_gate() -> None:
    def without(*gates: str) -> set[str]:
        seen, waiting = set(), [PIPELINE["StartAt"]]
        while waiting:
            name = waiting.pop()
            if name not in seen and name not in gates:
                seen.add(name)
                # A run continues only at a step that it has reached before.
                waiting.extend([STATES[name]["Default"]] if name == "WhichStep?" else targets(STATES[name]))
        return seen

    assert not without("Valid?") & {"Export", "Train", "Tune", "Publish"}
    assert not without("Better?") & {"Publish", "Prove"}
    assert "NotifySuccess" not in without("OnlyTables?", "TrainingWanted?", "Record")
    assert STATES["OnlyTables?"]["Choices"][0]["Condition"] == STATES["Notify?"]["Choices"][0]["Condition"]


def test_the_stage_s_endpoint_gets_a_model_only_after_its_proof_and_its_canary() -> None:
    reached, waiting = set(), ["Publish"]
    while waiting:
        name = waiting.pop()
        if name not in reached and name not in ("CanaryOver?", "LockHeld?", "Rollback"):
            reached.add(name)
            waiting.extend(targets(STATES[name]))
    assert "Canary" in reached
    assert not reached & {"Promote"}
    assert STATES["Publish"]["Arguments"]["Payload"]["target"] == "candidate"
    assert STATES["Prove"]["Arguments"]["Payload"]["target"] == "candidate"
    for name in ON_THE_STAGE:
        assert STATES[name]["Arguments"]["Payload"]["target"] == "stage"
        assert STATES[name]["Catch"][-1]["Next"] == "Rollback"


def test_every_expression_is_jsonata() -> None:
    found = list(expressions(PIPELINE))
    assert len(found) > 30
    for expression in found:
        jsonata.Jsonata(re.sub(r"\$\{\w+\}", "x", expression))


def test_every_placeholder_is_filled_in_by_the_template() -> None:
    given = template.load_resources()["Resources"]["Pipeline"]["Properties"]["DefinitionSubstitutions"]
    for placeholder in set(re.findall(r"\$\{(\w+)\}", TEXT)):
        assert placeholder in given, placeholder


def test_all_tries_of_a_training_job_share_checkpoints() -> None:
    for name in ("RetryCount", "RedriveCount", "job_failures"):
        assert name not in STATES["Train"]["Arguments"]["CheckpointConfig"]["S3Uri"]


def test_jobs_get_the_metrics_and_hyperparameters_of_the_training_program() -> None:
    tuning = STATES["Tune"]["Arguments"]
    jobs = [STATES["Train"]["Arguments"], tuning["TrainingJobDefinition"]]
    assert [job["AlgorithmSpecification"]["MetricDefinitions"] for job in jobs] == [METRIC_DEFINITIONS] * 2
    config = tuning["HyperParameterTuningJobConfig"]
    objective = config["HyperParameterTuningJobObjective"]["MetricName"]
    assert objective in {metric["Name"] for metric in METRIC_DEFINITIONS}
    searched = [one for ranges in config["ParameterRanges"].values() for one in ranges]
    for bound in ("MinValue", "MaxValue"):
        # The program accepts both ends of every range.
        parser().parse_args([text for one in searched for text in (f"--{one['Name']}", one[bound])])


def test_a_job_that_was_stopped_is_no_success() -> None:
    (choice,) = STATES["Trained?"]["Choices"]
    assert choice["Next"] == "Evaluate"
    assert "'Completed'" in choice["Condition"]
    assert "NotifyFailure" in reachable(STATES["Trained?"]["Default"])


@pytest.mark.parametrize("name", sorted(TASKS.keys() - AFTERWARDS - {"Lock"}))
def test_no_step_runs_in_a_try_that_has_not_asked_for_the_lock(name: str) -> None:
    guard = f"$redrives = {REDRIVES} ? "
    assert [text for text in expressions(TASKS[name]["Arguments"]) if guard in text and "$error(" in text]


def test_a_redriven_run_continues_at_the_step_that_failed_and_every_step_can_be_reached() -> None:
    continued = {choice["Next"] for choice in STATES["WhichStep?"]["Choices"]} | {
        STATES["WhichStep?"]["Default"]
    }
    for choice in STATES["WhichStep?"]["Choices"]:
        assert choice["Condition"] == f"{{% $resume = '{choice['Next']}' %}}"
    found = set()
    for name, task in TASKS.items():
        if name not in AFTERWARDS | {"Lock", "Rollback"}:
            resume = task["Catch"][-1]["Assign"]["resume"]
            undone = {"DescribeEndpoint", "Prove", "Canary", *ON_THE_STAGE}
            assert resume == ("Publish" if name in undone else name)
            found.add(resume)
    assert continued == found


def test_a_run_that_failed_is_no_dead_end() -> None:
    assert not [name for name, state in STATES.items() if state["Type"] == "Fail"]
    assert STATES["Failed"]["Next"] == "Lock"
    assert "Catch" not in STATES["Failed"]


def test_only_lock_decides_which_try_holds_the_lock() -> None:
    lock = STATES["Lock"]
    assert lock["Assign"]["redrives"] == lock["Catch"][0]["Assign"]["redrives"] == f"{{% {REDRIVES} %}}"
    assert [name for name, state in STATES.items() if "redrives" in state.get("Assign", {})] == ["Lock"]
    # LockHeld? would otherwise ask for the lock again and again.
    assert lock["Catch"][0]["Next"] == "UnlockAfterFailure"


def table_of_states() -> dict[str, list[str]]:
    """Return the cells of each row in README.md, by state."""
    readme = (ROOT / "statemachine" / "README.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in readme.partition("### With another runner")[0].splitlines()
        if line.startswith("| ") and not line.startswith("| State |")
    ]
    return {name: cells for name, *cells in rows}


def assigned(state: dict[str, Any]) -> set[str]:
    return set(state.get("Assign", {}))


VARIABLES = set().union(*(assigned(state) for state in STATES.values()))


def test_the_table_of_states_has_a_row_per_state_in_the_order_of_the_file() -> None:
    assert list(table_of_states()) == list(STATES)


@pytest.mark.parametrize("name", STATES)
def test_a_row_of_the_table_says_what_the_state_runs_reads_writes_and_where_a_failure_leads(
    name: str,
) -> None:
    runs, reads, writes, on_failure = table_of_states()[name]
    state = STATES[name]
    resource = state.get("Resource", "").removeprefix("arn:aws:states:::").removeprefix("aws-sdk:")
    if resource == "lambda:invoke":
        folder = re.fullmatch(r"`functions/(\w+)`", runs)
        assert folder is not None, f"{name} runs a Lambda: name its folder, not {runs!r}"
        expected = "lock" if name in OF_THE_LOCK else ON_THE_STAGE.get(name, name).lower()
        assert folder[1] == expected
        assert (ROOT / "functions" / folder[1]).is_dir()
    else:
        assert runs == (f"`{resource}`" if resource else "nothing")
    # README.md says once what every Catch assigns.
    without_catch = {key: value for key, value in state.items() if key != "Catch" or name == "Rollback"}
    used = {found for text in expressions(without_catch) for found in re.findall(r"\$(\w+)", text)}
    assert set(re.findall(r"`\$(\w+)`", reads)) == used & VARIABLES
    assert set(re.findall(r"`\$(\w+)`", writes)) == assigned(state)
    goes_wrong = [rule["Next"] for rule in state.get("Catch", [])]
    if state["Type"] == "Pass" and "failure" in assigned(state) and name != "Prepare":
        goes_wrong = [state["Next"]]
    if state["Type"] == "Task" and not goes_wrong:
        goes_wrong = ["ends the run"]
    assert on_failure == (goes_wrong[0] if goes_wrong else "none")
