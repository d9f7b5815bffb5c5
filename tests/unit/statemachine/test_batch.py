"""The structure of the state machine that makes the lists for mail."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import contracts
from deploy import template
from tests.unit.statemachine.test_expressions import EVENT_BRIDGE_NAME, context, evaluate
from tests.unit.statemachine.test_pipeline import expressions, targets
from training_jobs.package import build_source_archive

DEFINITION: dict[str, Any] = json.loads(template.BATCH_FILE.read_text())
STATES: dict[str, dict[str, Any]] = DEFINITION["States"]
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}


def test_every_transition_leads_to_a_state_and_every_state_is_reached() -> None:
    seen, waiting = set(), [DEFINITION["StartAt"]]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(targets(STATES[name]))
    assert seen == STATES.keys()


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_has_a_time_limit_retries_and_a_catch(name: str) -> None:
    task = TASKS[name]
    assert task["TimeoutSeconds"] > 0
    assert task["Retry"][0]["BackoffRate"] > 1
    assert task["Catch"][-1]["ErrorEquals"] == ["States.ALL"]


def test_whoever_holds_the_lock_releases_it_before_the_end() -> None:
    for name, state in STATES.items():
        for target in targets(state):
            if target == "NotifyFailure":
                assert name in ("AlreadyRunning", "UnlockAfterFailure")
            if target == "Made":
                assert name == "Unlock"


def test_a_state_reads_no_field_that_a_step_does_not_return() -> None:
    results = contracts.read("step_results")
    text = json.dumps(STATES)
    for variable in ("histories", "answers", "batch", "lock"):
        assert set(re.findall(rf"\${variable}\.(\w+)", text)) <= results[variable].keys(), variable


def test_every_variable_has_a_value_before_it_is_read() -> None:
    assigned = {"states"} | {name for state in STATES.values() for name in state.get("Assign", {})}
    assigned |= {
        name for state in STATES.values() for one in state.get("Catch", []) for name in one.get("Assign", {})
    }
    read = {name for text in expressions(STATES) for name in re.findall(r"\$([a-z_]\w*)\b(?!\()", text)}
    assert read <= assigned


def test_the_job_runs_an_entry_script_of_the_package_under_a_name_of_the_run() -> None:
    import gzip
    import io
    import tarfile

    packed, _ = build_source_archive()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as archive:
        names = archive.getnames()
    script = STATES["Score"]["Arguments"]["AppSpecification"]["ContainerEntrypoint"][1]
    assert script.rpartition("/")[2] in names
    given = context(EVENT_BRIDGE_NAME)
    run_id = evaluate(STATES["Prepare"]["Assign"]["run_id"], given)
    name = evaluate(STATES["Score"]["Arguments"]["ProcessingJobName"], given, run_id=run_id)
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateProcessingJob.html
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name)


def test_the_options_have_defaults_that_mean_the_stage_s_settings() -> None:
    options = STATES["Prepare"]["Assign"]["options"]
    given = context(EVENT_BRIDGE_NAME) | {"input": {"days": 7}}
    of_stage = {"items": 0, "placement": "home", "wait": False, "shop_id": "${FirstShop}"}
    assert evaluate(options, given) == of_stage | {"days": 7}
    given["input"] = {"shop_id": "second", "wait": True}
    assert evaluate(options, given) == of_stage | {"days": 0, "shop_id": "second", "wait": True}


def test_only_a_batch_of_a_night_waits_for_its_turn_and_not_for_ever() -> None:
    acquired, waits = (one["Condition"] for one in STATES["OnlyRun?"]["Choices"])
    now = context(EVENT_BRIDGE_NAME)
    now["context"]["Execution"]["StartTime"] = datetime.now(UTC).isoformat(timespec="milliseconds")
    assert not evaluate(acquired, now, lock={"acquired": False})
    assert evaluate(waits, now, options={"wait": True})
    assert not evaluate(waits, now, options={"wait": False})
    # The first shop of a night waits for the last one.
    before = datetime.now(UTC) - timedelta(hours=23)
    now["context"]["Execution"]["StartTime"] = before.isoformat(timespec="milliseconds")
    assert evaluate(waits, now, options={"wait": True})
    long_ago = datetime.now(UTC) - timedelta(hours=25)
    now["context"]["Execution"]["StartTime"] = long_ago.isoformat(timespec="milliseconds")
    assert not evaluate(waits, now, options={"wait": True})
    # It waits as long as this, and then works as long as its job may.
    job_s = STATES["Score"]["TimeoutSeconds"]
    assert DEFINITION["TimeoutSeconds"] > 24 * 3600 + job_s + 2 * STATES["Histories"]["TimeoutSeconds"]


def test_a_batch_that_waits_for_a_day_keeps_within_the_history_of_an_execution() -> None:
    # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
    events_per_look = 9
    assert 24 * 3600 / STATES["WaitForTurn"]["Seconds"] * events_per_look < 25_000 * 0.6


def test_a_shop_without_a_model_yet_has_no_lists_and_no_failure() -> None:
    (rule,) = STATES["Model?"]["Choices"]
    assert evaluate(rule["Condition"], {}, histories={"has_model": False}) is True
    assert evaluate(rule["Condition"], {}, histories={"has_model": True}) is False
    state = STATES[rule["Next"]]
    skipped = evaluate(state["Assign"]["batch"]["skipped"], {}, histories={"shop_id": "new"})
    assert skipped == "Shop new has no model yet: the first run that publishes one makes lists possible."
    assert state["Assign"]["batch"].keys() == contracts.read("step_results")["batch"].keys() | {"skipped"}
    assert (state["Next"], STATES["Unlock"]["Next"], STATES["Made"]["Output"]) == (
        "Unlock",
        "Made",
        "{% $batch %}",
    )


def test_a_batch_holds_the_locks_of_its_shop_s_run() -> None:
    for name in ("Lock", "Unlock", "UnlockAfterFailure"):
        assert STATES[name]["Arguments"]["Payload"]["shop_id"] == "{% $options.shop_id %}", name
