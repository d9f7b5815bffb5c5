"""A smoke test replaces no model that shoppers are served by, and asks for a key of its own shop."""

import json

import pytest

from demo.environment import Environment
from demo.http import Http
from demo.smoke import marker
from demo.smoke.__main__ import main
from demo.smoke.result import StepFailed
from demo.smoke.steps import Smoke, require_replaceable
from deploy.bill.prices import read_prices
from deploy.stages import read_stage
from functions.platform.releases import Release
from functions.platform.s3_keys import current_key
from testing.fakes import FakeS3

LOCAL = read_stage("local")
BUCKET = LOCAL.models_bucket(LOCAL.account_id)
RELEASE = Release(
    "tugboat-local", "config", "model", "version-1", "s3://b/k", "snapshot", "run", "2026-01-01", "smoke"
)


class _Stage(Environment):
    """An environment whose S3 is a fake."""

    s3 = FakeS3()

    def client(self, service: str, config: object = None) -> object:
        assert service == "s3"
        return self.s3


def _smoke(s3: FakeS3) -> Smoke:
    where = _Stage("local", "http://x", "us-east-1", None, {"smoke": "key"})
    object.__setattr__(where, "s3", s3)
    return Smoke(where, LOCAL, LOCAL.account_id, "smoke", Http(1), {}, read_prices("us-east-1"))


def _record(s3: FakeS3, shop: str = "smoke") -> None:
    body = json.dumps({"release": RELEASE.__dict__ | {"shop_id": shop}, "previous": None}).encode()
    s3.put_object(Bucket=BUCKET, Key=current_key(shop), Body=body)


def test_a_stage_without_a_model_may_be_used() -> None:
    require_replaceable(_smoke(FakeS3()))


def test_the_model_of_another_shop_is_not_replaced_by_the_test() -> None:
    s3 = FakeS3()
    _record(s3, "demo")
    require_replaceable(_smoke(s3))


def test_a_stage_that_serves_shoppers_is_refused_with_the_way_out() -> None:
    s3 = FakeS3()
    _record(s3)
    with pytest.raises(StepFailed, match=r"stage of its own.*make smoke STAGE"):
        require_replaceable(_smoke(s3))


def test_an_earlier_smoke_tests_model_may_be_replaced() -> None:
    s3 = FakeS3()
    _record(s3)
    marker.add(LOCAL, LOCAL.account_id, RELEASE, s3)
    require_replaceable(_smoke(s3))


def test_a_shop_without_a_key_is_refused_with_the_line_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--shop", "nobody"]) == 1
    assert "[local.shops]" in capsys.readouterr().err
