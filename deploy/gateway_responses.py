"""Set the headers of the responses that API Gateway sends itself: throttled, too large, timed out.

Without CORS headers a browser hides such a response from the page, even its status. The SDK could not distinguish "too many
requests" from "no network". Without Retry-After a client cannot time its next try. Chalice does not cover these responses.
https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
"""

from typing import Any

from functions.platform.http import RETRY_AFTER_S

READABLE = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
RETRY_LATER = {**READABLE, "Retry-After": str(RETRY_AFTER_S)}
# A type that is not listed here takes the headers of its default.
HEADERS = {
    "DEFAULT_4XX": READABLE,
    "DEFAULT_5XX": RETRY_LATER,
    "THROTTLED": RETRY_LATER,
    "QUOTA_EXCEEDED": RETRY_LATER,
}


def apply(api_id: str, api_stage: str, apigateway: Any) -> None:
    """Set the headers, then deploy the API's stage again, because they take effect with a deployment."""
    for kind, headers in HEADERS.items():
        parameters = {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in headers.items()}
        apigateway.put_gateway_response(restApiId=api_id, responseType=kind, responseParameters=parameters)
    apigateway.create_deployment(restApiId=api_id, stageName=api_stage)
