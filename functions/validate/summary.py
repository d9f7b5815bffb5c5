"""The result of one run of Validate as JSON on S3: for the run's page, the operations page and the export to other tools.

`reports/validation/<run_id>.json` is the run's own. `reports/validation/latest/<shop_id>.json` is a copy of the shop's
newest one, so that a reader needs neither a listing nor the warehouse. Times are ISO 8601 in UTC.
"""

from typing import Any, Literal

import msgspec

from functions.platform.contract import VALIDATION_LATEST_PREFIX, VALIDATION_REPORTS_PREFIX

Kind = Literal["data", "expectation", "profile", "dbt"]
Verdict = Literal["failed", "overridden", "warned", "skipped", "passed"]


class FailingRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row that breaks a check. `file` and `line` are the address of its raw line; a derived row may have none."""

    file: str | None = None  # s3://bucket/key
    line: int | None = None  # from 1
    event_id: str | None = None
    event_name: str | None = None
    item_id: str | None = None
    at: str | None = None  # time of the event, or of the failure of a file
    note: str | None = None  # the offending number, or the reason of a refusal


class Override(msgspec.Struct, frozen=True):
    """The decision of a person that a failed check does not stop this run."""

    set_by: str
    set_at: str
    reason: str


class Expectation(msgspec.Struct, frozen=True, omit_defaults=True):
    """The kind and the arguments of a dbt test, such as `not_null` or `expect_column_values_to_be_between`."""

    type: str
    model: str
    column: str = ""
    arguments: dict[str, Any] = {}


class CheckResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """One check. The first eleven fields are those of QA.CHECK_RESULTS."""

    kind: Kind
    name: str
    slice: str
    against: str
    n: int
    minimum_n: int
    value: float | None
    bound: float
    comparator: str
    verdict: Verdict
    reason: str
    limit: str | None = None  # who set the limit of this shop, and why; None for the default
    override: Override | None = None
    expectation: Expectation | None = None
    rows: list[FailingRow] = []


class Value(msgspec.Struct, frozen=True):
    """A value of a column and its share of the rows that have one."""

    value: str
    share: float


class Distribution(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column in one period."""

    rows: int
    nulls: int
    distinct: int
    smallest: float | None = None
    largest: float | None = None
    quantiles: list[float | None] = []  # of QUANTILES in profiles.py
    most_frequent: list[Value] = []


class ColumnProfile(msgspec.Struct, frozen=True):
    """One column of the newest day, against the days before. `psi` is the population stability index, if it is judged."""

    column: str
    kind: Literal["number", "category", "key"]
    day: Distribution
    before: Distribution
    psi: float | None


class ModelProfile(msgspec.Struct, frozen=True):
    """The columns of one model. `before_days` is the number of days before the newest one."""

    model: str
    rows: int
    rows_before: int
    before_days: int
    columns: list[ColumnProfile]


class Refusals(msgspec.Struct, frozen=True):
    """Refused events since yesterday, with the key of this shop. `is_sample`: the numbers are estimates."""

    total: int
    by_reason: dict[str, int]
    is_sample: bool


class Freshness(msgspec.Struct, frozen=True):
    """The newest times of each layer. None means an empty table."""

    newest_event_at: str | None  # of several clients of this shop
    raw_loaded_at: str | None  # of all shops, as the next two
    staged_at: str | None
    marts_at: str | None


class Day(msgspec.Struct, frozen=True):
    """The accepted events of one UTC day."""

    day: str
    events: int


class Summary(msgspec.Struct, frozen=True):
    """The result of one run of Validate for one shop."""

    run_id: str
    shop_id: str
    checked_at: str
    verdict: Literal["passed", "failed"]
    counts: dict[str, int]  # verdict -> checks
    checks: list[CheckResult]
    events: int  # accepted events of this shop, of all time
    daily_events: list[Day]  # of the last 30 days, oldest first
    refusals: Refusals
    freshness: Freshness
    profiles: list[ModelProfile] = []
    version: int = 1


def run_key(run_id: str) -> str:
    """Return the key of a run's summary in the models bucket."""
    return f"{VALIDATION_REPORTS_PREFIX}{run_id}.json"


def latest_key(shop_id: str) -> str:
    """Return the key of a shop's newest summary in the models bucket."""
    return f"{VALIDATION_LATEST_PREFIX}{shop_id}.json"


def encode(summary: Summary) -> bytes:
    """Return the JSON of a summary."""
    return msgspec.json.encode(summary)


def decode(content: bytes) -> Summary:
    """Read a summary.

    Raises:
        msgspec.ValidationError: the content is not a summary of this version.
    """
    return msgspec.json.decode(content, type=Summary)
