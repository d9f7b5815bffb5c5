"""The cost of one step by list prices, worked by hand."""

import dataclasses

import pytest

from deploy.bill import step_costs as costs
from deploy.bill.prices import read_prices
from deploy.stages import read_stage

DEV = read_stage("dev")
PRICES = read_prices("us-east-1")


def test_a_lambda_state_costs_its_seconds_times_its_memory() -> None:
    # 100 s x 0.5 GB x $0.0000166667
    assert costs.of_step(DEV, PRICES, "Publish", 100).usd == pytest.approx(0.000833335)


def test_a_warehouse_state_also_costs_the_credits_of_its_seconds() -> None:
    # 36 s x 1 GB x $0.0000166667, and a hundredth of an hour at one credit of $2
    assert costs.of_step(DEV, PRICES, "Load", 36).usd == pytest.approx(0.0006 + 0.02, rel=1e-4)
    # A medium warehouse has four credits per hour.
    medium = dataclasses.replace(DEV, warehouse_size="MEDIUM")
    assert costs.of_step(medium, PRICES, "Load", 36).usd == pytest.approx(0.0006 + 0.08, rel=1e-4)


def test_a_step_with_a_warehouse_of_its_own_costs_the_credits_of_that_size() -> None:
    # 36 s x 2 GB x $0.0000166667, and a hundredth of an hour at eight credits of $2.
    large = dataclasses.replace(DEV, transform_warehouse_size="LARGE")
    assert costs.of_step(large, PRICES, "Transform", 36).usd == pytest.approx(0.0012 + 0.16, rel=1e-4)
    assert costs.of_step(large, PRICES, "Load", 36).usd == pytest.approx(0.0006 + 0.02, rel=1e-4)


def test_a_step_that_runs_as_a_job_costs_its_machine_and_the_credits() -> None:
    # Three started minutes at $0.005, and 0.04 hours at one credit of $2.
    build = dataclasses.replace(DEV, runner="codebuild")
    assert costs.of_step(build, PRICES, "Validate", 144).usd == pytest.approx(0.015 + 0.08)
    # 144 s of an ml.m5.large at $0.115.
    job = dataclasses.replace(DEV, runner="sagemaker-processing", processing_instance_type="ml.m5.large")
    assert costs.of_step(job, PRICES, "Validate", 144).usd == pytest.approx(0.0046 + 0.08)
    # Load and Publish are Lambdas with every runner.
    assert costs.of_step(job, PRICES, "Publish", 100) == costs.of_step(DEV, PRICES, "Publish", 100)


def test_a_job_costs_its_seconds_of_its_instance_and_an_unknown_instance_has_no_price() -> None:
    assert costs.of_job(PRICES, "ml.m5.xlarge", 1800).usd == pytest.approx(0.115)
    unknown = costs.of_job(PRICES, "ml.p9.xlarge", 1800)
    assert unknown.usd is None
    assert "deploy/bill/prices" in unknown.formula


def test_requests_cost_the_gateway_the_lambda_and_the_serverless_endpoint() -> None:
    gateway_and_lambda = 1000 * (3.5e-6 + 2e-7 + 0.1 * 1 * 1.66667e-5)
    assert costs.of_requests(DEV, PRICES, 1000, 0.1).usd == pytest.approx(gateway_and_lambda)
    endpoint = 1000 * 0.1 * 3 * 2e-5
    served = costs.of_requests(DEV, PRICES, 1000, 0.1, served=True).usd
    assert served == pytest.approx(gateway_and_lambda + endpoint)
    realtime = dataclasses.replace(DEV, endpoint_kind="realtime")
    assert costs.of_requests(realtime, PRICES, 1000, 0.1, served=True).usd == pytest.approx(
        gateway_and_lambda
    )


def test_firehose_rounds_the_record_of_each_request_up_to_five_kilobytes() -> None:
    # 1,048,576 requests of 1 KB are 5 GB, and of 6 KB 10 GB, at $0.029.
    requests = 1024 * 1024
    assert costs.of_delivery(PRICES, requests, requests * 1024.0).usd == pytest.approx(5 * 0.029)
    assert costs.of_delivery(PRICES, requests, requests * 6 * 1024.0).usd == pytest.approx(10 * 0.029)
    assert costs.of_delivery(PRICES, 0, 0).usd == 0
