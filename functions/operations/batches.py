"""Read the newest batch of lists for mail of each shop."""

import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from functions.operations.model import Batch
from functions.platform.run_history import readable_failure

# A shop whose newest batch is older than so many others is not shown.
LISTED = 40
REASON_CHARACTERS = 300


def read_batches(states: Any, machine_arn: str, shops: Sequence[str]) -> list[Batch]:
    """Return the newest batch of each of the shops, the newest one first. The first shop is that of an input without one."""
    listed = states.list_executions(stateMachineArn=machine_arn, maxResults=LISTED)["executions"]
    found: dict[str, Batch] = {}
    for one in listed:
        if found.keys() >= set(shops):
            break
        described = states.describe_execution(executionArn=one["executionArn"])
        shop_id = str(json.loads(described.get("input") or "{}").get("shop_id") or shops[0])
        found.setdefault(shop_id, _batch(shop_id, described))
    return [batch for shop_id, batch in found.items() if shop_id in shops]


def _batch(shop_id: str, described: dict[str, Any]) -> Batch:
    made = json.loads(described.get("output") or "{}")
    reason = made.get("skipped") or readable_failure(described.get("error", ""), described.get("cause", ""))
    return Batch(
        shop_id=shop_id,
        status="SKIPPED" if "skipped" in made else str(described["status"]),
        started_at=described["startDate"].astimezone(UTC),
        clients=made.get("clients"),
        rows=made.get("rows"),
        model_version=str(made.get("model_version", "")),
        reason=str(reason)[:REASON_CHARACTERS],
    )
