"""The estimate of the month's bill, against hand-worked examples."""

from datetime import UTC, datetime, timedelta

import pytest

from functions.operations.gather import gather
from functions.operations.money import Bill, Line, Prediction, estimate
from functions.platform.contract import OPERATIONS_BILL_KEY
from testing.operations_services import MODELS_BUCKET, NOW, SETTINGS, Services, a_well_shop, add_run

MIDDLE = datetime(2026, 11, 16, tzinfo=UTC)  # half of the month has passed
IDLE = Prediction(0, {}, [Line("Alarms", "all", 2.0, "time")])
SMALL = Prediction(
    100_000,
    {"events": 100_000, "train_s": 3000},
    [
        Line("Alarms", "all", 2.0, "time"),
        Line("Firehose", "in", 10.0, "events"),
        Line("Jobs", "train", 3.0, "train_s"),
    ],
)
LARGE = Prediction(
    1_000_000,
    {"events": 1_000_000, "train_s": 3000},
    [
        Line("Alarms", "all", 2.0, "time"),
        Line("Firehose", "in", 100.0, "events"),
        Line("Jobs", "train", 3.0, "train_s"),
    ],
)
BILL = Bill("us-east-1, 2026-11-29", 50, [IDLE, SMALL, LARGE])


def test_a_line_costs_its_prediction_times_the_measured_quantity_by_the_predicted_one() -> None:
    money = estimate(BILL, {"events": 50_000, "train_s": 4500}, MIDDLE)
    assert {line.item: line.so_far for line in money.lines} == {"in": 5.0, "train": 4.5, "all": 1.0}
    assert money.so_far == pytest.approx(10.5)


def test_the_prediction_is_that_of_as_many_events_for_the_part_of_the_month_that_has_passed() -> None:
    money = estimate(BILL, {"events": 50_000}, MIDDLE)
    assert money.month_events == pytest.approx(100_000)
    assert [money.month_predicted, money.predicted] == pytest.approx([15.0, 7.5])
    between = estimate(BILL, {"events": 275_000}, MIDDLE)
    assert between.month_predicted == pytest.approx(60.0)
    beyond = estimate(BILL, {"events": 1_000_000}, MIDDLE)
    assert beyond.month_predicted == pytest.approx(205.0)


def test_a_quantity_that_is_not_measured_counts_as_predicted_and_says_so() -> None:
    money = estimate(BILL, {"events": 50_000}, MIDDLE)
    (train,) = (line for line in money.lines if line.item == "train")
    assert (train.so_far, train.basis) == (1.5, "not measured: as predicted")


def test_a_shop_that_begins_costs_what_is_predicted_for_its_few_events() -> None:
    money = estimate(BILL, {"events": 500}, MIDDLE)
    assert money.so_far == pytest.approx(money.predicted)
    assert money.month_predicted == pytest.approx(2.0 + 0.01 * 13.0)


def test_without_events_the_bill_is_that_of_the_idle_stage() -> None:
    money = estimate(BILL, {}, MIDDLE)
    assert (money.so_far, money.month_events) == (1.0, None)


def test_before_a_deployment_wrote_the_prediction_there_is_no_estimate() -> None:
    page = gather(SETTINGS, a_well_shop(1).clients, NOW)
    assert (page.money.value, page.money.problem) == (None, "")


def test_a_prediction_of_another_form_is_a_problem_of_this_part() -> None:
    services = a_well_shop(1)
    services.s3.put(MODELS_BUCKET, OPERATIONS_BILL_KEY, {"lines": 3})
    assert "another form" in gather(SETTINGS, services.clients, NOW).money.problem


def test_runs_of_the_month_without_a_digest_count_as_the_mean_of_the_others() -> None:
    services = Services()
    for number in range(40):
        add_run(services, NOW - timedelta(hours=2 + number), number, factor=1.0)
    add_run(services, NOW - timedelta(days=40), 99)
    services.s3.put(
        MODELS_BUCKET,
        OPERATIONS_BILL_KEY,
        {
            "prices": "p",
            "budget_usd": 0,
            "months": [
                {
                    "events": 0,
                    "quantities": {"runs": 10},
                    "lines": [{"service": "SNS", "item": "mails", "usd": 1.0, "driver": "runs"}],
                }
            ],
        },
    )
    money = gather(SETTINGS, services.clients, NOW).money.value
    assert money is not None
    assert money.so_far == pytest.approx(4.0)
