"""Requests to the Lambda function of app.py, as API Gateway sends them."""

import json

from local.aws.proxy_event import Request, build_event


class Context:
    """The context of a Lambda that never runs out of time."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the Lambda's whole time."""
        return 29_000


def invoke(request: Request, path: str) -> bytes:
    """Return the result of the function for a request to `path`, the path below the API stage."""
    from app import app

    event = build_event(
        request,
        api_id="test",
        stage="api",
        resource=path,
        path=path,
        path_parameters={},
        binary_types=app.api.binary_types,
        trace="Root=1-5e272390-8c398be037738dc042009320",
    )
    return json.dumps(app(event, Context())).encode()
