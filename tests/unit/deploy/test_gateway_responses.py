"""A page can read the responses that API Gateway sends itself, and a throttled client gets a time to retry."""

from typing import Any

import boto3
import pytest
from moto import mock_aws

from deploy import gateway_responses


@pytest.fixture
def headers(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """The headers by type of response, as API Gateway stores them."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        apigateway: Any = boto3.client("apigateway", region_name="us-east-1")
        api_id = apigateway.create_rest_api(name="tugboat")["id"]
        root_id = apigateway.get_resources(restApiId=api_id)["items"][0]["id"]
        apigateway.put_method(
            restApiId=api_id, resourceId=root_id, httpMethod="GET", authorizationType="NONE"
        )
        apigateway.put_integration(restApiId=api_id, resourceId=root_id, httpMethod="GET", type="MOCK")
        for _ in range(2):  # as every deployment does
            gateway_responses.apply(api_id, "api", apigateway)
        assert apigateway.get_stage(restApiId=api_id, stageName="api")["deploymentId"]
        found = apigateway.get_gateway_responses(restApiId=api_id)["items"]
    return {
        one["responseType"]: {
            name.removeprefix("gatewayresponse.header."): value
            for name, value in one["responseParameters"].items()
        }
        for one in found
        if one.get("responseParameters")
    }


def test_pages_may_read_every_response(headers: dict[str, dict[str, str]]) -> None:
    assert headers.keys() == {"DEFAULT_4XX", "DEFAULT_5XX", "THROTTLED", "QUOTA_EXCEEDED"}
    # A static value needs quotes: without them it would refer to a part of the request.
    assert {one["Access-Control-Allow-Origin"] for one in headers.values()} == {"'*'"}


def test_a_throttled_client_gets_a_time_to_retry_and_a_refused_one_does_not(
    headers: dict[str, dict[str, str]],
) -> None:
    assert {kind for kind, one in headers.items() if one.get("Retry-After") == "'5'"} == {
        "DEFAULT_5XX",
        "THROTTLED",
        "QUOTA_EXCEEDED",
    }
    assert "Retry-After" not in headers["DEFAULT_4XX"]
