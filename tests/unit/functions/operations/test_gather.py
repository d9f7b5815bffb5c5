"""The content of the page, from services that page, refuse and hang."""

import json
from datetime import timedelta

import msgspec
import pytest

from functions.operations import gather as gathering
from functions.operations.gather import gather
from functions.operations.page import render
from functions.operations.verdict import judge
from functions.platform.contract import (
    EVALUATIONS_PREFIX,
    OPERATIONS_RUNS_KEY,
    RAW_PREFIX,
    REJECTED_PREFIX,
    VALIDATION_LATEST_PREFIX,
)
from functions.platform.settings import ShopIds
from testing.fakes import client_error
from testing.operations_services import (
    EVENTS_BUCKET,
    IMAGE,
    MODELS_BUCKET,
    NOW,
    SETTINGS,
    Services,
    a_well_shop,
    add_alarm,
    add_batch,
    add_run,
    add_shop,
    hang,
    refuse,
    release,
)

PARTS = ("runs", "schedule", "serving", "metrics", "data", "batches", "alarms", "money")


def problems(services: Services) -> dict[str, str]:
    page = gather(SETTINGS, services.clients, NOW)
    return {name: getattr(page, name).problem for name in PARTS if getattr(page, name).problem}


def test_a_run_has_its_tries_its_artifacts_and_its_verdict() -> None:
    services = Services()
    run = add_run(services, NOW - timedelta(hours=2), 3, retried="Load")
    page = gather(SETTINGS, services.clients, NOW)
    assert page.runs.value is not None
    (found,) = page.runs.value.newest
    assert (found.run_id, found.status, found.started_by) == (run.run_id, "SUCCEEDED", "schedule")
    assert [step.tries for step in found.steps if step.name == "Load"] == [2]
    assert found.training is not None
    assert (found.training.image, found.training.instance) == (IMAGE, "ml.m5.xlarge")
    assert found.training.billed_seconds < found.training.seconds
    assert found.training.settings == {"epochs": "10", "learning_rate": "0.003"}
    assert found.snapshot is not None
    assert found.snapshot["snapshot_id"] == run.run_id
    assert found.evaluation is not None
    assert [epoch.epoch for epoch in found.evaluation.curve] == [1, 2, 3, 4, 5, 6]
    assert "curve" not in found.evaluation.settings
    assert found.published is not None
    assert (found.published.config, found.published.overlap) == (f"tugboat-prod-demo--{run.run_id}", 1.0)


def test_a_finished_run_is_read_once_and_a_redriven_one_again() -> None:
    services = Services()
    runs = [add_run(services, NOW - timedelta(days=day), day) for day in (3, 2, 1)]
    first = gather(SETTINGS, services.clients, NOW)
    assert len(services.states.histories_read) > 3  # several pages each
    services.states.histories_read.clear()
    assert gather(SETTINGS, services.clients, NOW).runs == first.runs
    assert services.states.histories_read == []
    assert runs[1].ended is not None
    runs[1].ended += timedelta(hours=1)
    gather(SETTINGS, services.clients, NOW)
    assert set(services.states.histories_read) == {runs[1].arn}


def test_a_run_that_has_not_ended_is_not_kept() -> None:
    services = Services()
    add_run(services, NOW - timedelta(minutes=5), 1, running_in="Train")
    gather(SETTINGS, services.clients, NOW)
    services.states.histories_read.clear()
    page = gather(SETTINGS, services.clients, NOW)
    assert services.states.histories_read != []
    assert page.runs.value is not None
    assert page.runs.value.newest[0].steps[-1].ended_at is None


def test_of_thousands_of_runs_the_newest_are_read() -> None:
    services = Services()
    for number in range(1_200):
        run = add_run(services, NOW - timedelta(minutes=30 * number), number, running_in="Lock")
        run.status = "ABORTED"
        run.ended = run.started + timedelta(seconds=3)
    page = gather(SETTINGS, services.clients, NOW)
    assert page.runs.value is not None
    assert len(page.runs.value.newest) == 30
    assert len(page.runs.value.month) == 1_000
    assert len(set(services.states.histories_read)) == 30


