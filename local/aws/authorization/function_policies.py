"""The resource policy of a Lambda function, which lets API Gateway and EventBridge invoke it without a role."""

from __future__ import annotations

import json
from typing import Any

from local.aws.authorization import policies
from local.aws.authorization.policies import Call
from local.aws.settings import ACCOUNT_ID


def may_invoke(function: Any, service: str, source_arn: str) -> bool:
    """Return True if the policy of a function lets a service invoke it for a source.

    `function` is moto's LambdaFunction, and the source is a rule or a method of an API.
    """
    document = json.dumps({"Statement": function.policy.statements})
    call = Call(
        "lambda:InvokeFunction",
        function.function_arn,
        {"aws:SourceArn": source_arn, "aws:SourceAccount": ACCOUNT_ID},
    )
    return policies.grants(policies.parse(document), ("Service", service), call)
