"""X-Ray: one trace from /recommend through the endpoint, and one across the pipeline's Lambdas."""

import logging
from functools import lru_cache


@lru_cache(maxsize=1)
def trace_aws_calls() -> None:
    """Make every AWS call of this execution environment a subsegment of Lambda's segment.

    Without a segment, as in a test or on a laptop, nothing is traced and nothing is logged. A Lambda always has one.
    """
    from aws_xray_sdk.core import patch, xray_recorder

    # https://docs.aws.amazon.com/xray/latest/devguide/xray-sdk-python-configuration.html
    xray_recorder.configure(context_missing="IGNORE_ERROR")
    # context_missing governs the context alone: the recorder still warns about each call (aws-xray-sdk 2.15).
    logging.getLogger("aws_xray_sdk.core.recorder").setLevel(logging.ERROR)
    patch(("botocore",))
