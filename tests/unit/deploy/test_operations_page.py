"""make operations: the page of now in a file and on S3, and its signed address."""

from pathlib import Path
from typing import Any

import boto3
import pytest

from deploy import operations_page
from deploy.operations_page import build_page, settings_of
from deploy.stages import read_stage
from functions.platform.contract import OPERATIONS_PAGE_KEY
from testing.fakes import client_error
from testing.operations_services import NOW as NIGHT
from testing.operations_services import OperationsS3, Services, add_run, refuse

STAGE = read_stage("prod")
ACCOUNT = "123456789012"


class SigningS3(OperationsS3):
    """S3 that signs addresses."""

    def generate_presigned_url(self, operation: str, Params: dict[str, str], ExpiresIn: int) -> str:
        assert operation == "get_object"
        return f"https://{Params['Bucket']}/{Params['Key']}?expires={ExpiresIn}"


class Session:
    """boto3's session on the fakes."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def client(self, name: str, config: Any) -> Any:
        assert config.read_timeout <= 10
        return {
            "stepfunctions": self.services.states,
            "cloudwatch": self.services.cloudwatch,
            "sagemaker": self.services.sagemaker,
            "events": self.services.events,
            "s3": self.services.s3,
        }[name]


@pytest.fixture
def services() -> Services:
    made = Services(s3=SigningS3())
    add_run(made, NIGHT, 1)
    return made


def test_the_settings_are_those_of_the_lambda() -> None:
    settings = settings_of(STAGE, ACCOUNT)
    assert settings.state_machine_arn.endswith(":stateMachine:tugboat-prod-pipeline")
    assert settings.operations_minutes == STAGE.operations_minutes


def test_the_page_is_in_the_file_and_on_s3_and_its_address_is_signed(
    services: Services, tmp_path: Path
) -> None:
    built = build_page(STAGE, ACCOUNT, Session(services), tmp_path, hours=24)
    stored = services.s3.objects[STAGE.models_bucket(ACCOUNT), OPERATIONS_PAGE_KEY]
    assert built.path.read_bytes() == stored
    assert built.address == f"https://{STAGE.models_bucket(ACCOUNT)}/{OPERATIONS_PAGE_KEY}?expires=86400"
    printed = "\n".join(built.lines())
    assert "Is the shop well?" in printed
    assert "24 hours" in printed


@pytest.mark.parametrize(
    ("endpoint", "start"),
    [
        (None, "https://models.s3.eu-west-1.amazonaws.com/page?"),
        ("http://127.0.0.1:4566", "http://127.0.0.1:4566/models/page?"),
    ],
)
def test_an_address_is_signed_by_version_4_for_the_host_of_its_region(
    endpoint: str | None, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    session = boto3.Session("key", "secret", region_name="eu-west-1")
    s3 = session.client("s3", endpoint_url=endpoint, config=operations_page.SIGNING)
    address = s3.generate_presigned_url(
        "get_object", Params={"Bucket": "models", "Key": "page"}, ExpiresIn=60
    )
    assert address.startswith(start)
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in address


def test_who_may_not_write_to_s3_gets_the_file_and_a_note(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_object(**_: Any) -> None:
        raise client_error("AccessDenied")

    monkeypatch.setattr(services.s3, "put_object", put_object)
    built = build_page(STAGE, ACCOUNT, Session(services), tmp_path)
    assert built.path.read_text().startswith("<!doctype html>")
    assert "shows an older one" in built.lines()[-1]


def test_a_service_that_refuses_is_in_the_answer(services: Services, tmp_path: Path) -> None:
    services.states.before_call = refuse
    printed = "\n".join(build_page(STAGE, ACCOUNT, Session(services), tmp_path).lines())
    assert "Runs cannot be read: An error occurred (AccessDeniedException)" in printed


@pytest.mark.parametrize("hours", ["0", "169", "x"])
def test_hours_outside_a_week_are_refused(hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        operations_page.main(["--stage", "prod", "--hours", hours])
    assert "is not a number of hours from 1 to 168" in capsys.readouterr().err
