"""The names of a run: its id, and its model and endpoint configuration in SageMaker."""

import hashlib
import re
from datetime import UTC, datetime

from functions.platform.shop_names import shop_prefix

NAME_MAX_CHARACTERS = 63
# No part of a shop's name has two hyphens, so no shop's prefix begins the names of another shop's releases.
SEPARATOR = "--"
# The names of executions have 80 characters (https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html).
NIGHT_SHOP_CHARACTERS = 50


def run_id_of(execution_arn: str, started: datetime) -> str:
    """Return the run id that the state Prepare makes of an execution."""
    return f"{started.astimezone(UTC):%Y%m%d}-{hashlib.sha256(execution_arn.encode()).hexdigest()[:12]}"


def night_execution_name(night_run_id: str, shop_id: str) -> str:
    """Return the name of the execution that a night starts for a shop."""
    return f"night-{night_run_id}-{shop_id[:NIGHT_SHOP_CHARACTERS]}"


def release_prefix(prefix: str, shop_id: str) -> str:
    """Return the start of the names of a shop's models and endpoint configurations."""
    return shop_prefix(prefix, shop_id) + SEPARATOR


def release_name(prefix: str, shop_id: str, run_id: str) -> str:
    """Return the name of a run's model and endpoint configuration: at most 63 letters, digits and hyphens."""
    cleaned = re.sub("[^A-Za-z0-9]", "-", run_id)
    return f"{release_prefix(prefix, shop_id)}{cleaned}"[:NAME_MAX_CHARACTERS].rstrip("-")
