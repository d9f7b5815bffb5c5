"""The types of the content of the operations page. Lists of times begin with the oldest, lists of runs with the newest."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")

# 1 is looked at first.
Weight = Literal[1, 2, 3]
Points = list[tuple[datetime, float]]


class Step(msgspec.Struct, frozen=True):
    """One state of a run that calls a service. Visits of a loop are one step."""

    name: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    tries: int
    failures: list[str]


class Epoch(msgspec.Struct, frozen=True):
    """One epoch of the training: the loss, and the hit rate on sessions that it has not seen."""

    epoch: int
    loss: float
    valid_hr_at_20: float | None = None
    valid_mrr_at_20: float | None = None


class Check(msgspec.Struct, frozen=True):
    """One check of the gate."""

    name: str
    slice: str
    against: str
    value: float | None
    verdict: str
    reason: str


class Training(msgspec.Struct, frozen=True):
    """The training job of a run, as Step Functions called it and as SageMaker described it at its end."""

    job: str
    image: str
    code_uri: str
    instance: str
    seconds: float
    billed_seconds: float
    settings: dict[str, str]
    metrics: dict[str, float]


class Evaluation(msgspec.Struct, frozen=True):
    """The verdict of the gate on a candidate. `metrics` has the figures of each measured model."""

    passed: bool
    failures: list[str]
    override_reason: str
    model_version: str
    metrics: dict[str, dict[str, float]]
    checks: list[Check]
    settings: dict[str, Any]
    curve: list[Epoch]

    @property
    def warnings(self) -> list[str]:
        """The reasons of the checks that warn. The model is published all the same."""
        return [check.reason for check in self.checks if check.verdict == "warned"]


class Published(msgspec.Struct, frozen=True):
    """The model that a run put behind the endpoint. `overlap` is None until the golden sessions proved it."""

    endpoint: str
    config: str
    model_name: str
    model_data_uri: str
    overlap: float | None


class Run(msgspec.Struct, frozen=True):
    """One execution of the state machine. A part is None if the run did not reach it."""

    arn: str
    name: str
    run_id: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    started_by: str
    redrives: int = 0
    error: str = ""
    cause: str = ""
    failed_step: str = ""
    options: dict[str, Any] = {}
    steps: list[Step] = []
    transitions: int = 0
    loaded: dict[str, Any] | None = None
    validation: dict[str, Any] | None = None
    snapshot: dict[str, Any] | None = None
    training: Training | None = None
    evaluation_s: float = 0
    evaluation: Evaluation | None = None
    published: Published | None = None
    # Why a part is missing although the run reached it.
    note: str = ""

    def seconds(self, now: datetime) -> float:
        """Return the duration, until now if the run has not ended."""
        return ((self.ended_at or now) - self.started_at).total_seconds()

    @property
    def trains(self) -> bool:
        """Return True if the run was to train a model."""
        return not self.options.get("skip_training", False) and not self.options.get("only_tables", False)

    @property
    def shop_id(self) -> str:
        """The shop of its input; empty for the only trained one, and for the tables of all."""
        return "" if self.options.get("only_tables", False) else str(self.options.get("shop_id", ""))

    def step(self, name: str) -> Step | None:
        """Return the step of this name if it succeeded."""
        return next((one for one in self.steps if one.name == name and one.status == "done"), None)

    @property
    def tries(self) -> int:
        """The most tries of one step."""
        return max((one.tries for one in self.steps), default=0)


@dataclass(frozen=True)
class Runs:
    """The newest runs, newest first. `month` has the start times of this month's executions."""

    newest: list[Run]
    month: list[datetime] = field(default_factory=list)

    @property
    def latest_ended(self) -> list[Run]:
        """The run that ended last, of each shop and of the tables."""
        return self._newest_of_shops(lambda run: run.ended_at is not None)

    @property
    def latest_judged(self) -> list[Run]:
        """The newest run of each shop that the gate judged."""
        return self._newest_of_shops(lambda run: run.evaluation is not None)

    def _newest_of_shops(self, is_one: Callable[[Run], bool]) -> list[Run]:
        of_shops: dict[str, Run] = {}
        for run in filter(is_one, self.newest):
            of_shops.setdefault(run.shop_id, run)
        return list(of_shops.values())

    @property
    def latest_success(self) -> Run | None:
        """The run that succeeded last."""
        return next((run for run in self.newest if run.status == "SUCCEEDED"), None)

    def latest_with(self, step: str) -> Run | None:
        """Return the newest run in which a step succeeded."""
        return next((run for run in self.newest if run.step(step)), None)


@dataclass(frozen=True)
class Schedule:
    """The schedule of the nightly run. `next_at` is None if it is off or not known."""

    expression: str
    enabled: bool
    next_at: datetime | None


@dataclass(frozen=True)
class ReleaseRow:
    """A release on record. `place` is `current`, `canary` or `previous`."""

    place: str
    model_version: str
    endpoint: str
    config: str
    run_id: str
    snapshot_id: str
    model_data_uri: str
    published_at: datetime


@dataclass(frozen=True)
class Serving:
    """A shop's release on record against what its endpoint serves, and the share of a canary in percent."""

    shop_id: str
    releases: list[ReleaseRow]
    endpoint: str
    endpoint_status: str
    served_config: str
    canary_share: int = 0

    @property
    def current(self) -> ReleaseRow | None:
        """The release that should be served."""
        return next((one for one in self.releases if one.place == "current"), None)

    @property
    def agrees(self) -> bool:
        """True if the endpoint serves the release on record."""
        return self.current is not None and self.served_config == self.current.config


