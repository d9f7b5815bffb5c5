"""Events go to a Lambda of their own, and each route has its limit of requests."""

from typing import Any

import boto3
from botocore.stub import Stubber

from deploy import api_routes
from deploy.stages import read_stage

LOCAL = read_stage("local")
COLLECT = f"arn:aws:lambda:us-east-1:{LOCAL.account_id}:function:tugboat-local-collect"
RESOURCES: list[dict[str, Any]] = [
    {"id": "root", "path": "/"},
    {"id": "evts", "path": "/events", "resourceMethods": {"POST": {}, "OPTIONS": {}}},
    {"id": "pixl", "path": "/pixel.gif", "resourceMethods": {"GET": {}}},
    {"id": "rcmd", "path": "/recommend", "resourceMethods": {"GET": {}, "POST": {}, "OPTIONS": {}}},
    {"id": "sdkj", "path": "/tugboat.js", "resourceMethods": {"GET": {}}},
]


def _client(service: str) -> Any:
    return boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


def test_only_the_events_routes_go_to_collect_and_a_repeated_deployment_is_fine() -> None:
    apigateway, lambda_ = _client("apigateway"), _client("lambda")
    with Stubber(apigateway) as stub, Stubber(lambda_) as lambda_stub:
        stub.add_response("get_resources", {"items": RESOURCES}, {"restApiId": "api1"})
        for resource, method in (("evts", "POST"), ("pixl", "GET")):
            uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{COLLECT}/invocations"
            stub.add_response(
                "update_integration",
                {},
                {
                    "restApiId": "api1",
                    "resourceId": resource,
                    "httpMethod": method,
                    "patchOperations": [{"op": "replace", "path": "/uri", "value": uri}],
                },
            )
        lambda_stub.add_client_error("add_permission", "ResourceConflictException")
        api_routes.send_events_to_collect(LOCAL, LOCAL.account_id, "api1", apigateway, lambda_)
        stub.assert_no_pending_responses()
        lambda_stub.assert_no_pending_responses()


def test_each_route_gets_its_rate_and_a_burst_of_twice_the_rate() -> None:
    apigateway = _client("apigateway")
    rate = str(LOCAL.recommend_requests_per_second)
    burst = str(2 * LOCAL.recommend_requests_per_second)
    with Stubber(apigateway) as stub:
        stub.add_response("get_resources", {"items": RESOURCES[3:]}, {"restApiId": "api1"})
        operations = [
            {"op": "replace", "path": f"/~1recommend/{method}/throttling/{name}", "value": value}
            for method in ("GET", "POST")
            for name, value in (("rateLimit", rate), ("burstLimit", burst))
        ]
        stub.add_response(
            "update_stage",
            {},
            {"restApiId": "api1", "stageName": LOCAL.api_stage, "patchOperations": operations},
        )
        api_routes.set_throttles(LOCAL, "api1", apigateway)
        stub.assert_no_pending_responses()
