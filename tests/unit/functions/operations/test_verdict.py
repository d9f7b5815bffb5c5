"""The answer to "Is the shop well?"."""

from datetime import timedelta

from functions.operations.gather import gather
from functions.operations.model import Verdict
from functions.operations.verdict import judge
from testing.operations_services import (
    NOW,
    SETTINGS,
    Services,
    a_well_shop,
    add_alarm,
    add_run,
    add_traffic,
    add_warning,
    release,
)


def verdict(services: Services) -> Verdict:
    return judge(gather(SETTINGS, services.clients, NOW))


def test_a_well_shop_is_well() -> None:
    found = verdict(a_well_shop(3))
    assert (found.answer, found.reasons) == ("yes", [])


def test_reasons_are_ordered_by_their_weight_and_say_what_to_do() -> None:
    services = a_well_shop(3)
    failed = add_run(services, NOW - timedelta(hours=1), 9, fails_in="Transform", cause="a model failed")
    add_alarm(services, "no-events", "ALARM")
    found = verdict(services)
    assert (found.answer, found.sentence) == ("look", "Look here: 2 things.")
    assert [reason.text for reason in found.reasons] == [
        "The alarm no-events fires.",
        "The last run ended as FAILED in Transform with DbtFailed.",
    ]
    assert found.reasons[1].action == f"Correct the cause, then make rerun STAGE=prod RUN={failed.run_id}."


def test_one_reason_is_in_the_first_line() -> None:
    services = a_well_shop(3)
    services.sagemaker.endpoints["tugboat-prod-demo"]["EndpointStatus"] = "Failed"
    assert (
        verdict(services).sentence
        == "Look here: The endpoint tugboat-prod-demo is Failed, so the fallback answers."
    )


def test_an_endpoint_that_is_moving_is_no_reason() -> None:
    services = a_well_shop(3)
    services.sagemaker.endpoints["tugboat-prod-demo"] |= {
        "EndpointStatus": "Updating",
        "EndpointConfigName": "old",
    }
    assert verdict(services).answer == "yes"


def test_a_run_that_takes_much_longer_than_usual_is_a_reason() -> None:
    services = a_well_shop(3)
    slow = add_run(services, NOW - timedelta(hours=1), 9, running_in="Transform")
    (reason,) = verdict(services).reasons
    assert f"Run {slow.run_id} takes" in reason.text


def test_a_warning_of_the_gate_is_a_reason_until_a_newer_run_is_judged_without_it() -> None:
    services = a_well_shop(3)
    warned = add_run(services, NOW - timedelta(hours=1), 9)
    add_warning(services, warned, "lead of hr_at_20 (all) is -0.031, must be >= -0.02")
    (reason,) = verdict(services).reasons
    assert (
        reason.text == "The gate warns about the model: lead of hr_at_20 (all) is -0.031, must be >= -0.02."
    )
    assert warned.run_id in reason.action
    add_run(services, NOW - timedelta(minutes=30), 10)
    assert verdict(services).answer == "yes"


def test_a_run_of_usual_length_is_none() -> None:
    services = a_well_shop(3)
    add_run(services, NOW - timedelta(minutes=10), 9, running_in="Train")
    assert verdict(services).answer == "yes"


def test_a_run_is_compared_with_runs_of_its_own_kind() -> None:
    services = a_well_shop(3)
    for hours in (9, 8, 7):
        add_run(services, NOW - timedelta(hours=hours), 10 + hours, factor=0.1, skip_training=True)
    add_run(services, NOW - timedelta(minutes=10), 9, running_in="Train")
    assert verdict(services).answer == "yes"


def test_a_shop_without_a_model_is_not_well() -> None:
    services = Services()
    add_run(services, NOW - timedelta(hours=4), 1)
    (reason,) = verdict(services).reasons
    assert reason.text == "No model is published, so /recommend has nothing to answer with."
    assert reason.action == "make run STAGE=prod trains and publishes one."


def test_nights_without_a_success_are_a_reason_only_while_the_schedule_is_on() -> None:
    services = Services()
    release(services, add_run(services, NOW - timedelta(hours=40), 1))
    (reason,) = verdict(services).reasons
    assert reason.text.startswith("No run has succeeded since 2026-11-27 22:20 UTC")
    services.events.state = "DISABLED"
    assert verdict(services).answer == "yes"


def test_a_share_of_fallbacks_names_its_most_frequent_reason() -> None:
    services = a_well_shop(3)
    add_traffic(services, fallbacks_per_hour=100)
    (reason,) = verdict(services).reasons
    assert (
        reason.text
        == "The fallback answered 14% of the carousels of the last day, mostly because of timeout."
    )
