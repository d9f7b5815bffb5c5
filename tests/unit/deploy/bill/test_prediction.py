"""The prediction for the operations page: the bill's own lines, each with what it grows with."""

import json

import msgspec
import pytest

from deploy.bill.assumptions import read_assumptions
from deploy.bill.bill import predict, workload
from deploy.bill.prediction import SIZES, driver, prediction, quantities, upload
from deploy.bill.prices import or_default, read_prices
from deploy.stages import read_stage
from functions.operations.money import BASES, BY_TIME, Bill
from functions.platform.contract import OPERATIONS_BILL_KEY
from testing.fakes import FakeS3

STAGE = read_stage("prod")
PRICES, ASSUMED = read_prices("us-east-1"), read_assumptions()


def test_the_lambda_reads_what_the_deployment_writes() -> None:
    s3 = FakeS3()
    upload(STAGE, "models", s3)
    bill = msgspec.convert(json.loads(s3.objects["models", OPERATIONS_BILL_KEY]), Bill)
    assert [month.events for month in bill.months] == [0, *SIZES]
    expected = predict(STAGE, workload("", SIZES[1], ASSUMED), ASSUMED, or_default(STAGE.region)).usd
    assert bill.months[2].usd == pytest.approx(expected, abs=0.001)


def test_every_driver_is_a_quantity_with_words_on_the_page() -> None:
    bill = predict(STAGE, workload("", 1e8, ASSUMED), ASSUMED, PRICES)
    drivers = {driver(line) for line in bill.lines}
    assert drivers - {BY_TIME} <= quantities(bill.month).keys()
    assert drivers - {BY_TIME} <= BASES.keys()
    assert all(value > 0 for value in quantities(bill.month).values())


def test_most_of_a_large_shop_s_bill_follows_what_is_measured() -> None:
    lines = predict(STAGE, workload("", 1e8, ASSUMED), ASSUMED, PRICES).lines
    by_time = sum(line.usd for line in lines if driver(line) == BY_TIME)
    assert by_time < 0.3 * sum(line.usd for line in lines)


def test_a_stage_in_a_region_without_a_price_list_has_the_default_s() -> None:
    assert prediction(STAGE, or_default("eu-north-1"), ASSUMED)["prices"].startswith("us-east-1")
