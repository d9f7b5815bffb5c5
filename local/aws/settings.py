"""Addresses, folders and limits of the AWS process."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from local.environment import ACCOUNT_ID, HOST, REGION


@dataclass(frozen=True)
class Settings:
    """Addresses and folders of one AWS process."""

    port: int
    gateway_port: int
    state: Path
    lambda_runtime: Path
    # Concurrent workers per function. AWS's own limit, 1,000 per account, would overload one machine.
    lambda_concurrency: int = int(os.environ.get("TUGBOAT_LOCAL_LAMBDA_CONCURRENCY", "4"))
    # ListExecutions is eventually consistent: it omits an execution that is younger.
    listing_delay_s: float = float(os.environ.get("TUGBOAT_LOCAL_LISTING_DELAY_S", "0.5"))
    # The interpreter of SageMaker's containers.
    container_python: str = os.environ.get("TUGBOAT_LOCAL_CONTAINER_PYTHON", sys.executable)

    @property
    def url(self) -> str:
        """Endpoint URL of every service."""
        return f"http://{HOST}:{self.port}"

    @property
    def logs(self) -> Path:
        """Folder of all log files."""
        return self.state / "logs"

    @property
    def children(self) -> Path:
        """Folder of the records of child processes, for the clean-up after a crash."""
        return self.state / "pids" / "children"

    def client_environment(self) -> dict[str, str]:
        """Return the environment variables from which SDKs take region and endpoint."""
        return {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": self.url}


__all__ = ["ACCOUNT_ID", "HOST", "REGION", "Settings"]
