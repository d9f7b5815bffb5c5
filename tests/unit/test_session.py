"""The state that tests of one process share."""

import boto3
import pytest


@pytest.mark.parametrize("test", ["first", "second"])
def test_no_test_gets_the_keys_of_another(test: str) -> None:
    assert boto3.DEFAULT_SESSION is None
    boto3.setup_default_session(aws_access_key_id=test, aws_secret_access_key="x")