def test_a_history_that_is_gone_leaves_the_run_with_a_note() -> None:
    services = Services()
    run = add_run(services, NOW - timedelta(hours=2))
    run.history = []
    page = gather(SETTINGS, services.clients, NOW)
    assert page.runs.value is not None
    assert page.runs.value.newest[0].note == "Step Functions has no history of it."
    assert (MODELS_BUCKET, OPERATIONS_RUNS_KEY) not in services.s3.objects


def test_an_evaluation_that_cannot_be_read_takes_only_itself_away() -> None:
    services = Services()
    run = add_run(services, NOW - timedelta(hours=2))
    add_run(services, NOW - timedelta(hours=4), 1)
    services.s3.put(
        MODELS_BUCKET, f"{EVALUATIONS_PREFIX}{run.run_id}/evaluation.json", {"checks": [{"name": 3}]}
    )
    page = gather(SETTINGS, services.clients, NOW)
    assert page.runs.value is not None
    newest, before = page.runs.value.newest
    assert newest.note.startswith("Its evaluation.json cannot be read:")
    assert newest.published is not None
    assert before.evaluation is not None


def test_kept_runs_of_another_release_are_read_again() -> None:
    services = Services()
    add_run(services, NOW - timedelta(hours=2))
    services.s3.put(MODELS_BUCKET, OPERATIONS_RUNS_KEY, [{"run": "of another form"}])
    page = gather(SETTINGS, services.clients, NOW)
    assert page.runs.value is not None
    assert page.runs.value.newest[0].status == "SUCCEEDED"


def test_without_any_run_model_and_traffic_every_part_is_readable_and_empty() -> None:
    assert problems(Services()) == {}
    page = gather(SETTINGS, Services().clients, NOW)
    assert page.metrics.value is not None
    assert page.metrics.value.total("recommendations") is None
    assert page.metrics.value.share("fallbacks", "recommendations") is None
    assert judge(page).answer == "unknown"


def test_a_service_that_refuses_takes_only_its_part_away_and_the_kept_runs_are_shown() -> None:
    services = a_well_shop(2)
    before = gather(SETTINGS, services.clients, NOW)
    services.states.before_call = refuse
    page = gather(SETTINGS, services.clients, NOW)
    assert problems(services).keys() == {"runs", "batches"}
    assert "not authorized" in page.runs.problem
    assert before.runs.value is not None
    assert page.runs.value is not None
    assert page.runs.value.newest == before.runs.value.newest
    of_runs, of_batches = judge(page).reasons
    assert of_runs.text.startswith("Runs cannot be read:")
    assert of_batches.text.startswith("Lists for mail cannot be read:")


def test_a_service_that_hangs_costs_no_more_than_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "PART_S", 0.3)
    services = a_well_shop(1)
    services.cloudwatch.before_call = hang(2.0)
    assert problems(services) == {"metrics": "no answer within 0 s.", "alarms": "no answer within 0 s."}


def test_the_newest_file_of_a_stream_is_found_without_listing_the_lake() -> None:
    services = a_well_shop(1)
    for day in range(1, 29):
        for hour in range(24):
            services.s3.put(
                EVENTS_BUCKET, f"{RAW_PREFIX}2026/10/{day:02}/{hour:02}/old.gz", {}, NOW - timedelta(days=40)
            )
    page = gather(SETTINGS, services.clients, NOW)
    assert page.data.value is not None
    times = {place.name: place.at for place in page.data.value.places}
    assert times[f"{RAW_PREFIX} on S3"] == NOW - timedelta(minutes=1)
    assert times[f"{REJECTED_PREFIX} on S3"] == NOW - timedelta(hours=29)
    assert times["endpoint"] is not None


def test_a_summary_of_another_version_is_left_out() -> None:
    services = a_well_shop(1)
    services.s3.put(MODELS_BUCKET, f"{VALIDATION_LATEST_PREFIX}odd.json", {"shop_id": 7})
    page = gather(SETTINGS, services.clients, NOW)
    assert page.data.value is not None
    assert [shop.shop_id for shop in page.data.value.shops] == ["demo"]


