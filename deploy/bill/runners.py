"""The lines of Transform, Validate and Export in a stage that runs them as jobs (the setting `runner`)."""

from collections.abc import Iterator
from math import ceil

from deploy.bill.month import HOURS, Line, Month, line, number
from deploy.step_jobs import JOB_VOLUME_GB, STEPS


def runner_lines(month: Month) -> Iterator[Line]:
    """Yield a line per step for the machine of its job, and one for the jobs' volumes. A stage with Lambdas has none."""
    if month.stage.runner == "lambda":
        return
    for step in STEPS:
        yield _build(month, step.name) if month.stage.runner == "codebuild" else _processing(month, step.name)
    if month.stage.runner == "sagemaker-processing":
        yield _volumes(month)


def _build(month: Month, step: str) -> Line:
    """https://aws.amazon.com/codebuild/pricing/: the minutes of a build are rounded up."""
    runs, seconds = month.workload.runs, month.job_s(step)
    minutes = ceil(seconds / 60)
    return line(
        "CodeBuild",
        f"{step.title()} as a job",
        month.prices["codebuild.small_minute"],
        runs * minutes,
        f"{number(runs)} runs x {minutes} minutes ({_parts(month, step)}, rounded up)",
    )


def _processing(month: Month, step: str) -> Line:
    runs, kind = month.workload.runs, month.stage.processing_instance_type
    return line(
        "SageMaker",
        f"{step.title()} as a job",
        month.prices.instance(kind),
        runs * month.job_s(step) / 3600,
        f"{number(runs)} runs x ({_parts(month, step)}) / 3600 of {kind}",
    )


def _volumes(month: Month) -> Line:
    runs, seconds = month.workload.runs, sum(month.job_s(step.name) for step in STEPS)
    return line(
        "SageMaker",
        "volumes of the steps' jobs",
        month.prices["sagemaker.volume_gb_month"],
        runs * seconds * JOB_VOLUME_GB / 3600 / HOURS,
        f"{number(runs)} runs x {seconds:.0f} s x {JOB_VOLUME_GB} GB / 3600 / {HOURS}",
    )


def _parts(month: Month, step: str) -> str:
    return f"{number(month.assumed.job_start_s)} s start + {month.step_seconds[step]:.0f} s {step.title()}"
