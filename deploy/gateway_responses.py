"""Set the headers of the responses that API Gateway sends itself: throttled, too large, timed out.

Without CORS headers a browser hides such a response from the page, even its status. The SDK could not distinguish "too many
requests" from "no network". Without Retry-After a client cannot time its next try. Chalice does not cover these responses.
https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
"""

import time
from typing import Any

from botocore.exceptions import ClientError

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

# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
DEPLOYMENT_TIMEOUT_S = 30
DEPLOYMENT_POLL_S = 1.0


def apply(api_id: str, api_stage: str, apigateway: Any) -> None:
    """Set the headers, then deploy the API's stage again, because they take effect with a deployment."""
    for kind, headers in HEADERS.items():
        parameters = {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in headers.items()}
        apigateway.put_gateway_response(restApiId=api_id, responseType=kind, responseParameters=parameters)
    _deploy(api_id, api_stage, apigateway)


def _deploy(api_id: str, api_stage: str, apigateway: Any) -> None:
    """Deploy the API. An account has one deployment per 5 seconds, and Chalice's was just before."""
    deadline = time.monotonic() + DEPLOYMENT_TIMEOUT_S
    while True:
        try:
            apigateway.create_deployment(restApiId=api_id, stageName=api_stage)
            return
        except ClientError as error:
            throttled = error.response["Error"]["Code"] == "TooManyRequestsException"
            if not throttled or time.monotonic() > deadline:
                raise
        time.sleep(DEPLOYMENT_POLL_S)
