"""Give the routes of the API their limits, and send what shops send to a Lambda of its own.

Chalice gives every route to one Lambda. A flood of events, or a Firehose that hangs, would take the concurrency that /recommend
needs. The Lambda `collect` runs the same app; its reserved concurrency is the most that events and catalogues can take.
"""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from deploy.lambdas import named
from deploy.stages import Stage

COLLECT_ROUTES = ("/events", "/pixel.gif", "/catalogue")
RECOMMEND_ROUTES = ("/recommend",)
# A burst of twice the rate lets a page's first requests pass together.
BURST_FACTOR = 2


def send_events_to_collect(stage: Stage, account_id: str, api_id: str, apigateway: Any, lambda_: Any) -> None:
    """Point the methods of the events' routes to the Lambda `collect`. This takes effect with the next deployment.

    Until then, and between `chalice deploy` and this call, they go to the API's Lambda, which answers them too.
    """
    name = named("collect").deployed_name(stage)
    function_arn = f"arn:aws:lambda:{stage.region}:{account_id}:function:{name}"
    uri = f"arn:aws:apigateway:{stage.region}:lambda:path/2015-03-31/functions/{function_arn}/invocations"
    for resource_id, _, method in _lambda_methods(api_id, COLLECT_ROUTES, apigateway):
        apigateway.update_integration(
            restApiId=api_id,
            resourceId=resource_id,
            httpMethod=method,
            patchOperations=[{"op": "replace", "path": "/uri", "value": uri}],
        )
    try:
        lambda_.add_permission(
            FunctionName=name,
            StatementId=f"api-{api_id}",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:{stage.region}:{account_id}:{api_id}/*",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceConflictException":  # an earlier deployment added it
            raise


def set_throttles(stage: Stage, api_id: str, apigateway: Any) -> None:
    """Set the stage's limits of requests per second. Other routes keep the limits of the account.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
    """
    limits = dict.fromkeys(COLLECT_ROUTES, stage.events_requests_per_second)
    limits |= dict.fromkeys(RECOMMEND_ROUTES, stage.recommend_requests_per_second)
    operations = []
    for _, path, method in _lambda_methods(api_id, tuple(limits), apigateway):
        setting = f"/{path.replace('/', '~1')}/{method}/throttling"
        operations += [
            {"op": "replace", "path": f"{setting}/rateLimit", "value": str(limits[path])},
            {"op": "replace", "path": f"{setting}/burstLimit", "value": str(limits[path] * BURST_FACTOR)},
        ]
    apigateway.update_stage(restApiId=api_id, stageName=stage.api_stage, patchOperations=operations)


def _lambda_methods(api_id: str, paths: tuple[str, ...], apigateway: Any) -> Iterator[tuple[str, str, str]]:
    """Yield resource id, path and method of each method that a Lambda answers. API Gateway answers OPTIONS itself."""
    for page in apigateway.get_paginator("get_resources").paginate(restApiId=api_id):
        for resource in page["items"]:
            if resource["path"] in paths:
                for method in resource.get("resourceMethods", {}):
                    if method != "OPTIONS":
                        yield resource["id"], resource["path"], method
