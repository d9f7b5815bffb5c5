"""Checks of the account: each missing prerequisite is found, and its fix is named."""

import dataclasses

import boto3
import pytest
from botocore.stub import Stubber

from deploy.preflight import account
from deploy.stages import read_stage

DEV = dataclasses.replace(read_stage("dev"), account_id="123456789012", shops={"demo": ["a-key-of-demo"]})
IDENTITY = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/ada", "UserId": "AIDA"}


def test_credentials_of_another_account_fail() -> None:
    found = account.check_caller(DEV, IDENTITY | {"Account": "999999999999"})
    assert found.outcome == "failed"
    assert "999999999999" in found.found
    assert "AWS_PROFILE" in found.fix


def test_a_stage_without_an_account_id_is_a_warning_with_the_line_to_write() -> None:
    found = account.check_caller(dataclasses.replace(DEV, account_id=""), IDENTITY)
    assert found.outcome == "warning"
    assert 'account_id = "123456789012"' in found.fix


def test_the_stages_own_account_passes() -> None:
    assert account.check_caller(DEV, IDENTITY).outcome == "passed"


def test_a_shop_without_a_key_fails_and_an_empty_address_is_a_warning() -> None:
    found = account.check_settings(dataclasses.replace(DEV, shops={"demo": []}, notification_email=""))
    assert [one.outcome for one in found] == ["failed", "warning"]
    assert "[dev.shops]" in found[0].fix


def test_a_region_without_a_training_image_fails_with_the_command_that_adds_it() -> None:
    (found,) = account.check_region(dataclasses.replace(DEV, region="xx-nowhere-1"), "xx-nowhere-1")
    assert found.outcome == "failed"
    assert "make training-images" in found.fix


def test_a_profile_in_another_region_is_a_warning() -> None:
    found = account.check_region(DEV, "eu-west-1")
    assert [one.outcome for one in found] == ["passed", "warning"]
    assert "AWS_DEFAULT_REGION=us-east-1" in found[1].fix


@pytest.mark.parametrize(
    ("status", "outcome", "says"),
    [(404, "passed", "free"), (403, "failed", "another account"), (301, "failed", "another region")],
)
def test_a_bucket_name_is_free_or_taken(status: int, outcome: str, says: str) -> None:
    s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(s3) as stub:
        stub.add_client_error("head_bucket", service_error_code=str(status), http_status_code=status)
        found = account.check_bucket("tugboat-dev-events-123456789012", s3)
    assert found.outcome == outcome
    assert says in found.found


def test_an_own_bucket_passes() -> None:
    s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(s3) as stub:
        stub.add_response("head_bucket", {})
        assert account.check_bucket("tugboat-dev-events-123456789012", s3).outcome == "passed"
