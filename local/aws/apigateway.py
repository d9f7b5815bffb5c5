"""API Gateway's control plane: it accepts the requests of `chalice deploy` and keeps the deployed document.

chalice 1.34.0 imports Swagger 2.0 without a description. Version 5.2.5 of moto accepts only OpenAPI 3 with a description.
It fails on a MOCK integration without a uri (the CORS preflight). It reads only fields that both formats share, so a small
conversion is enough.
The gateway routes by the document of the last deployment, because API Gateway serves deployments, not later imports.
"""

from __future__ import annotations

import copy
import json
import math
import threading
import time
from dataclasses import dataclass
from typing import Any

from moto.apigateway import models
from moto.apigateway.exceptions import BadRequestException
from moto.apigateway.responses import APIGatewayResponse
from moto.core.exceptions import JsonRESTError

from local.aws.settings import ACCOUNT_ID, REGION

# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html, per account and not adjustable
DEPLOYMENT_INTERVAL_S = 5


class TooManyRequestsException(JsonRESTError):
    """The error of a call that exceeds a quota of API Gateway's control plane."""

    code = 429

    def __init__(self) -> None:
        super().__init__("TooManyRequestsException", "Too Many Requests")


@dataclass(frozen=True)
class Deployment:
    """One API, deployed to an API stage."""

    api_id: str
    api_name: str
    stage: str
    deployed_at: float
    document: dict[str, Any]


_deployments: dict[tuple[str, str], Deployment] = {}
_quota = threading.Lock()
_last_deployment = -math.inf


def _count_deployment() -> None:
    """Refuse a deployment that follows another too soon.

    Raises:
        TooManyRequestsException: the last accepted deployment is too young.
    """
    global _last_deployment
    with _quota:
        now = time.monotonic()
        if now - _last_deployment < DEPLOYMENT_INTERVAL_S:
            raise TooManyRequestsException
        _last_deployment = now


def newest_deployment(stage: str) -> Deployment | None:
    """Return the API that was last deployed to a stage of this name, or None if it does not exist."""
    backend = models.apigateway_backends[ACCOUNT_ID][REGION]
    found = [
        deployment
        for (api_id, name), deployment in list(_deployments.items())
        if name == stage and api_id in backend.apis
    ]
    return max(found, key=lambda deployment: deployment.deployed_at, default=None)


def minimum_compression_bytes(api_id: str) -> int | None:
    """Return the minimum size of compressed responses, or None if the API does not compress."""
    size = models.apigateway_backends[ACCOUNT_ID][REGION].apis[api_id].minimum_compression_size
    return None if size in (None, "") else int(size)


def throttle(api_id: str, stage: str, path: str, method: str) -> tuple[float, int] | None:
    """Return the rate per second and the burst of a method, or None if its stage sets none."""
    settings = models.apigateway_backends[ACCOUNT_ID][REGION].get_stage(api_id, stage).method_settings
    for key in (f"{path.replace('/', '~1')}/{method}", "*/*"):
        if key in settings:
            return settings[key]["throttlingRateLimit"], settings[key]["throttlingBurstLimit"]
    return None


def default_response_headers(api_id: str, status: int) -> list[tuple[str, str]]:
    """Return the headers configured for responses that API Gateway itself creates with such a status."""
    known = models.apigateway_backends[ACCOUNT_ID][REGION].apis[api_id].gateway_responses
    response = (known.get("THROTTLED") if status == 429 else None) or known.get(f"DEFAULT_{status // 100}XX")
    parameters: dict[str, str] = (response and response.response_parameters) or {}
    return [
        (name.removeprefix("gatewayresponse.header."), value.strip("'")) for name, value in parameters.items()
    ]


