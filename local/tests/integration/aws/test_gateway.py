"""API Gateway: `chalice deploy` of a real application, and requests through the gateway."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from local.testing import wait_for
from local.tests.integration.aws.clients import Aws

pytestmark = pytest.mark.local_stack

APP = """
import json, time
from chalice import Chalice, Response
app = Chalice(app_name="contract")
app.api.binary_types.append("image/gif")

@app.route("/pixel.gif")
def pixel():
    return Response(body=b"GIF89a", status_code=200, headers={"Content-Type": "image/gif"})

@app.route("/events", methods=["POST"], cors=True, content_types=["application/json", "text/plain"])
def events():
    return {"count": len(json.loads(app.current_request.raw_body)["events"])}

@app.route("/items/{item}", methods=["GET"])
def item(item):
    request = app.current_request.to_dict()
    return {"item": item, "query": request["query_params"], "context": app.current_request.context,
            "headers": request["headers"], "many": app.current_request.query_params.getlist("q")}

@app.route("/items/fixed")
def fixed():
    return {"fixed": True}

@app.route("/fails")
def fails():
    raise SystemExit(1)

@app.lambda_function(name="other")
def other(event, context):
    return event
"""


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Gateway:
    """A client that sends exactly the given headers."""

    def __init__(self, aws: Aws) -> None:
        self.port = aws.stack.gateway_port

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


def deploy(client: Any, api: str, stage: str) -> None:
    """Deploy an API as soon as API Gateway allows it: an account has one deployment per 5 seconds."""

    def deployed() -> bool:
        try:
            client.create_deployment(restApiId=api, stageName=stage)
        except client.exceptions.TooManyRequestsException:
            return False
        return True

    wait_for(deployed, timeout_s=10, pause_s=1)


@pytest.fixture(scope="module")
def gateway(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    project: Path = tmp_path_factory.mktemp("chalice-project")
    (project / "app.py").write_text(APP)
    (project / "requirements.txt").write_text("")
    (project / ".chalice").mkdir()
    config = {
        "version": "2.0",
        "app_name": "contract",
        "minimum_compression_size": 1024,
        "stages": {"local": {"api_gateway_stage": "api", "environment_variables": {"WORD": "first"}}},
    }
    (project / ".chalice" / "config.json").write_text(json.dumps(config))
    # The second deployment follows the first within API Gateway's 5 seconds.
    env = {"PATH": os.environ["PATH"], "HOME": str(project), "AWS_MAX_ATTEMPTS": "10", **aws.environment}
    chalice = Path(sys.executable).with_name("chalice")
    for _ in range(2):  # the second deployment updates the first
        done = subprocess.run(
            [str(chalice), "deploy", "--stage", "local"], cwd=project, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    yield Gateway(aws)
    shutil.rmtree(project)


def test_chalice_deploys_every_function(aws: Aws, gateway: Gateway) -> None:
    names = {f["FunctionName"] for f in aws.client("lambda").list_functions()["Functions"]}
    assert {"contract-local", "contract-local-other"} <= names
    assert aws.invoke("contract-local-other", {"a": [1]}) == ({"a": [1]}, None)


def test_json_is_posted_and_the_answer_carries_cors_headers(gateway: Gateway) -> None:
    body = json.dumps({"events": [{"n": n} for n in range(3)]}).encode()
    for content_type in ("application/json", "text/plain;charset=UTF-8"):
        reply = gateway.ask("POST", "/api/events", body, {"Content-Type": content_type})
        assert (reply.status, reply.json()) == (200, {"count": 3})
        assert reply.headers["access-control-allow-origin"] == "*"


def test_a_method_without_authorizer_passes_the_authorization_header(gateway: Gateway) -> None:
    headers = {"Authorization": "Bearer secret", "Accept": "*/*"}
    reply = gateway.ask("GET", "/api/items/a?q=1", headers=headers)
    assert reply.json()["headers"]["authorization"] == "Bearer secret"


def test_a_preflight_is_answered_without_the_lambda(gateway: Gateway) -> None:
    reply = gateway.ask("OPTIONS", "/api/events", headers={"Origin": "https://shop", "Accept": "*/*"})
    assert reply.status == 200
    assert set(reply.headers["access-control-allow-methods"].split(",")) == {"OPTIONS", "POST"}
    assert "content-type" in reply.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize("accept", ["image/gif", "image/gif,*/*;q=0.5", "image/gif;q=0.9"])
def test_a_gif_is_binary_when_the_first_accepted_type_is(gateway: Gateway, accept: str) -> None:
    reply = gateway.ask("GET", "/api/pixel.gif", headers={"Accept": accept})
    assert (reply.status, reply.body) == (200, b"GIF89a")


def test_a_gif_stays_base64_when_only_a_later_accepted_type_is_binary(gateway: Gateway) -> None:
    reply = gateway.ask("GET", "/api/pixel.gif", headers={"Accept": "text/html,image/gif"})
    assert reply.status == 200
    assert base64.b64decode(reply.body) == b"GIF89a"


def test_the_event_holds_parameters_headers_and_the_callers_address(gateway: Gateway) -> None:
    headers = {"X-Forwarded-For": "203.0.113.9", "User-Agent": "test", "Accept": "application/json"}
    reply = gateway.ask("GET", "/api/items/a%20b?q=1&q=2&empty=", headers=headers).json()
    assert reply["item"] == "a b"
    assert reply["query"] == {"q": "2", "empty": ""}
    assert reply["many"] == ["1", "2"]
    assert reply["headers"]["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert reply["context"]["identity"]["sourceIp"] == "127.0.0.1"
    assert reply["context"]["identity"]["userAgent"] == "test"
    assert reply["context"]["stage"] == "api"
    assert reply["context"]["path"] == "/api/items/a%20b"
    assert len(reply["context"]["requestId"]) == 36
    assert gateway.ask("GET", "/api/items/fixed").json() == {"fixed": True}


def test_unknown_paths_methods_and_stages_are_refused_as_api_gateway_does(gateway: Gateway) -> None:
    unknown = gateway.ask("GET", "/api/nowhere")
    assert (unknown.status, unknown.json()) == (403, {"message": "Missing Authentication Token"})
    assert gateway.ask("DELETE", "/api/events").status == 403
    stage = gateway.ask("GET", "/prod/events")
    assert (stage.status, stage.json()) == (403, {"message": "Forbidden"})


def test_large_bodies_and_crashes_have_their_own_statuses(gateway: Gateway) -> None:
    headers = {"Content-Type": "application/json"}
    assert gateway.ask("POST", "/api/events", b"x" * (10 * 1024 * 1024 + 1), headers).status == 413
    assert gateway.ask("POST", "/api/events", b"x" * (7 * 1024 * 1024), headers).status == 413
    crashed = gateway.ask("GET", "/api/fails")
    assert (crashed.status, crashed.json()) == (502, {"message": "Internal server error"})


def test_a_url_over_the_limit_of_regional_apis_is_refused(gateway: Gateway) -> None:
    assert gateway.ask("GET", "/api/items/fixed?q=" + "x" * 10_000).status == 200
    assert gateway.ask("GET", "/api/items/fixed?q=" + "x" * 10_240).status == 414


def test_an_account_has_one_deployment_per_five_seconds(aws: Aws) -> None:
    client = aws.client("apigateway")
    api = client.create_rest_api(name="quota")["id"]
    root = client.get_resources(restApiId=api)["items"][0]["id"]
    client.put_method(restApiId=api, resourceId=root, httpMethod="GET", authorizationType="NONE")
    client.put_integration(restApiId=api, resourceId=root, httpMethod="GET", type="MOCK")
    deploy(client, api, "one")
    with pytest.raises(client.exceptions.TooManyRequestsException) as refused:
        client.create_deployment(restApiId=api, stageName="one")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    deploy(client, api, "one")


def test_a_connection_carries_many_requests(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    for _ in range(3):
        connection.request("GET", "/api/items/fixed")
        assert json.loads(connection.getresponse().read()) == {"fixed": True}
    connection.close()


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_reaches_the_lambda_as_it_was(
    gateway: Gateway, coding: str, compress: Callable[[bytes], bytes]
) -> None:
    body = json.dumps({"events": ["ä" * 100] * 30}, ensure_ascii=False).encode()
    headers = {"Content-Type": "text/plain", "Content-Encoding": coding}
    reply = gateway.ask("POST", "/api/events", compress(body), headers)
    assert (reply.status, reply.json()) == (200, {"count": 30})


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("br", b"whatever", 415),
        ("gzip", b"{}", 415),
        ("gzip", gzip.compress(b"{}" * 1000)[:-9], 415),
        ("gzip", gzip.compress(b" " * (10 * 1024 * 1024 + 1)), 413),
    ],
    # Parallel test processes must collect the same names, and gzip writes the time into its header.
    ids=["unknown coding", "not gzip", "cut short", "too large"],
)
def test_a_body_that_cannot_be_decompressed_is_refused_before_the_lambda(
    gateway: Gateway, coding: str, body: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    assert gateway.ask("POST", "/api/events", body, headers).status == status


def test_long_responses_are_compressed_for_clients_that_accept_it(gateway: Gateway) -> None:
    long, short = "/api/items/a?q=" + "x" * 2000, "/api/items/fixed"
    plain = gateway.ask("GET", long)
    zipped = gateway.ask("GET", long, headers={"Accept-Encoding": "br;q=1, gzip;q=0.8"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(zipped.body))["many"] == plain.json()["many"]
    assert "content-encoding" not in gateway.ask("GET", short, headers={"Accept-Encoding": "gzip"}).headers


def test_responses_of_the_gateway_itself_carry_their_configured_headers(aws: Aws, gateway: Gateway) -> None:
    apigateway = aws.client("apigateway")
    (api,) = [one for one in apigateway.get_rest_apis()["items"] if one["name"] == "contract"]
    allow_origin = {"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"}
    for kind, headers in (
        ("DEFAULT_4XX", allow_origin),
        ("DEFAULT_5XX", {**allow_origin, "gatewayresponse.header.Retry-After": "'5'"}),
    ):
        apigateway.put_gateway_response(restApiId=api["id"], responseType=kind, responseParameters=headers)
    deploy(apigateway, api["id"], "api")
    for path, status in (("/api/nowhere", 403), ("/api/fails", 502)):
        reply = gateway.ask("GET", path)
        assert reply.status == status
        assert reply.headers["access-control-allow-origin"] == "*"
        assert reply.headers.get("retry-after") == (None if status == 403 else "5")
    assert "retry-after" not in gateway.ask("GET", "/api/items/fixed").headers


def test_a_method_faster_than_its_limit_is_refused_with_429_and_a_time_to_retry(
    gateway: Gateway, aws: Aws
) -> None:
    apigateway = aws.client("apigateway")
    (api,) = (one for one in apigateway.get_rest_apis()["items"] if one["name"] == "contract")
    apigateway.put_gateway_response(
        restApiId=api["id"],
        responseType="THROTTLED",
        responseParameters={"gatewayresponse.header.Retry-After": "'5'"},
    )
    setting = "/~1items~1fixed/GET/throttling"
    for rate, burst in (("0.001", "3"), ("1000", "1000")):
        patches = [
            {"op": "replace", "path": f"{setting}/rateLimit", "value": rate},
            {"op": "replace", "path": f"{setting}/burstLimit", "value": burst},
        ]
        apigateway.update_stage(restApiId=api["id"], stageName="api", patchOperations=patches)
        replies = [gateway.ask("GET", "/api/items/fixed") for _ in range(5)]
        if burst == "3":
            assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
            assert replies[-1].headers["retry-after"] == "5"
            assert gateway.ask("GET", "/api/items/other?q=1").status == 200, (
                "other methods have limits of their own"
            )


def test_a_route_sent_to_another_lambda_goes_there_after_the_next_deployment(
    gateway: Gateway, aws: Aws
) -> None:
    apigateway = aws.client("apigateway")
    (api,) = (one for one in apigateway.get_rest_apis()["items"] if one["name"] == "contract")
    resources = apigateway.get_resources(restApiId=api["id"])["items"]
    (fails,) = (one["id"] for one in resources if one["path"] == "/fails")
    method = {"restApiId": api["id"], "resourceId": fails, "httpMethod": "GET"}
    before = apigateway.get_integration(**method)["uri"]
    uri = before.replace("contract-local", "contract-local-other")
    assert uri != before
    apigateway.update_integration(**method, patchOperations=[{"op": "replace", "path": "/uri", "value": uri}])
    logs = aws.client("logs").describe_log_streams
    assert gateway.ask("GET", "/api/fails").status == 502
    deploy(apigateway, api["id"], "api")
    assert gateway.ask("GET", "/api/fails").status == 500, "the API may not invoke this Lambda yet"
    source = f"arn:aws:execute-api:us-east-1:123456789012:{api['id']}/*"
    aws.permit("contract-local-other", "apigateway", source)
    # The Lambda `other` returns its event, which is no response of a proxy integration.
    assert gateway.ask("GET", "/api/fails").status == 200
    assert logs(logGroupName="/aws/lambda/contract-local-other")["logStreams"]
