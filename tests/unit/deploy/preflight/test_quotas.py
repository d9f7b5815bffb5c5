"""Checks of quotas: names are those of Service Quotas, and a missing increase comes with its command."""

import dataclasses
from dataclasses import replace
from typing import Any

import boto3
from botocore.stub import Stubber

from deploy.preflight import quotas
from deploy.preflight.finding import Finding
from deploy.stages import Stage, read_stage

PROD = read_stage("prod")


def _quota(service: str, name: str, value: float) -> dict[str, Any]:
    return {"ServiceCode": service, "QuotaCode": "L-12345678", "QuotaName": name, "Value": value}


def _found(stage: Stage, applied: dict[str, dict[str, float]]) -> dict[str, Finding]:
    """Check a stage against quotas per service and name, served by a stubbed Service Quotas."""
    client = boto3.client(
        "service-quotas", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(client) as stub:
        for service in dict.fromkeys(need.service for need in quotas.needs(stage)):
            rows = [_quota(service, name, value) for name, value in applied.get(service, {}).items()]
            stub.add_response("list_aws_default_service_quotas", {"Quotas": []}, {"ServiceCode": service})
            # Two pages: an account has some hundred quotas of SageMaker.
            stub.add_response(
                "list_service_quotas",
                {"Quotas": rows[:1], "NextToken": "next"},
                {"ServiceCode": service},
            )
            stub.add_response(
                "list_service_quotas", {"Quotas": rows[1:]}, {"ServiceCode": service, "NextToken": "next"}
            )
        found = list(quotas.check_quotas(stage, client))
        stub.assert_no_pending_responses()
    return {one.subject: one for one in found}


ENOUGH: dict[str, dict[str, float]] = {
    "lambda": {"Concurrent executions": 1000.0},
    "sagemaker": {
        "ml.g5.xlarge for spot training job usage": 1.0,
        "ml.m5.xlarge for processing job usage": 4.0,
        "Maximum total concurrency that can be allocated across all serverless endpoints": 200.0,
    },
    "codebuild": {"Concurrently running builds for Linux/Small environment": 5.0},
}


def test_enough_of_everything_passes() -> None:
    assert {one.outcome for one in _found(PROD, ENOUGH).values()} == {"passed"}


def test_a_new_account_fails_in_each_quota_and_gets_the_command_that_asks_for_more() -> None:
    little = {service: dict.fromkeys(names, 0.0) for service, names in ENOUGH.items()}
    found = _found(PROD, little)
    assert {one.outcome for one in found.values()} == {"failed"}
    assert (
        "--service-code sagemaker --quota-code L-12345678 --desired-value 1 " in found["quota for Train"].fix
    )


def test_an_unlisted_quota_is_unchecked_and_not_passed() -> None:
    found = _found(PROD, ENOUGH | {"codebuild": {}})
    assert found["quota for the image build"].outcome == "unchecked"


def test_on_demand_training_and_a_realtime_endpoint_have_quotas_of_their_own() -> None:
    stage = dataclasses.replace(PROD, use_spot=False, endpoint_kind="realtime")
    names = [need.name for need in quotas.needs(stage)]
    assert "ml.g5.xlarge for training job usage" in names
    assert f"{stage.endpoint_instance_type} for endpoint usage" in names


def test_a_caller_who_may_not_ask_gets_unchecked_rows_with_what_to_look_up() -> None:
    client = boto3.client(
        "service-quotas", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with Stubber(client) as stub:
        for _ in range(3):
            stub.add_client_error("list_aws_default_service_quotas", "AccessDeniedException", "no")
        found = list(quotas.check_quotas(PROD, client))
    assert {one.outcome for one in found} == {"unchecked"}
    assert all("servicequotas:ListServiceQuotas" in one.fix for one in found)


def test_several_shops_need_quotas_for_all_endpoints_and_for_the_runs_at_the_same_time() -> None:
    shops = {f"shop{number}": [f"key-of-shop-{number}"] for number in range(6)}
    stage = replace(read_stage("dev"), shops=shops, shops_at_once=2)
    wanted = {need.purpose: need.minimum for need in quotas.needs(stage)}
    assert (wanted["Train"], wanted["Evaluate"]) == (2, 2)
    assert wanted["the serverless endpoints"] == (6 + 2) * stage.endpoint_max_concurrency
    realtime = {need.purpose: need.minimum for need in quotas.needs(replace(stage, endpoint_kind="realtime"))}
    assert realtime["the real-time endpoints"] == (6 + 2 * 2) * stage.endpoint_min_instances