def install() -> None:
    """Patch moto's API Gateway."""
    put, import_api = models.APIGatewayBackend.put_rest_api, models.APIGatewayBackend.import_rest_api
    deploy = models.APIGatewayBackend.create_deployment

    def import_rest_api(
        self: models.APIGatewayBackend, api_doc: dict[str, Any], fail_on_warnings: bool
    ) -> models.RestAPI:
        return import_api(self, _normalized(api_doc), fail_on_warnings)

    def put_rest_api(
        self: models.APIGatewayBackend,
        function_id: str,
        api_doc: dict[str, Any],
        fail_on_warnings: bool,
        mode: str = "merge",
    ) -> models.RestAPI:
        document = _normalized(api_doc)
        api = put(self, function_id, copy.deepcopy(document), fail_on_warnings, mode)
        api.document = document
        return api

    def create_deployment(
        self: models.APIGatewayBackend, function_id: str, name: str, *args: Any, **kwargs: Any
    ) -> Any:
        _count_deployment()
        deployment = deploy(self, function_id, name, *args, **kwargs)
        api = self.get_rest_api(function_id)
        document = getattr(api, "document", None)
        if name and document is not None:
            # Later changes of the API take effect with the next deployment.
            document = copy.deepcopy(document)
            _deployments[api.id, name] = Deployment(api.id, api.name, name, time.time(), document)
        return deployment

    models.APIGatewayBackend.import_rest_api = import_rest_api
    models.APIGatewayBackend.put_rest_api = put_rest_api
    models.APIGatewayBackend.create_deployment = create_deployment
    APIGatewayResponse.update_integration = _update_integration
    _patch_compression_size()
    _import_body_of_templates()


def _update_integration(self: APIGatewayResponse) -> str:
    # moto 5.2.5 has no UpdateIntegration. It keeps the API also as its document, which the gateway routes by.
    parts = self.path.split("/")  # /restapis/{id}/resources/{id}/methods/{method}/integration
    api_id, resource_id, method = parts[2], parts[4], parts[6]
    integration = self.backend.get_integration(api_id, resource_id, method)
    api = self.backend.get_rest_api(api_id)
    path = api.resources[resource_id].get_path()
    documented = api.document["paths"][path][method.lower()]["x-amazon-apigateway-integration"]
    for operation in self._get_param("patchOperations"):
        if (operation["op"], operation["path"]) != ("replace", "/uri"):
            raise BadRequestException(f"Invalid patch path {operation['path']}")
        integration.uri = documented["uri"] = operation["value"]
    return json.dumps(integration.to_json())


def _patch_compression_size() -> None:
    # chalice 1.34.0 sets this size by a patch operation, which moto 5.2.5 ignores.
    original = models.RestAPI.apply_patch_operations

    def apply_patch_operations(self: models.RestAPI, patch_operations: list[dict[str, Any]]) -> None:
        original(self, patch_operations)
        for operation in patch_operations:
            if operation["path"] == "/minimumCompressionSize" and operation["op"] == "replace":
                self.minimum_compression_size = operation.get("value")

    models.RestAPI.apply_patch_operations = apply_patch_operations


def _import_body_of_templates() -> None:
    # moto 5.2.5 ignores the Body of AWS::ApiGateway::RestApi.
    original = models.RestAPI.create_from_cloudformation_json.__func__

    def create(
        cls: type[models.RestAPI],
        resource: str,
        template: dict[str, Any],
        account: str,
        region: str,
        /,
        **kwargs: Any,
    ) -> models.RestAPI:
        properties = template["Properties"]
        body = properties.pop("Body", None)
        if body:
            properties.setdefault("Name", body["info"]["title"])
        api = original(cls, resource, template, account, region, **kwargs)
        if body:
            models.apigateway_backends[account][region].put_rest_api(api.id, body, False)
        return api

    models.RestAPI.create_from_cloudformation_json = classmethod(create)


def _normalized(document: dict[str, Any]) -> dict[str, Any]:
    document = json.loads(json.dumps(document))
    if document.pop("swagger", None):
        document["openapi"] = "3.0.1"
    document["info"].setdefault("description", "")
    for methods in document["paths"].values():
        for method in methods.values():
            integration = isinstance(method, dict) and method.get("x-amazon-apigateway-integration")
            if integration:
                integration.setdefault("uri", "")
                integration.setdefault("httpMethod", "POST")
    return document
