"""The prediction that the operations page compares with: the bill of several sizes of a shop, as JSON on S3.

The Lambda `operations` has no price list. It takes each predicted line times the measured quantity by the predicted one, so
each line names its driver: the quantity that it grows with.
"""

import json
from typing import Any

from deploy.bill.assumptions import Assumptions, read_assumptions
from deploy.bill.bill import Bill, predict, workload
from deploy.bill.month import WAREHOUSE_STEPS, Line, Month, Workload, idle
from deploy.bill.prices import PriceList, or_default
from deploy.stages import Stage
from functions.platform.contract import OPERATIONS_BILL_KEY

# Events per month.
SIZES = (100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
BY_TIME = "time"
# The driver of a line by its service, unless its item is in OF_ITEM. A line in neither grows with time: storage, alarms.
OF_SERVICE = {
    "API Gateway": "requests",
    "Firehose": "events",
    "EventBridge": "events",
    "Data transfer": "requests",
    "X-Ray": "requests",
    "Step Functions": "transitions",
    "SNS": "runs",
}
OF_ITEM = {
    ("Lambda", "requests"): "requests",
    ("Lambda", "collect: GB-seconds"): "events",
    ("Lambda", "api_handler: GB-seconds"): "recommendations",
    ("SageMaker", "serverless endpoint"): "recommendations",
    ("SageMaker", "data through the endpoint"): "recommendations",
    ("SageMaker", "batches"): "runs",
    ("Snowflake", "batches"): "runs",
    ("Step Functions", "state transitions of batches"): "runs",
    ("SageMaker", "training"): "train_s",
    ("SageMaker", "evaluation"): "evaluate_s",
    ("SageMaker", "volumes of the jobs"): "train_s",
    ("CloudWatch", "logs: ingestion"): "requests",
    ("Snowflake", "warehouse of the pipeline"): "warehouse_s",
}
# Lambdas of a run are billed by their time in it.
OF_RUNS = ("lock", "publish", "prove", "compact", "histories", "answers", "batch", *WAREHOUSE_STEPS)


def driver(line: Line) -> str:
    """Return the quantity that a line grows with."""
    known = OF_ITEM.get((line.service, line.item)) or OF_SERVICE.get(line.service)
    if known:
        return known
    if line.service == "Lambda" and line.item.partition(":")[0] in OF_RUNS:
        return "runs"
    if line.service == "Snowflake" and line.item.startswith("warehouse of ") and "people" not in line.item:
        return "warehouse_s"
    return BY_TIME


def quantities(month: Month) -> dict[str, float]:
    """Return the month's quantities, by the names of the drivers."""
    of = month.workload
    paid = 1 - month.assumed.spot_discount if month.stage.use_spot else 1.0
    return {
        "events": of.events,
        "recommendations": of.recommendations,
        "requests": month.event_requests + of.recommendations + month.script_requests,
        "runs": of.runs,
        "transitions": of.runs * month.assumed.transitions_per_run,
        # The page measures billed seconds, which a spot machine has fewer of.
        "train_s": of.runs * month.train_s * paid,
        "evaluate_s": of.runs * month.evaluate_s,
        "warehouse_s": of.runs * sum(month.step_seconds.values()),
    }


def prediction(stage: Stage, prices: PriceList, assumed: Assumptions) -> dict[str, Any]:
    """Return the bills of all sizes, the idle stage first."""
    of_sizes: list[Workload] = [idle(), *(workload(f"{size}", size, assumed) for size in SIZES)]
    bills = [predict(stage, of, assumed, prices) for of in of_sizes]
    return {
        "prices": f"{prices.region}, {prices.as_of}",
        "budget_usd": stage.monthly_budget_usd,
        "months": [_month(bill) for bill in bills],
    }


def _month(bill: Bill) -> dict[str, Any]:
    return {
        "events": bill.month.workload.events,
        "quantities": quantities(bill.month),
        "lines": [
            {"service": one.service, "item": one.item, "usd": round(one.usd, 6), "driver": driver(one)}
            for one in bill.lines
        ],
    }


def upload(stage: Stage, bucket: str, s3: Any) -> None:
    """Write the prediction where the operations page reads it."""
    body = json.dumps(prediction(stage, or_default(stage.region), read_assumptions()))
    s3.put_object(Bucket=bucket, Key=OPERATIONS_BILL_KEY, Body=body.encode(), ContentType="application/json")
