"""One month of a stage: the shop's figures, and the quantities that follow from them and from the stage's settings."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from deploy.bill.assumptions import Assumptions
from deploy.bill.prices import Price, PriceList
from deploy.bill.stack import invoked_lambdas
from deploy.lambdas import LAMBDAS, named
from deploy.stages import Stage
from deploy.step_jobs import runs_as_job
from deploy.warehouse_sizes import warehouse_size
from functions.canary.canary import SHARES

DAYS = 30
HOURS = DAYS * 24
SECONDS = HOURS * 3600
GB = 1024**3
# https://aws.amazon.com/firehose/pricing/: each record is rounded up to the next 5 KB.
FIREHOSE_STEP_BYTES = 5 * 1024
# SageMaker takes two to six minutes to create an endpoint or to move it.
ENDPOINT_MOVE_S = 240
# The Lambdas that keep Snowflake's warehouse running, in the order of a run.
WAREHOUSE_STEPS = ("load", "transform", "validate", "export")


class Line(NamedTuple):
    """One line of the bill, with the formula that gives its amount."""

    service: str
    item: str
    usd: float
    formula: str


@dataclass(frozen=True)
class Workload:
    """The events, sessions and runs of a month. All zero: the stage is idle, and its schedule is off."""

    name: str
    events: float
    sessions: float
    recommendations: float
    items: float
    runs: float


@dataclass(frozen=True)
class Calls:
    """The calls of one Lambda in a month, and the mean seconds of each."""

    count: float
    seconds: float


def idle() -> Workload:
    """Return the workload of a deployed stage in which nothing happens."""
    return Workload("idle", 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Month:
    """A month of a stage under a workload."""

    stage: Stage
    workload: Workload
    assumed: Assumptions
    prices: PriceList

    def changed(self, **settings: object) -> "Month":
        """Return the same month with other settings of the stage."""
        return replace(self, stage=replace(self.stage, **settings))  # type: ignore[arg-type]

    @cached_property
    def events(self) -> float:
        """Accepted and refused events."""
        return self.workload.events

    @cached_property
    def event_requests(self) -> float:
        """Requests with events."""
        return self.events / max(1, self.assumed.events_per_request)

    @cached_property
    def script_requests(self) -> float:
        """Requests for the storefront's scripts."""
        return self.workload.sessions * self.assumed.scripts_per_session

    @cached_property
    def night_millions(self) -> float:
        """Million events per run."""
        return self.events / self.workload.runs / 1e6 if self.workload.runs else 0

    @cached_property
    def history_days(self) -> float:
        """Days since the first event."""
        return self.assumed.month * DAYS

    @cached_property
    def training_millions(self) -> float:
        """Million interactions that a model learns from."""
        days = min(self.stage.training_days, self.history_days)
        return self.events / DAYS * days * self.assumed.interactions_per_event / 1e6

    @cached_property
    def raw_files(self) -> float:
        """Files below raw/ per month. Firehose writes one when its buffer is full or old, and none without events."""
        by_time = min(self.event_requests, SECONDS / max(1, self.stage.events_buffer_seconds))
        by_size = self.events * self.assumed.line_bytes / (self.stage.events_buffer_megabytes * 1024**2)
        return max(by_time, by_size)

    @cached_property
    def rejected_files(self) -> float:
        """Files below rejected/ per month."""
        return min(self.event_requests * self.assumed.rejected_share, self.raw_files)

    @cached_property
    def export_bytes(self) -> float:
        """Bytes of one snapshot."""
        return self.training_millions * 1e6 * self.assumed.export_bytes

    @cached_property
    def model_bytes(self) -> float:
        """Bytes of one model archive."""
        return self.workload.items * self.assumed.model_bytes_per_item

    def job_s(self, step: str) -> float:
        """Return the seconds of the machine that runs a step as a job."""
        return self.assumed.job_start_s + self.step_seconds[step]

    def step_s(self, step: str, millions: float) -> float:
        """Return the seconds of a warehouse step over this many million rows.

        A larger warehouse speeds up only the rows, and each size doubles the speed. Snowpipe has loaded the rows before Load.
        """
        fixed_s = float(getattr(self.assumed, f"{step}_fixed_s"))
        if step == "load" and self.stage.load_by == "snowpipe":
            return fixed_s
        per_hour = self.prices.credits_per_hour
        speed = per_hour[warehouse_size(self.stage, step)] / per_hour["XSMALL"]
        return fixed_s + float(getattr(self.assumed, f"{step}_s_per_million")) * millions / speed

    @cached_property
    def step_seconds(self) -> dict[str, float]:
        """The seconds per run of each step that keeps the warehouse running."""
        return {
            step: self.step_s(step, self.training_millions if step == "export" else self.night_millions)
            for step in WAREHOUSE_STEPS
        }

    @property
    def batches(self) -> float:
        """Batches of lists for mail: one after each run of each shop."""
        return self.workload.runs * self.shops if self.stage.batch_nightly else 0

    @property
    def batch_clients(self) -> float:
        """Clients of a shop with a list."""
        days = min(self.stage.batch_days, self.history_days)
        clients = self.workload.sessions / DAYS * days / max(1, self.assumed.sessions_per_client)
        return clients / self.shops

    @property
    def batch_score_s(self) -> float:
        """Seconds of the job that scores a batch."""
        return (
            self.assumed.batch_fixed_s + self.batch_clients / 1000 * self.assumed.batch_score_s_per_thousand
        )

    @property
    def batch_warehouse_s(self) -> float:
        """Seconds of the warehouse per batch: it runs for the histories, and again for the tables."""
        suspend_s = self.assumed.auto_suspend_s
        return 2 * (self.assumed.batch_warehouse_fixed_s + suspend_s) + (
            self.batch_clients / 1000 * self.assumed.batch_warehouse_s_per_thousand
        )

    @property
    def on_gpu(self) -> bool:
        """True if Train runs on a GPU. SageMaker's instance types with NVIDIA GPUs are ml.g* and ml.p*."""
        return self.stage.training_instance_type.startswith(("ml.g", "ml.p"))

    @property
    def shops(self) -> int:
        """The shops that a night trains for. The figures of a month are those of all of them together."""
        return len(self.stage.served_shops)

    @cached_property
    def train_s(self) -> float:
        """Seconds of the training jobs of a night."""
        assumed = self.assumed
        per_million = assumed.train_gpu_s_per_million if self.on_gpu else assumed.train_cpu_s_per_million
        return min(
            self.shops * self.assumed.train_limit_s,
            self.shops * self.assumed.train_fixed_s + per_million * self.training_millions,
        )

    @cached_property
    def evaluate_s(self) -> float:
        """Seconds of the evaluation jobs of a night."""
        fixed_s = self.shops * self.assumed.evaluate_fixed_s
        seconds = fixed_s + self.assumed.evaluate_s_per_million * self.training_millions
        return min(self.shops * self.assumed.evaluate_limit_s, seconds)

    @cached_property
    def arrivals(self) -> float:
        """Loads of a single file, if the stage loads on arrival."""
        return self.raw_files if self.stage.load_on_arrival else 0

    @cached_property
    def page_builds(self) -> float:
        """Rebuilds of the operations page: one per run, and those of its own schedule, which runs without events too."""
        minutes = self.stage.operations_minutes
        return self.workload.runs + (DAYS * 24 * 60 / minutes if minutes else 0)

    @cached_property
    def calls(self) -> dict[str, Calls]:
        """The calls of each Lambda, by its name in deploy/lambdas.py."""
        assumed, runs, steps = self.assumed, self.workload.runs, self.step_seconds
        api = self.workload.recommendations + self.script_requests
        api_ms = (
            self.workload.recommendations * assumed.recommend_ms + self.script_requests * assumed.script_ms
        )
        loads = runs + self.arrivals
        load_s = runs * steps["load"] + self.arrivals * assumed.load_on_arrival_s
        compact_s = assumed.compact_fixed_s + assumed.compact_s_per_million * self.night_millions
        known = {
            "api_handler": Calls(api, api_ms / api / 1000 if api else 0),
            "collect": Calls(self.event_requests, assumed.collect_ms / 1000),
            "lock": Calls(2 * (runs + self.batches), assumed.lock_s),
            "load": Calls(loads, load_s / loads if loads else 0),
            **{
                step: Calls(0, 0) if runs_as_job(self.stage, step) else Calls(runs, steps[step])
                for step in ("transform", "validate", "export")
            },
            # Each of them once for the candidate, and once for the stage's endpoint.
            "publish": Calls(2 * runs, assumed.publish_s),
            "prove": Calls(2 * runs, assumed.prove_s),
            "canary": Calls(runs * (1 + self.canary_shares), named("canary").timeout_s),
            "compact": Calls(runs, compact_s),
            # One feed per run. Batches of PUT /catalogue come on top.
            "catalogue": Calls(runs, assumed.catalogue_s),
            "operations": Calls(self.page_builds, assumed.page_s),
            "histories": Calls(self.batches, assumed.batch_warehouse_fixed_s),
            "answers": Calls(self.batches, self.batch_clients / 1000 * assumed.batch_answer_s_per_thousand),
            "batch": Calls(self.batches, assumed.batch_warehouse_fixed_s),
            # Only a failed run calls it.
            "rollback": Calls(0, 0),
        }
        # A Lambda without a line above is billed with its time limit once per run, or not at all if only people call it.
        return known | {
            one.name: Calls(runs, one.timeout_s) if one.name in invoked_lambdas() else Calls(0, 0)
            for one in LAMBDAS
            if one.name not in known
        }

    @property
    def canary_shares(self) -> int:
        """The number of shares that a canary waits at; 0 without a canary."""
        return len(SHARES) if self.stage.canary_seconds else 0

    @property
    def candidate_hours(self) -> float:
        """Hours in which the endpoint of a candidate exists: the canaries, and two moves of an endpoint per run."""
        waits_s = self.canary_shares * self.stage.canary_seconds
        return self.workload.runs * (waits_s + 2 * ENDPOINT_MOVE_S) / 3600

    @cached_property
    def lambda_calls(self) -> float:
        """Calls of all Lambdas."""
        return sum(calls.count for calls in self.calls.values())

    @cached_property
    def reader_credits(self) -> float:
        """Credits of the warehouse of people and dashboards."""
        hours = self.assumed.reader_hours_per_month if self.events else 0
        return hours * self.prices.credits_per_hour["XSMALL"]

    @cached_property
    def endpoint_instances(self) -> float:
        """Instances of the real-time endpoints of all shops, at the mean rate of requests."""
        per_minute = self.workload.recommendations / (DAYS * 24 * 60) / self.shops
        wanted = -(-per_minute // self.stage.endpoint_requests_per_instance_minute)
        of_shop = min(self.stage.endpoint_max_instances, max(self.stage.endpoint_min_instances, wanted))
        return self.shops * of_shop


def memory_gb(name: str) -> float:
    """Return the memory of a Lambda in GB."""
    return named(name).memory_mb / 1024


def number(value: float) -> str:
    """Format a quantity: whole numbers with separators, others with three significant digits."""
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def line(service: str, item: str, price: Price, quantity: float, substituted: str) -> Line:
    """Return a line: the quantity, whose derivation is `substituted`, times the price."""
    usd = price.usd(quantity)
    return Line(service, item, usd, f"{substituted} x {price.text(quantity)} per {price.unit}")