def test_an_alarm_has_the_time_of_its_last_firing() -> None:
    services = Services()
    add_alarm(services, "events-late", fired=NOW - timedelta(days=3))
    add_alarm(services, "no-events", "ALARM")
    add_alarm(services, "quiet")
    services.cloudwatch.alarms.append({**services.cloudwatch.alarms[0], "AlarmName": "another-stage-alarm"})
    alarms = gather(SETTINGS, services.clients, NOW).alarms.value
    assert alarms is not None
    assert [(one.name, one.last_fired) for one in alarms.alarms] == [
        ("no-events", NOW - timedelta(hours=2)),
        ("events-late", NOW - timedelta(days=3)),
        ("quiet", None),
    ]


def test_without_a_history_of_the_alarms_their_states_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    services = Services()
    add_alarm(services, "no-events")

    def unknown(**_: object) -> None:
        raise client_error("InvalidAction", "unknown")

    monkeypatch.setattr(services.cloudwatch, "describe_alarm_history", unknown)
    alarms = gather(SETTINGS, services.clients, NOW).alarms.value
    assert alarms is not None
    assert len(alarms.alarms) == 1
    assert "no history" in alarms.history_problem


def test_metrics_are_read_once_each_and_by_reason_only_if_they_exist() -> None:
    services = a_well_shop(1)
    page = gather(SETTINGS, services.clients, NOW)
    assert services.cloudwatch.metrics_read == 19 + 4
    assert page.metrics.value is not None
    assert page.metrics.value.refused == {"unknown_key": 120, "event_too_old": 72}
    assert page.metrics.value.fallbacks == {"timeout": 48}
    assert page.metrics.value.total("api_5xx") is None
    assert page.metrics.value.month["accepted"] > (page.metrics.value.total("accepted") or 0) > 0


def test_the_shops_are_those_that_validate_wrote() -> None:
    services = a_well_shop(1)
    add_shop(services, "second", services.states.executions[0], failed="volume of the newest day")
    page = gather(SETTINGS, services.clients, NOW)
    assert page.data.value is not None
    second = page.data.value.shops[1]
    assert (second.verdict, second.refusals.by_reason["unknown_key"]) == ("failed", 90)
    assert [reason.text for reason in judge(page).reasons] == [
        "Data checks of shop second failed: volume of the newest day."
    ]


def test_a_release_that_the_endpoint_does_not_serve_is_seen() -> None:
    services = a_well_shop(2)
    release(services, services.states.executions[-1], served="tugboat-prod-of-somebody")
    page = gather(SETTINGS, services.clients, NOW)
    assert page.serving.value is not None
    (serving,) = page.serving.value
    assert not serving.agrees
    (reason,) = judge(page).reasons
    assert (reason.weight, reason.link) == (1, "#serving")
    assert "tugboat-prod-of-somebody" in reason.text


def test_the_newest_batch_of_each_shop_says_why_there_are_no_lists() -> None:
    services = Services()
    lists = {"clients": 3, "rows": 60, "model_version": "m1"}
    add_batch(
        services, NOW - timedelta(days=2), {"shop_id": "new"}, status="SUCCEEDED", output=json.dumps(lists)
    )
    add_batch(services, NOW - timedelta(days=1), {}, status="SUCCEEDED", output=json.dumps(lists))
    skipped = {"clients": 0, "rows": 0, "model_version": "", "skipped": "Shop new has no model yet."}
    add_batch(
        services, NOW - timedelta(hours=2), {"shop_id": "new"}, status="SUCCEEDED", output=json.dumps(skipped)
    )
    cause = json.dumps({"errorMessage": "shop lost has had a model", "errorType": "ModelLost"})
    failed = {"status": "FAILED", "error": "ModelLost", "cause": f"Histories: {cause}"}
    add_batch(services, NOW - timedelta(hours=1), {"shop_id": "lost"}, **failed)
    settings = msgspec.structs.replace(SETTINGS, trained_shops=ShopIds(("demo", "new", "lost")))
    page = gather(settings, services.clients, NOW)
    assert page.batches.value is not None
    found = [(one.shop_id, one.status, one.clients, one.reason) for one in page.batches.value]
    assert found == [
        ("lost", "FAILED", None, "ModelLost: Histories: shop lost has had a model"),
        ("new", "SKIPPED", 0, "Shop new has no model yet."),
        ("demo", "SUCCEEDED", 3, ""),
    ]
    document = render(page, judge(page))
    assert "no model yet</span>" in document
    assert "Shop new has no model yet." in document
