"""The lines of Snowflake: the warehouses of the pipeline and of people, Snowpipe, and storage."""

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from deploy.bill.month import DAYS, GB, HOURS, WAREHOUSE_STEPS, Line, Month, line, number
from deploy.step_jobs import runs_as_job
from deploy.warehouse_sizes import step_warehouse_sizes, warehouse_size
from functions.platform.settings import SHARED

TB = 1024**4
# Snowflake bills a started warehouse for at least a minute.
# https://docs.snowflake.com/en/user-guide/warehouses-overview
WAREHOUSE_MIN_S = 60


class Stretch(NamedTuple):
    """Steps of a run that follow one another on one warehouse, which then runs on until it suspends."""

    # The step whose own warehouse it is, or "" for the pipeline's.
    owner: str
    steps: tuple[str, ...]


def snowflake_lines(month: Month) -> Iterator[Line]:
    """Yield the lines of the vendor Snowflake."""
    for owner in dict.fromkeys(("", *(one.owner for one in stretches(month)))):
        yield _warehouse(month, owner)
    if month.stage.load_by == "snowpipe":
        yield _snowpipe(month)
    yield line(
        "Snowflake",
        "warehouse of people and dashboards",
        month.prices.credit,
        month.reader_credits,
        f"{number(month.reader_credits)} hours x 1 credit of XSMALL",
    )
    stored = month.events / DAYS * month.history_days * month.assumed.warehouse_bytes / TB
    yield line(
        "Snowflake",
        "storage",
        month.prices["snowflake.tb_month"],
        stored,
        f"{number(month.events / DAYS)} events per day x {number(month.history_days)} days x "
        f"{number(month.assumed.warehouse_bytes)} bytes / 1024^4",
    )


def stretches(month: Month) -> list[Stretch]:
    """Return the stretches of a run. Before a step that runs as a job, the warehouse suspends: the job starts slowly."""
    own = step_warehouse_sizes(month.stage)

    def position(step: str) -> tuple[str, str]:
        owner = step if own.get(step, SHARED) != SHARED else ""
        return owner, step if runs_as_job(month.stage, step) else ""

    return [Stretch(owner, tuple(steps)) for (owner, _), steps in groupby(WAREHOUSE_STEPS, position)]


def hours(month: Month, owner: str) -> float:
    """Return the hours of a warehouse in the month."""
    suspend_s = month.assumed.auto_suspend_s
    run_s = sum(
        max(WAREHOUSE_MIN_S, sum(month.step_seconds[step] for step in one.steps) + suspend_s)
        for one in stretches(month)
        if one.owner == owner
    )
    arrival_s = 0.0 if owner else max(WAREHOUSE_MIN_S, month.assumed.load_on_arrival_s + suspend_s)
    return min(HOURS, (month.workload.runs * run_s + month.arrivals * arrival_s) / 3600)


def pipeline_credits(month: Month) -> float:
    """Return the credits of the pipeline's warehouses, which share the quota warehouse_credits_per_month."""
    return sum(_credits(month, owner) for owner in {"", *(one.owner for one in stretches(month))})


def _credits(month: Month, owner: str) -> float:
    return hours(month, owner) * month.prices.credits_per_hour[warehouse_size(month.stage, owner)]


def _warehouse(month: Month, owner: str) -> Line:
    size = warehouse_size(month.stage, owner)
    mine = [one.steps for one in stretches(month) if one.owner == owner]
    parts = [f"{month.step_seconds[step]:.0f} s {step.title()}" for steps in mine for step in steps]
    times = "" if len(mine) == 1 else f"{len(mine)} x "
    suspends = f"{times}{number(month.assumed.auto_suspend_s)} s until it suspends"
    arrivals = ""
    if month.arrivals and not owner:
        arrivals = f" + {number(month.arrivals)} loads on arrival, each with its minute"
    return line(
        "Snowflake",
        f"warehouse of {owner.title() or 'the pipeline'}",
        month.prices.credit,
        _credits(month, owner),
        f"{number(hours(month, owner))} hours ({number(month.workload.runs)} runs x ({' + '.join([*parts, suspends])})"
        f"{arrivals}) x {number(month.prices.credits_per_hour[size])} credits of {size}",
    )


def _snowpipe(month: Month) -> Line:
    """Return the line of Snowpipe. It bills text by its uncompressed size."""
    loaded_gb = month.events * month.assumed.line_bytes / GB
    per_gb = month.prices.snowpipe_credits_per_gb
    return line(
        "Snowflake",
        "Snowpipe",
        month.prices.credit,
        loaded_gb * per_gb,
        f"{number(month.events)} events x {number(month.assumed.line_bytes)} bytes / 1,073,741,824 x {per_gb} credits per GB",
    )
