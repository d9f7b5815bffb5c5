"""X-Ray: a trace from /recommend through the endpoint, and across the pipeline's Lambdas."""

from functools import lru_cache


@lru_cache(maxsize=1)
def trace_aws_calls() -> None:
    """Makes every AWS call of this execution environment a subsegment of Lambda's segment."""
    from aws_xray_sdk.core import patch, xray_recorder

    # Outside Lambda's segment (a test, a laptop) there is nothing to report to, and nothing to fail for.
    xray_recorder.configure(context_missing="IGNORE_ERROR")
    patch(("botocore",))
