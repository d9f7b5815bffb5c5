"""AWS clients, made once per execution environment and only when a handler needs them."""

from functools import lru_cache
from typing import Any

from functions.platform.tracing import trace_aws_calls


@lru_cache(maxsize=16)
def client(service: str) -> Any:
    """A boto3 client with the SDK's standard retries."""
    import boto3
    from botocore.config import Config

    trace_aws_calls()
    return boto3.client(service, config=Config(retries={"mode": "standard", "max_attempts": 3}))


@lru_cache(maxsize=4)
def time_boxed_client(service: str, timeout_ms: int) -> Any:
    """A boto3 client that gives up after `timeout_ms` instead of retrying: somebody is waiting for a page."""
    import boto3
    from botocore.config import Config

    trace_aws_calls()
    seconds = timeout_ms / 1000
    return boto3.client(
        service,
        config=Config(
            connect_timeout=min(seconds, 1.0),
            read_timeout=seconds,
            retries={"mode": "standard", "total_max_attempts": 1},
        ),
    )
