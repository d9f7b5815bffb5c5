"""The index of a shop's runs: the verdict of each of the last 90 runs, and a chart of each check, from QA.CHECK_RESULTS."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.platform import warehouse
from functions.platform.contract import VALIDATION_INDEX_PREFIX
from functions.validate.page import environment

SHOWN_RUNS, SHOWN_DAYS = 90, 120
CHART_WIDTH, CHART_HEIGHT = 180, 36
ORDER = {"failed": 0, "overridden": 1, "warned": 2, "skipped": 3, "passed": 4}

# A passed invariant has nothing to show. The other checks have a value, or a reason to be skipped.
HISTORY = f"""
    select RUN_ID, CHECKED_AT, KIND, CHECK_NAME, SLICE, VALUE, BOUND, COMPARATOR, VERDICT
    from QA.CHECK_RESULTS
    where SHOP_ID = %s and CHECKED_AT > %s and (KIND != 'dbt' or VERDICT != 'passed')
    qualify dense_rank() over (order by CHECKED_AT desc) <= {SHOWN_RUNS}
    order by CHECKED_AT
"""


@dataclass
class Run:
    """One try of one run: a redriven run has several, and they share its page."""

    run_id: str
    checked_at: datetime
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    overridden: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Return the worst verdict that is more than a skipped check."""
        return next((name for name in ("failed", "overridden", "warned") if self.counts[name]), "passed")


@dataclass
class Trend:
    """One check over the runs."""

    kind: str
    name: str
    slice: str
    points: list[tuple[int, float | None, float, str]] = field(
        default_factory=list
    )  # run, value, bound, verdict
    comparator: str = ""

    @property
    def latest(self) -> tuple[int, float | None, float, str]:
        """Return the newest point."""
        return self.points[-1]


def index_key(shop_id: str) -> str:
    """Return the key of a shop's index in the models bucket."""
    return f"{VALIDATION_INDEX_PREFIX}{shop_id}.html"


def read_history(connection: Any, shop_id: str, now: datetime) -> tuple[list[Run], list[Trend]]:
    """Return the last runs of a shop, oldest first, and the trends of its checks, the worst first."""
    since = (now - timedelta(days=SHOWN_DAYS)).replace(tzinfo=None)
    runs: dict[tuple[str, datetime], Run] = {}
    trends: dict[tuple[str, str], Trend] = {}
    for run_id, checked_at, kind, name, slice_, value, bound, comparator, verdict in warehouse.rows(
        connection, HISTORY, (shop_id, since)
    ):
        run = runs.setdefault((run_id, checked_at), Run(run_id, checked_at.replace(tzinfo=UTC)))
        run.counts[verdict] += 1
        if verdict in ("failed", "overridden", "warned"):
            getattr(run, verdict).append(name)
        if name == "tested rows":
            continue
        trend = trends.setdefault((name, slice_), Trend(kind, name, slice_))
        trend.points.append((len(runs) - 1, value, bound, verdict))
        trend.comparator = comparator
    last = len(runs) - 1

    def order(trend: Trend) -> tuple[int, str, str]:
        is_current = trend.latest[0] == last
        return ORDER[trend.latest[3]] if is_current else len(ORDER), trend.name, trend.slice

    return list(runs.values()), sorted(trends.values(), key=order)


def index(shop_id: str, runs: Sequence[Run], trends: Sequence[Trend]) -> str:
    """Return the HTML of the index."""
    groups = defaultdict(list)
    for trend in trends:
        groups[trend.kind].append(trend)
    return (
        environment()
        .get_template("index.html.jinja")
        .render(
            shop_id=shop_id,
            runs=runs,
            groups=groups,
            chart=lambda trend: chart(trend, len(runs)),
            last=len(runs) - 1,
        )
    )


def chart(trend: Trend, runs: int) -> dict[str, Any]:
    """Return the points of a sparkline. The largest of the values and bounds is at the top, and 0 at the bottom."""
    values = [value for _, value, _, _ in trend.points if value is not None]
    bounds = [bound for _, _, bound, _ in trend.points]
    top = max([*values, *bounds, 1e-9])
    step = CHART_WIDTH / max(runs - 1, 1)

    def place(at: int, value: float) -> tuple[float, float]:
        return round(at * step, 1), round(CHART_HEIGHT * (1 - max(value, 0) / top), 1)

    lines: list[list[tuple[float, float]]] = [[]]
    for at, value, _, _ in trend.points:
        if value is None:
            lines.append([])
        else:
            lines[-1].append(place(at, value))
    marks = [
        (*place(at, value if value is not None else 0.0), verdict)
        for at, value, _, verdict in trend.points
        if verdict in ("failed", "overridden", "warned")
    ]
    last_bound = trend.latest[2]
    return {
        "width": CHART_WIDTH,
        "height": CHART_HEIGHT,
        "lines": [line for line in lines if line],
        "bound": place(0, last_bound)[1],
        "marks": marks,
        "words": (
            f"{len(values)} values from {min(values):.3g} to {max(values):.3g}, bound {last_bound:.3g}, "
            f"{len(marks)} breaches"
            if values
            else "no value"
        ),
    }
