"""The bill: all lines of a month, its workloads, and what the stage's limits say to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from deploy.bill.assumptions import Assumptions
from deploy.bill.edge import edge_lines
from deploy.bill.month import DAYS, WAREHOUSE_STEPS, Line, Month, Workload, number
from deploy.bill.pipeline import pipeline_lines
from deploy.bill.prices import PriceList
from deploy.bill.standing import standing_lines
from deploy.bill.storage import storage_lines
from deploy.bill.warehouses import pipeline_credits
from deploy.lambdas import named
from deploy.stages import Stage
from deploy.step_jobs import runs_as_job, step_timeout_s

# A budget of exactly the prediction would warn each month.
BUDGET_MARGIN = 1.25


@dataclass(frozen=True)
class Bill:
    """The lines of a month that cost something."""

    month: Month

    @cached_property
    def lines(self) -> list[Line]:
        """The lines above $0, in the order of the journey."""
        makers = (edge_lines, pipeline_lines, storage_lines, standing_lines)
        return [one for make in makers for one in make(self.month) if one.usd > 0]

    @cached_property
    def usd(self) -> float:
        """The total."""
        return sum(one.usd for one in self.lines)

    @property
    def of_aws(self) -> float:
        """The part that AWS bills. monthly_budget_usd covers this part only."""
        return sum(one.usd for one in self.lines if one.service != "Snowflake")

    def amount(self, service: str, item: str) -> float:
        """Return the amount of a line, or 0."""
        return sum(one.usd for one in self.lines if (one.service, one.item) == (service, item))


def workload(
    name: str, events: float, assumed: Assumptions, figures: Mapping[str, float] | None = None
) -> Workload:
    """Return the workload of this many events per month.

    Args:
        name: the heading of its column.
        events: events per month.
        assumed: what is assumed of shoppers.
        figures: the shop's own sessions, recommendations, items and runs, as far as they are known.
    """
    given = dict(figures or {})
    sessions = given.get("sessions", events / max(1, assumed.events_per_session))
    return Workload(
        name,
        events,
        sessions,
        given.get("recommendations", sessions * assumed.recommendations_per_session),
        given.get("items", assumed.catalogue_items),
        given.get("runs", assumed.runs_per_month),
    )


def predict(stage: Stage, of: Workload, assumed: Assumptions, prices: PriceList) -> Bill:
    """Return the bill of a stage under a workload."""
    return Bill(Month(stage, of, assumed, prices))


def warnings(bill: Bill) -> list[str]:
    """Return one sentence per limit of the stage that the workload exceeds, and one on the budget."""
    month, stage = bill.month, bill.month.stage
    found = [*_credit_warnings(month), *_time_warnings(month), *_rate_warnings(month)]
    suggested = max(10, round(bill.of_aws * BUDGET_MARGIN, -1))
    if not stage.monthly_budget_usd:
        found.append(f"No budget warns you: set monthly_budget_usd = {suggested:.0f} in deploy/stages.toml.")
    elif bill.of_aws > stage.monthly_budget_usd:
        found.append(
            f"AWS is predicted to bill ${bill.of_aws:,.2f}, and monthly_budget_usd is {stage.monthly_budget_usd}: raise it to "
            f"{suggested:.0f}, or change what costs most."
        )
    return found


def _credit_warnings(month: Month) -> list[str]:
    return [
        f"{setting} is {quota}, and {number(wanted)} credits are predicted: the warehouse stops about day "
        f"{max(1, int(DAYS * quota / wanted))} of the month. Raise the quota, or reduce the work."
        for setting, quota, wanted in (
            ("warehouse_credits_per_month", month.stage.warehouse_credits_per_month, pipeline_credits(month)),
            ("reader_credits_per_month", month.stage.reader_credits_per_month, month.reader_credits),
        )
        if wanted > quota
    ]


def _time_warnings(month: Month) -> list[str]:
    lambdas = [
        f"{name} is predicted to take {number(calls.seconds)} s per run, and its Lambda ends after "
        f"{named(name).timeout_s} s: {_way_past(name)}."
        for name, calls in month.calls.items()
        if calls.seconds > named(name).timeout_s
    ]
    limit_s = step_timeout_s(month.stage)
    jobs = [
        f"{step} is predicted to take {number(month.job_s(step))} s per run, and its job ends after {limit_s} s: raise "
        "job_timeout_minutes, or the size of its warehouse."
        for step in WAREHOUSE_STEPS
        if runs_as_job(month.stage, step) and month.job_s(step) > limit_s
    ]
    return [*lambdas, *jobs]


def _way_past(name: str) -> str:
    if named(name).as_job:
        return (
            'set runner = "codebuild", or a larger warehouse (docs/deploy.md, Steps longer than 15 minutes)'
        )
    return "docs/architecture.md names the way past it"


def _rate_warnings(month: Month) -> list[str]:
    seconds = DAYS * 24 * 3600
    return [
        f"{number(requests / seconds)} requests per second are predicted on average, and {setting} is {limit}: API "
        "Gateway refuses the rest with 429. Raise the limit."
        for setting, limit, requests in (
            ("events_requests_per_second", month.stage.events_requests_per_second, month.event_requests),
            (
                "recommend_requests_per_second",
                month.stage.recommend_requests_per_second,
                month.workload.recommendations,
            ),
        )
        if requests / seconds > limit
    ]
