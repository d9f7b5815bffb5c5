"""AWS clients, made once per execution environment, when a handler first needs them."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from functions.platform.tracing import trace_aws_calls

if TYPE_CHECKING:
    from botocore.config import Config


@lru_cache(maxsize=16)
def client(service: str) -> Any:
    """Return a boto3 client with the SDK's standard retries."""
    import boto3
    from botocore.config import Config

    trace_aws_calls()
    return boto3.client(service, config=Config(retries={"mode": "standard", "max_attempts": 3}))


@lru_cache(maxsize=8)
def time_boxed_client(service: str, timeout_ms: int, config: "Config | None" = None) -> Any:
    """Return a boto3 client that does not wait longer than `timeout_ms` for a connection or for more bytes, and never retries.

    Only a deadline (platform/time_box.py) bounds the whole call: an answer may arrive byte by byte.
    """
    import boto3
    from botocore.config import Config

    trace_aws_calls()
    timeout_s = timeout_ms / 1000
    bounded = Config(
        connect_timeout=min(timeout_s, 1.0),
        read_timeout=timeout_s,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    return boto3.client(service, config=bounded.merge(config) if config else bounded)
