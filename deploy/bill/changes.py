"""Changes that make a month cheaper: the bill is computed again with each, and the difference is what it saves."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from deploy.bill.bill import Bill
from deploy.bill.month import Month
from deploy.warehouse_sizes import STEP_SIZE, step_warehouse_sizes
from functions.platform.settings import SHARED

# A change that saves less is noise.
WORTH_USD = 0.01
TOP = 3


@dataclass(frozen=True)
class Change:
    """A change, the setting that makes it, and what it costs apart from money."""

    setting: str
    price: str
    apply: Callable[[Month], Month]


class Saving(NamedTuple):
    """A change with the amount that it saves per month."""

    usd: float
    setting: str
    price: str


def changes(month: Month) -> list[Change]:
    """Return the changes that the stage's settings leave open. Settings without a place are in deploy/stages.toml."""
    stage = month.stage
    found: list[Change] = []

    def offer(wanted: bool, setting: str, price: str, apply: Callable[[Month], Month]) -> None:
        if wanted:
            found.append(Change(setting, price, apply))

    offer(
        stage.tracing,
        "tracing = false",
        "no trace map: /recommend's and the pipeline's slow calls are searched in the logs",
        lambda month: month.changed(tracing=False),
    )
    offer(
        stage.endpoint_kind == "serverless",
        'endpoint_kind = "realtime"',
        f"{stage.endpoint_min_instances} {stage.endpoint_instance_type} around the clock, also without requests; no cold starts",
        lambda month: month.changed(endpoint_kind="realtime"),
    )
    offer(
        stage.endpoint_kind == "realtime",
        'endpoint_kind = "serverless"',
        "a cold start after idle minutes, during which /recommend answers from its fallback",
        lambda month: month.changed(endpoint_kind="serverless"),
    )
    offer(
        stage.endpoint_kind == "realtime" and stage.endpoint_min_instances > 1,
        "endpoint_min_instances = 1",
        "/recommend answers from its fallback while a failed instance is replaced",
        lambda month: month.changed(endpoint_min_instances=1),
    )
    offer(
        stage.endpoint_kind == "serverless" and stage.endpoint_memory_mb > 2048,
        "endpoint_memory_mb = 2048",
        "less memory and CPU: measure ModelLatency, and keep it above the model's size",
        lambda month: month.changed(endpoint_memory_mb=2048),
    )
    offer(
        not stage.use_spot,
        "use_spot = true",
        "a training job may wait for capacity and resume from a checkpoint",
        lambda month: month.changed(use_spot=True),
    )
    offer(
        stage.training_instance_type.startswith(("ml.g", "ml.p")),
        'training_instance_type = "ml.m5.xlarge"',
        "training takes longer; after 4 hours a job fails, unless the shop's max_train_seconds cuts its epochs",
        lambda month: month.changed(training_instance_type="ml.m5.xlarge"),
    )
    offer(
        stage.training_days > 30,
        "training_days = 30",
        "the model does not learn from older sessions; compare hit rates first",
        lambda month: month.changed(training_days=30),
    )
    offer(
        stage.warehouse_size != "XSMALL",
        'warehouse_size = "XSMALL"',
        "the nightly run takes longer; each step must end within its Lambda's time limit",
        lambda month: month.changed(warehouse_size="XSMALL"),
    )
    for step, size in step_warehouse_sizes(stage).items():
        offer(
            size != SHARED,
            f'{step}_warehouse_size = "{SHARED}"',
            f"{step.title()} runs on the pipeline's warehouse of size {stage.warehouse_size}, so it may take longer",
            lambda month, step=step: month.changed(**{f"{step}{STEP_SIZE}": SHARED}),  # type: ignore[misc]
        )
    offer(
        stage.runner != "lambda",
        'runner = "lambda"',
        "Transform, Validate and Export each have to end within 15 minutes",
        lambda month: month.changed(runner="lambda"),
    )
    for other, place in (("codebuild", "CodeBuild"), ("sagemaker-processing", "an instance of SageMaker")):
        offer(
            stage.runner not in ("lambda", other),
            f'runner = "{other}"',
            f"none: {place} runs the same package as long",
            lambda month, other=other: month.changed(runner=other),  # type: ignore[misc]
        )
    offer(
        stage.load_by == "copy",
        'load_by = "snowpipe"',
        "the events are in the warehouse minutes after they arrive; the bucket notifies Snowflake's queue",
        lambda month: month.changed(load_by="snowpipe", load_on_arrival=False),
    )
    offer(
        stage.load_by == "snowpipe",
        'load_by = "copy"',
        "the warehouse has the events after the nightly run only",
        lambda month: month.changed(load_by="copy"),
    )
    offer(
        stage.load_on_arrival,
        "load_on_arrival = false",
        "the warehouse has the events after the nightly run only",
        lambda month: month.changed(load_on_arrival=False),
    )
    offer(
        month.workload.runs > 5,
        'schedule = "cron(30 3 ? * SUN *)"',
        "marts and model are up to a week old",
        lambda month: replace(month, workload=replace(month.workload, runs=30 / 7)),
    )
    offer(
        stage.events_buffer_seconds < 300,
        "events_buffer_seconds = 300",
        "events reach S3 after five minutes",
        lambda month: month.changed(events_buffer_seconds=300),
    )
    offer(
        stage.log_retention_days > 7,
        "log_retention_days = 7",
        "an incident of last week leaves no logs",
        lambda month: month.changed(log_retention_days=7),
    )
    offer(
        stage.exports_expire_days > 7,
        "exports_expire_days = 7",
        "`make train` finds the snapshots of a week only",
        lambda month: month.changed(exports_expire_days=7),
    )
    offer(
        stage.raw_expire_days == 0,
        "raw_expire_days = 90",
        "older events are read from archive/ only",
        lambda month: month.changed(raw_expire_days=90),
    )
    offer(
        month.assumed.events_per_request < 4,
        "BATCH_WAIT_MS in storefront/sdk/1-settings.js, so that twice as many events share a request",
        "events leave the page later, and a closed page loses more of them where sendBeacon is blocked",
        lambda month: replace(
            month,
            assumed=month.assumed.with_values({"events_per_request": 2 * month.assumed.events_per_request}),
        ),
    )
    return found


def savings(bill: Bill) -> list[Saving]:
    """Return what each change saves by itself, the largest first. A change that costs more is left out."""
    found = [
        Saving(bill.usd - Bill(change.apply(bill.month)).usd, change.setting, change.price)
        for change in changes(bill.month)
    ]
    return sorted((saving for saving in found if saving.usd >= WORTH_USD), reverse=True)
