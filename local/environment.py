"""Addresses and folders of a local stack, and the environment variables that point a client to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
ACCOUNT_ID = "123456789012"
REGION = "us-east-1"
# The developer's credentials, who administers the account. Signatures are not checked.
ACCESS_KEY = SECRET_KEY = "local"
# Snowflake's own user in an AWS account of Snowflake, which assumes the roles of storage integrations.
SNOWFLAKE_USER_ARN = "arn:aws:iam::999999999999:user/local-snowflake"
SNOWFLAKE_ACCESS_KEY = SNOWFLAKE_SECRET_KEY = "snowflake"
DEFAULT_PORT_BASE = 4566


@dataclass(frozen=True)
class Stack:
    """The addresses and folders of one local stack."""

    port_base: int
    state: Path

    @property
    def aws_port(self) -> int:
        """Port of every AWS service."""
        return self.port_base

    @property
    def gateway_port(self) -> int:
        """Port of deployed REST APIs."""
        return self.port_base + 1

    @property
    def warehouse_port(self) -> int:
        """Port of Snowflake."""
        return self.port_base + 2

    @property
    def aws_url(self) -> str:
        """Endpoint URL of every AWS service."""
        return f"http://{HOST}:{self.aws_port}"

    @property
    def gateway_url(self) -> str:
        """URL below which the stages of REST APIs are."""
        return f"http://{HOST}:{self.gateway_port}"

    @property
    def warehouse_url(self) -> str:
        """URL of Snowflake."""
        return f"http://{HOST}:{self.warehouse_port}"

    @property
    def logs(self) -> Path:
        """Folder of all log files."""
        return self.state / "logs"

    @property
    def pids(self) -> Path:
        """Folder of the records of running processes."""
        return self.state / "pids"


def default_stack() -> Stack:
    """Return the stack that `python -m local` manages; TUGBOAT_LOCAL_STATE and TUGBOAT_LOCAL_PORT_BASE override it."""
    port_base = int(os.environ.get("TUGBOAT_LOCAL_PORT_BASE", DEFAULT_PORT_BASE))
    state = Path(os.environ.get("TUGBOAT_LOCAL_STATE", REPOSITORY / ".local"))
    return Stack(port_base=port_base, state=state.resolve())


def client_environment(stack: Stack | None = None) -> dict[str, str]:
    """Return the environment variables with which boto3, chalice and the commands reach this stack."""
    stack = stack or default_stack()
    return {
        "AWS_ENDPOINT_URL": stack.aws_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        # The developer's own AWS profile and a metadata service must never be used.
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "TUGBOAT_LOCAL_PORT_BASE": str(stack.port_base),
        "TUGBOAT_LOCAL_STATE": str(stack.state),
        "TUGBOAT_API_URL": f"{stack.gateway_url}/local",
        "TUGBOAT_LOCAL_GATEWAY_URL": stack.gateway_url,
        "TUGBOAT_LOCAL_WAREHOUSE_URL": stack.warehouse_url,
    }
