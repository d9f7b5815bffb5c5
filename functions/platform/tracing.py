"""X-Ray: a trace from /recommend through the endpoint, and across the pipeline's Lambdas."""

import logging
from functools import lru_cache


@lru_cache(maxsize=1)
def trace_aws_calls() -> None:
    """Makes every AWS call of this execution environment a subsegment of Lambda's segment.

    Without a segment (a test, a laptop) nothing is traced and nothing is said. In a Lambda there always is one.
    """
    from aws_xray_sdk.core import patch, xray_recorder

    # https://docs.aws.amazon.com/xray/latest/devguide/xray-sdk-python-configuration.html
    xray_recorder.configure(context_missing="IGNORE_ERROR")
    # The recorder warns of each call beside the setting, which governs the context alone (aws-xray-sdk 2.15).
    logging.getLogger("aws_xray_sdk.core.recorder").setLevel(logging.ERROR)
    patch(("botocore",))
