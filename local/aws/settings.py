"""What every module of the local AWS needs to know."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from local.environment import ACCOUNT_ID, HOST, REGION

# The versions that the patches of this package were written for; tests/unit/local compares them with what is installed.
PINS = {
    "moto": "5.2.5",
    "awslambdaric": "4.2.2",
    "chalice": "1.34.0",
    "jsonata-python": "0.7.1",
    "aws-xray-sdk": "2.15.0",
    "boto3": "1.44.5",
}


@dataclass(frozen=True)
class Settings:
    """Addresses and folders of one AWS process."""

    port: int
    gateway_port: int
    state: Path
    lambda_runtime: Path
    # Lambda workers of one function at a time; AWS's own limit (1,000 an account) would swamp one machine.
    lambda_concurrency: int = int(os.environ.get("TUGBOAT_LOCAL_LAMBDA_CONCURRENCY", "4"))
    # The interpreter of SageMaker's containers.
    container_python: str = os.environ.get("TUGBOAT_LOCAL_CONTAINER_PYTHON", sys.executable)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def children(self) -> Path:
        """Records of the processes that this one started, for the clean-up after a crash."""
        return self.state / "pids" / "children"

    def role_environment(self) -> dict[str, str]:
        """What code running under a role sees: credentials, region and where AWS is."""
        return {
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "role-access-key",
            "AWS_SECRET_ACCESS_KEY": "role-secret-key",
            "AWS_SESSION_TOKEN": "role-session-token",
            "AWS_ENDPOINT_URL": self.url,
        }


__all__ = ["ACCOUNT_ID", "HOST", "PINS", "REGION", "Settings"]
