"""What API Gateway answers by itself (throttled, too large, timed out), made readable for pages.

Without CORS headers a browser shows a page nothing of such an answer, not even its status, so the SDK could not tell "too many
requests" from "no network"; without Retry-After nobody knows when to come back. Chalice does not describe these answers.
https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
"""

from typing import Any

from functions.platform.http import RETRY_AFTER_S

READABLE = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
LATER = {**READABLE, "Retry-After": str(RETRY_AFTER_S)}
# A type that is not named here answers as its default does.
HEADERS = {"DEFAULT_4XX": READABLE, "DEFAULT_5XX": LATER, "THROTTLED": LATER, "QUOTA_EXCEEDED": LATER}


def apply(api_id: str, api_stage: str, apigateway: Any) -> None:
    """Sets the headers and deploys the API's stage again: they hold from the next deployment on."""
    for kind, headers in HEADERS.items():
        parameters = {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in headers.items()}
        apigateway.put_gateway_response(restApiId=api_id, responseType=kind, responseParameters=parameters)
    apigateway.create_deployment(restApiId=api_id, stageName=api_stage)
