"""The lines of the nightly runs: Snowflake, SageMaker's jobs, Step Functions, mails."""

from collections.abc import Iterator

from deploy.bill.month import HOURS, WAREHOUSE_STEPS, Line, Month, line, number
from deploy.bill.runners import runner_lines
from deploy.bill.warehouses import snowflake_lines
from deploy.step_jobs import runs_as_job
from deploy.warehouse_sizes import warehouse_size


def pipeline_lines(month: Month) -> Iterator[Line]:
    """Yield the lines that grow with the runs and with the rows of a run."""
    yield from snowflake_lines(month)
    yield from runner_lines(month)
    yield from _jobs(month)
    yield from _batches(month)
    runs, transitions = month.workload.runs, month.assumed.transitions_per_run
    jobs = sum(runs_as_job(month.stage, step) for step in WAREHOUSE_STEPS)
    yield line(
        "Step Functions",
        "state transitions",
        month.prices["step_functions.transition"],
        # Each job is followed by a state that reads its result.
        runs * month.shops * (transitions + jobs),
        f"{number(runs)} runs x {f'{month.shops} shops x ' if month.shops > 1 else ''}{number(transitions + jobs)} states",
    )
    mails = month.assumed.mails_per_month if runs and month.stage.notification_email else 0
    yield line("SNS", "mails", month.prices["sns.email"], mails, f"{number(mails)} mails")


def _batches(month: Month) -> Iterator[Line]:
    """Yield the lines of the lists for mail, of a stage that makes them each night."""
    kind = month.stage.processing_instance_type
    yield line(
        "SageMaker",
        "batches",
        month.prices.instance(kind),
        month.batches * month.batch_score_s / 3600,
        f"{number(month.batches)} batches x {month.batch_score_s:.0f} s / 3600 of {kind}, for "
        f"{number(month.batch_clients)} clients",
    )
    size = warehouse_size(month.stage, "export")
    per_hour = month.prices.credits_per_hour[size]
    yield line(
        "Snowflake",
        "batches",
        month.prices.credit,
        month.batches * month.batch_warehouse_s / 3600 * per_hour,
        f"{number(month.batches)} batches x {month.batch_warehouse_s:.0f} s / 3600 x {number(per_hour)} credits of {size}",
    )
    yield line(
        "Step Functions",
        "state transitions of batches",
        month.prices["step_functions.transition"],
        month.batches * month.assumed.transitions_per_batch,
        f"{number(month.batches)} batches x {number(month.assumed.transitions_per_batch)} states",
    )


def _jobs(month: Month) -> Iterator[Line]:
    stage, assumed, runs = month.stage, month.assumed, month.workload.runs
    paid = 1 - assumed.spot_discount if stage.use_spot else 1.0
    spot = f" x {number(paid)} on spot" if stage.use_spot else ""
    for item, kind, seconds, share, note in (
        ("training", stage.training_instance_type, month.train_s, paid, spot),
        ("evaluation", stage.processing_instance_type, month.evaluate_s, 1.0, ""),
    ):
        yield line(
            "SageMaker",
            item,
            month.prices.instance(kind),
            runs * seconds / 3600 * share,
            f"{number(runs)} runs x {seconds:.0f} s / 3600 of {kind}{note}",
        )
    gb_hours = (
        runs
        / 3600
        * (month.train_s * assumed.train_volume_gb + month.evaluate_s * assumed.evaluate_volume_gb)
    )
    yield line(
        "SageMaker",
        "volumes of the jobs",
        month.prices["sagemaker.volume_gb_month"],
        gb_hours / HOURS,
        f"{number(runs)} runs x ({month.train_s:.0f} s x {number(assumed.train_volume_gb)} GB + {month.evaluate_s:.0f} s x "
        f"{number(assumed.evaluate_volume_gb)} GB) / 3600 / {HOURS}",
    )
