"""The cost of one step by list prices: an estimate from its duration and its sizes, not the bill."""

from math import ceil
from typing import NamedTuple

from deploy.bill.edge import ARCHITECTURE
from deploy.bill.month import FIREHOSE_STEP_BYTES, GB, WAREHOUSE_STEPS, memory_gb
from deploy.bill.prices import PriceList, PriceUnknown
from deploy.stages import Stage
from deploy.step_jobs import runs_as_job
from deploy.warehouse_sizes import warehouse_size

WAREHOUSE_STATES = tuple(step.title() for step in WAREHOUSE_STEPS)
STEP_STATES = ("Lock", *WAREHOUSE_STATES, "Publish", "Prove", "Rollback", "Unlock")


class Cost(NamedTuple):
    """An amount with the formula behind it. None where a price is not known."""

    usd: float | None
    formula: str


def of_step(stage: Stage, prices: PriceList, state: str, seconds: float) -> Cost:
    """Return the cost of a state that runs one of our steps, and of the Snowflake warehouse that it keeps running."""
    usd, formula = _of_machine(stage, prices, state, seconds)
    if state in WAREHOUSE_STATES and usd is not None:
        size = warehouse_size(stage, state.lower())
        credits = seconds / 3600 * prices.credits_per_hour[size]
        usd += prices.credit.usd(credits)
        formula += f" + {credits:.4f} credits of a warehouse of size {size}"
    return Cost(usd, formula)


def _of_machine(stage: Stage, prices: PriceList, state: str, seconds: float) -> Cost:
    step = "lock" if state == "Unlock" else state.lower()
    if runs_as_job(stage, step) and stage.runner == "codebuild":
        minutes = ceil(seconds / 60)
        return Cost(prices["codebuild.small_minute"].usd(minutes), f"{minutes} minutes of CodeBuild")
    if runs_as_job(stage, step):
        return of_job(prices, stage.processing_instance_type, seconds)
    gb = memory_gb(step)
    usd = prices[f"lambda.gb_second.{ARCHITECTURE}"].usd(seconds * gb)
    return Cost(usd, f"{seconds:.1f} s x {gb:g} GB of Lambda")


def of_job(prices: PriceList, instance_type: str, seconds: float) -> Cost:
    """Return the cost of a SageMaker job."""
    formula = f"{seconds:.0f} s of {instance_type}"
    try:
        per_hour = prices.instance(instance_type)
    except PriceUnknown:
        return Cost(None, f"{formula}, whose price is not in deploy/bill/prices/")
    return Cost(per_hour.usd(seconds / 3600), formula)


def of_requests(
    stage: Stage, prices: PriceList, count: int, seconds_each: float, served: bool = False
) -> Cost:
    """Return the cost of requests to the API, with those of the endpoint if `served`. A running instance is not counted."""
    gb = memory_gb("api_handler")
    usd = prices["api_gateway.request"].usd(count) + prices["lambda.request"].usd(count)
    usd += prices[f"lambda.gb_second.{ARCHITECTURE}"].usd(count * seconds_each * gb)
    formula = f"{count:,} requests, {1000 * seconds_each:.0f} ms each in {gb:g} GB"
    if served and stage.endpoint_kind == "serverless":
        usd += prices[f"sagemaker.serverless.{stage.endpoint_memory_mb}"].usd(count * seconds_each)
        formula += f" and at most as long in {stage.endpoint_memory_mb / 1024:g} GB of the endpoint"
    return Cost(usd, formula)


def of_delivery(prices: PriceList, requests: int, bytes_sent: float) -> Cost:
    """Return the cost of Firehose. collect sends a request's events as one record, which is rounded up to 5 KB."""
    steps = ceil(bytes_sent / requests / FIREHOSE_STEP_BYTES) if requests else 0
    usd = prices["firehose.gb"].usd(requests * steps * FIREHOSE_STEP_BYTES / GB)
    return Cost(usd, f"{requests:,} records of {5 * steps} KB in Firehose")
