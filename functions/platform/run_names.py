"""The names of a run: its id, and its model and endpoint configuration in SageMaker."""

import hashlib
from datetime import UTC, datetime

NAME_MAX_CHARACTERS = 63


def run_id_of(execution_arn: str, started: datetime) -> str:
    """Return the run id that the state Prepare makes of an execution."""
    return f"{started.astimezone(UTC):%Y%m%d}-{hashlib.sha256(execution_arn.encode()).hexdigest()[:12]}"


def release_name(prefix: str, run_id: str) -> str:
    """Return the name of a run's model and endpoint configuration: at most 63 letters, digits and hyphens."""
    cleaned = "".join(letter if letter.isalnum() else "-" for letter in run_id)
    return f"{prefix}-{cleaned}"[:NAME_MAX_CHARACTERS].rstrip("-")
