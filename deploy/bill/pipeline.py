"""The lines of the nightly runs: Snowflake, SageMaker's jobs, Step Functions, mails."""

from collections.abc import Iterator

from deploy.bill.month import DAYS, HOURS, Line, Month, line, number

TB = 1024**4


def pipeline_lines(month: Month) -> Iterator[Line]:
    """Yield the lines that grow with the runs and with the rows of a run."""
    yield from _snowflake(month)
    yield from _jobs(month)
    runs, transitions = month.workload.runs, month.assumed.transitions_per_run
    yield line(
        "Step Functions",
        "state transitions",
        month.prices["step_functions.transition"],
        runs * transitions,
        f"{number(runs)} runs x {number(transitions)} states",
    )
    mails = month.assumed.mails_per_month if runs and month.stage.notification_email else 0
    yield line("SNS", "mails", month.prices["sns.email"], mails, f"{number(mails)} mails")


def _snowflake(month: Month) -> Iterator[Line]:
    stage, assumed = month.stage, month.assumed
    steps = month.step_seconds
    per_hour = month.prices.credits_per_hour[stage.warehouse_size]
    arrivals = f" + {number(month.arrivals)} loads on arrival, each with its minute" if month.arrivals else ""
    yield line(
        "Snowflake",
        "warehouse of the pipeline",
        month.prices.credit,
        month.pipeline_credits,
        f"{number(month.pipeline_hours)} hours ({number(month.workload.runs)} runs x "
        f"({' + '.join(f'{seconds:.0f} s {step.title()}' for step, seconds in steps.items())} + "
        f"{number(assumed.auto_suspend_s)} s until it suspends){arrivals}) x {number(per_hour)} credits of "
        f"{stage.warehouse_size}",
    )
    yield line(
        "Snowflake",
        "warehouse of people and dashboards",
        month.prices.credit,
        month.reader_credits,
        f"{number(month.reader_credits)} hours x 1 credit of XSMALL",
    )
    stored = month.events / DAYS * month.history_days * assumed.warehouse_bytes / TB
    yield line(
        "Snowflake",
        "storage",
        month.prices["snowflake.tb_month"],
        stored,
        f"{number(month.events / DAYS)} events per day x {number(month.history_days)} days x "
        f"{number(assumed.warehouse_bytes)} bytes / 1024^4",
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
