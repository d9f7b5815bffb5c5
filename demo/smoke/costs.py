"""The cost of a step by list prices: an estimate from its duration and its sizes, not the bill."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from deploy.lambdas import named
from deploy.stages import Stage

PRICES_FILE = Path(__file__).parent / "prices.json"
# The states that keep Snowflake's warehouse running, by the Lambda that runs them.
WAREHOUSE_STATES = ("Load", "Transform", "Validate", "Export")
LAMBDA_STATES = ("Lock", *WAREHOUSE_STATES, "Publish", "Prove", "Rollback", "Unlock")


class Cost(NamedTuple):
    """An amount with the formula behind it. None where a price is not known."""

    usd: float | None
    formula: str


@cache
def prices() -> dict[str, Any]:
    """Return the price list. Its prices are those of one region, which the report names."""
    found: dict[str, Any] = json.loads(PRICES_FILE.read_text())
    return found


def of_lambda_state(state: str, seconds: float) -> Cost:
    """Return the cost of a state that runs a Lambda, and of the Snowflake warehouse that it keeps running."""
    price = prices()
    memory_gb = named("lock" if state == "Unlock" else state.lower()).memory_mb / 1024
    usd = seconds * memory_gb * price["lambda_usd_per_gb_second"]
    formula = f"{seconds:.1f} s x {memory_gb:g} GB of Lambda"
    if state in WAREHOUSE_STATES:
        credits = seconds / 3600 * price["snowflake_credits_per_hour"]
        usd += credits * price["snowflake_usd_per_credit"]
        formula += f" + {credits:.4f} credits of an X-Small warehouse"
    return Cost(usd, formula)


def of_job(instance_type: str, seconds: float) -> Cost:
    """Return the cost of a SageMaker job."""
    per_hour = prices()["sagemaker_usd_per_hour"].get(instance_type)
    formula = f"{seconds:.0f} s of {instance_type}"
    if per_hour is None:
        return Cost(None, f"{formula}, whose price is not in {PRICES_FILE.name}")
    return Cost(seconds / 3600 * per_hour, formula)


def of_requests(stage: Stage, count: int, seconds_each: float, served: bool = False) -> Cost:
    """Return the cost of requests to the API, with those of the endpoint if `served`. A running instance is not counted."""
    price = prices()
    memory_gb = named("api_handler").memory_mb / 1024
    usd = count * (price["api_gateway_usd_per_request"] + price["lambda_usd_per_request"])
    usd += count * seconds_each * memory_gb * price["lambda_usd_per_gb_second"]
    formula = f"{count:,} requests, {1000 * seconds_each:.0f} ms each in {memory_gb:g} GB"
    if served and stage.endpoint_kind == "serverless":
        usd += count * seconds_each * stage.endpoint_memory_mb / 1024 * price["serverless_usd_per_gb_second"]
        formula += f" and at most as long in {stage.endpoint_memory_mb / 1024:g} GB of the endpoint"
    return Cost(usd, formula)


def of_delivery(events: int, kilobytes_each: int = 5) -> Cost:
    """Return the cost of Firehose, which counts each record as at least 5 KB."""
    gigabytes = events * kilobytes_each / 1024**2
    return Cost(gigabytes * prices()["firehose_usd_per_gb"], f"{events:,} records of 5 KB in Firehose")