@dataclass(frozen=True)
class Metrics:
    """Series of CloudWatch by their id in metrics.py. A series without a value in the period is missing."""

    since: datetime
    series: dict[str, Points]
    month: dict[str, float]
    refused: dict[str, float]
    fallbacks: dict[str, float]
    # The series of each shop, if the stage serves several. `series` then has none of an endpoint.
    shops: dict[str, "Metrics"] = field(default_factory=dict)

    def total(self, name: str) -> float | None:
        """Return the sum of a series, or None without data."""
        points = self.series.get(name)
        return sum(value for _, value in points) if points else None

    def latest(self, name: str) -> float | None:
        """Return the newest value of a series, or None without data."""
        points = self.series.get(name)
        return points[-1][1] if points else None

    def largest(self, name: str) -> float | None:
        """Return the largest value of a series, of any shop, or None without data."""
        points = self.series.get(name)
        if points:
            return max(value for _, value in points)
        of_shops = (one.largest(name) for one in self.shops.values())
        return max((value for value in of_shops if value is not None), default=None)

    def share(self, part: str, whole: str) -> float | None:
        """Return a sum's share of another sum, or None without data of the whole."""
        all_of_it = self.total(whole)
        return (self.total(part) or 0) / all_of_it if all_of_it else None


class Freshness(msgspec.Struct, frozen=True):
    """The newest times of each layer of the warehouse, as Validate wrote them."""

    newest_event_at: str | None = None
    raw_loaded_at: str | None = None
    staged_at: str | None = None
    marts_at: str | None = None


class Refusals(msgspec.Struct, frozen=True):
    """Refused events of a shop since the day before its validation."""

    total: int = 0
    by_reason: dict[str, int] = {}
    is_sample: bool = False


class Day(msgspec.Struct, frozen=True):
    """The accepted events of one UTC day."""

    day: str
    events: int


class DataCheck(msgspec.Struct, frozen=True):
    """One data check of Validate."""

    name: str
    slice: str = ""
    verdict: str = ""
    reason: str = ""


class Shop(msgspec.Struct, frozen=True):
    """The summary of one shop by Validate. Fields that this page does not use are left out."""

    shop_id: str
    run_id: str
    checked_at: datetime
    verdict: str = ""
    counts: dict[str, int] = {}
    checks: list[DataCheck] = []
    daily_events: list[Day] = []
    refusals: Refusals = msgspec.field(default_factory=Refusals)
    freshness: Freshness = msgspec.field(default_factory=Freshness)


@dataclass(frozen=True)
class Place:
    """One place on the way from an event to a carousel, with its newest data. `at` is None if it is empty or not known."""

    name: str
    what: str
    at: datetime | None
    source: str
    newest_event_at: datetime | None = None


@dataclass(frozen=True)
class Data:
    """The age of the data in each place, and what Validate found per shop."""

    places: list[Place]
    shops: list[Shop]


@dataclass(frozen=True)
class Batch:
    """One batch of lists for mail. `SKIPPED` is the status of a shop without a model yet. Without lists, `reason` says why."""

    shop_id: str
    status: str
    started_at: datetime
    clients: int | None
    rows: int | None
    model_version: str
    reason: str


@dataclass(frozen=True)
class Alarm:
    """One alarm of the stage. `last_fired` is None if it did not fire in the time that CloudWatch remembers."""

    name: str
    state: str
    since: datetime | None
    last_fired: datetime | None
    description: str
    reason: str


@dataclass(frozen=True)
class Alarms:
    """All alarms of the stage. `history_problem` says why the last firings are not known."""

    alarms: list[Alarm]
    history_problem: str = ""


@dataclass(frozen=True)
class MoneyLine:
    """One line of the bill. `basis` says what the amount is computed from."""

    service: str
    item: str
    so_far: float
    predicted: float
    basis: str


@dataclass(frozen=True)
class Money:
    """An estimate of this month's bill so far, against the prediction for as many events."""

    so_far: float
    predicted: float
    month_predicted: float
    month_events: float | None
    elapsed: float
    budget_usd: float
    prices: str
    lines: list[MoneyLine]


@dataclass(frozen=True)
class Reports:
    """Signed addresses of the HTML reports by their s3:// address, and the time until which they are valid."""

    addresses: dict[str, str]
    valid_until: datetime


@dataclass(frozen=True)
class Section(Generic[T]):
    """A part of the page: its content, or why it could not be read."""

    value: T | None
    problem: str = ""


@dataclass(frozen=True)
class Reason:
    """One reason to look at the shop, with what to do."""

    weight: Weight
    text: str
    action: str
    link: str


@dataclass(frozen=True)
class Verdict:
    """The answer to "Is the shop well?"."""

    answer: Literal["yes", "look", "unknown"]
    sentence: str
    reasons: list[Reason]


@dataclass(frozen=True)
class Operations:
    """Everything that the page shows."""

    stage: str
    models_bucket: str
    built_at: datetime
    every_minutes: int
    runs: Section[Runs]
    schedule: Section[Schedule]
    serving: Section[list[Serving]]
    metrics: Section[Metrics]
    data: Section[Data]
    batches: Section[list[Batch]]
    alarms: Section[Alarms]
    money: Section[Money]
    reports: Section[Reports]
