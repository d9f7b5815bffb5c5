"""A page can read the responses that API Gateway sends itself, and a throttled client gets a time to retry."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
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


class Throttling:
    """API Gateway that refuses the first deployments, as it does within 5 seconds of Chalice's."""

    def __init__(self, refusals: int, code: str = "TooManyRequestsException") -> None:
        self.refusals, self.code = refusals, code
        self.deployments = 0

    def put_gateway_response(self, **_: Any) -> None:
        """Accept any response."""

    def create_deployment(self, **_: Any) -> None:
        if self.refusals:
            self.refusals -= 1
            raise ClientError({"Error": {"Code": self.code}}, "CreateDeployment")
        self.deployments += 1


def test_a_deployment_that_follows_chalices_too_soon_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_responses, "DEPLOYMENT_POLL_S", 0)
    apigateway = Throttling(refusals=3)
    gateway_responses.apply("api-id", "dev", apigateway)
    assert apigateway.deployments == 1


def test_other_refusals_and_a_long_one_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClientError):
        gateway_responses.apply("api-id", "dev", Throttling(refusals=1, code="NotFoundException"))
    monkeypatch.setattr(gateway_responses, "DEPLOYMENT_POLL_S", 0)
    monkeypatch.setattr(gateway_responses, "DEPLOYMENT_TIMEOUT_S", 0)
    with pytest.raises(ClientError):
        gateway_responses.apply("api-id", "dev", Throttling(refusals=1000))


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
