"""Profile the columns of the main models: the shop's newest day against the days before, one statement per model.

The days are those of measures.py: 24 hours that end at the shop's newest event. The distance of two distributions is the
population stability index (PSI), over the deciles of the days before or over the values of a category. Nulls count apart.
A breach warns. It fails only for a shop with the limit `drift.failing_psi`, because one sender can change it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from functions.platform import warehouse
from functions.validate.data_checks import population_stability_index
from functions.validate.measures import DAY_MS, ShopDays
from functions.validate.rules import THE_DAYS_BEFORE, Check, judge, skipped
from functions.validate.summary import ColumnProfile, Distribution, ModelProfile, Value
from functions.validate.thresholds import Thresholds

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# The upper ends of the first nine tenths of the days before.
DECILES = tuple(tenth / 10 for tenth in range(1, 10))
MOST_FREQUENT = 5


@dataclass(frozen=True)
class Column:
    """A column of a profile. A `key` has too many values for a distribution: only nulls and distinct values count."""

    name: str
    kind: Literal["number", "category", "key"]
    sql: str = ""

    @property
    def expression(self) -> str:
        """Return the column's SQL, which is its name by default."""
        return self.sql or self.name


@dataclass(frozen=True)
class Profiled:
    """A model that is profiled. `time_ms` is the time that puts a row into a day."""

    model: str
    table: str
    time_ms: str
    columns: tuple[Column, ...]
    condition: str = "true"


def _all(kind: Literal["number", "category", "key"], *names: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name in names)


PROFILED = (
    Profiled(
        "stg_events",
        "STAGING.STG_EVENTS",
        "event_time_ms",
        (
            *_all("category", "event_name", "device", "currency"),
            Column("is_trusted", "category", "is_trusted::varchar"),
            Column("value", "number"),
            Column("first_item_price", "number", "items[0]:price::float"),
            Column("number_of_items", "number", "array_size(items)"),
            Column("delay_ms", "number", "received_at_ms - event_time_ms"),
            *_all(
                "key",
                "client_key",
                "network_key",
                "storefront_session_id",
                "search_term",
                "recommendation_id",
            ),
        ),
        "not is_bot",
    ),
    Profiled(
        "sessions",
        "MARTS.SESSIONS",
        "started_at_ms",
        (
            *_all("category", "device"),
            *_all("number", "events", "item_views", "carts", "purchases"),
            # Few sessions have an order, so zeros would hide a change of the amounts.
            Column("revenue_of_a_buyer", "number", "iff(purchases > 0, revenue, null)"),
            Column("seconds", "number", "(ended_at_ms - started_at_ms) / 1000"),
            *_all("key", "client_key", "user_id"),
        ),
    ),
    Profiled(
        "training_interactions",
        "TRAINING.TRAINING_INTERACTIONS",
        "event_time_ms",
        (
            *_all("category", "event_name"),
            *_all("number", "position"),
            *_all("key", "session_key", "item_id"),
        ),
    ),
    Profiled(
        "recommendations",
        "MARTS.RECOMMENDATIONS",
        "issued_at_ms",
        (
            *_all("category", "variant", "model_version"),
            *_all("number", "items_shown", "items_clicked", "items_bought"),
        ),
    ),
)


def statement(profiled: Profiled) -> str:
    """Return the statement of a model. Its parameters are the day's start, the shop, the first time and the last time.

    It has one row per period with all figures, and one per period and value of a category. Each row begins with IS_DAY,
    one value per category, and the number of rows.
    """
    categories = [column.name for column in profiled.columns if column.kind == "category"]
    numbers = [column.name for column in profiled.columns if column.kind == "number"]
    selected = ", ".join(f"{column.expression} as {column.name}" for column in profiled.columns)
    edges = ", ".join(
        f"min({name}) as {name}_LEAST, "
        + ", ".join(
            f"approx_percentile({name}, {decile}) as {name}_EDGE_{at}" for at, decile in enumerate(DECILES)
        )
        for name in numbers
    )
    figures = [
        figure
        for column in profiled.columns
        for figure in (f"count(recent.{column.name})", f"approx_count_distinct(recent.{column.name})")
    ]
    for name in numbers:
        figures += [f"min(recent.{name})::float", f"max(recent.{name})::float"]
        figures += [f"approx_percentile(recent.{name}, {quantile})::float" for quantile in QUANTILES]
        figures += [f"count_if(recent.{name} < {name}_LEAST)"]
        figures += [f"count_if(recent.{name} <= {name}_EDGE_{at})" for at in range(len(DECILES))]
    named = ", ".join(f"{figure} as FIGURE_{at}" for at, figure in enumerate(figures))
    absent = ", ".join(f"null as {name}" for name in categories)
    padding = ", ".join(["null"] * len(figures))
    sets = ", ".join(f"(IS_DAY, {name})" for name in categories)
    return f"""
    with recent as (
        select iff({profiled.time_ms} > %s, 1, 0) as IS_DAY, {selected}
        from {profiled.table}
        where SHOP_ID = %s and {profiled.time_ms} > %s and {profiled.time_ms} <= %s and {profiled.condition}
    ),

    edges as (select {edges} from recent where IS_DAY = 0)

    select IS_DAY, {absent}, count(*) as N, {named}
    from recent cross join edges
    group by IS_DAY
    union all
    select IS_DAY, {", ".join(categories)}, count(*), {padding}
    from recent
    group by grouping sets ({sets})
    """


def profile(
    connection: Any, shop_id: str, shop: ShopDays | None, limits: Thresholds
) -> tuple[list[ModelProfile], list[Check]]:
    """Return the profiles of a shop's newest day, and one check of drift per model."""
    if shop is None:
        return [], [skipped(limits, "drift", one.model, "the shop has no event") for one in PROFILED]
    days = min(limits.history.trailing_days, max(0, shop.full_days - 1))
    newest_ms = int(shop.newest_at.timestamp() * 1000)
    period = (newest_ms - DAY_MS, shop_id, newest_ms - (days + 1) * DAY_MS, newest_ms)
    profiles, checks = [], []
    for profiled in PROFILED:
        found = read_profile(profiled, warehouse.rows(connection, statement(profiled), period), days, limits)
        profiles.append(found)
        checks.append(drift_check(found, limits))
    return profiles, checks


def read_profile(
    profiled: Profiled, rows: Sequence[tuple[Any, ...]], days: int, limits: Thresholds
) -> ModelProfile:
    """Return the profile from the rows of its statement."""
    categories = [column.name for column in profiled.columns if column.kind == "category"]
    totals: dict[int, int] = {0: 0, 1: 0}
    figures: dict[int, list[Any]] = {}
    shares: dict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    for is_day, *row in rows:
        values, number, rest = row[: len(categories)], int(row[len(categories)]), row[len(categories) + 1 :]
        if rest[0] is not None:
            totals[int(is_day)], figures[int(is_day)] = number, rest
        for name, value in zip(categories, values, strict=True):
            if value is not None:
                shares[int(is_day), name][str(value)] = number
    judged = min(totals.values()) >= limits.drift.fewest_rows and days >= limits.history.fewest_days
    columns = []
    at_number = 2 * len(profiled.columns)
    width = 2 + len(QUANTILES) + 1 + len(DECILES)
    for at, column in enumerate(profiled.columns):
        found, parts = [], []
        for is_day in (1, 0):
            row = figures.get(is_day) or [0] * at_number + [None] * width * len(profiled.columns)
            present, distinct = int(row[2 * at]), int(row[2 * at + 1])
            one = Distribution(totals[is_day], totals[is_day] - present, distinct)
            counted: dict[str, int] = {}
            if column.kind == "number":
                smallest, largest, *more = row[at_number : at_number + width]
                one = replace_figures(one, smallest, largest, more[: len(QUANTILES)])
                counted = tenths(more[len(QUANTILES) :], present)
            elif column.kind == "category":
                counted = shares[is_day, column.name]
                ranked = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_FREQUENT]
                one = Distribution(
                    *(one.rows, one.nulls, one.distinct),
                    most_frequent=[Value(value, rows / present) for value, rows in ranked],
                )
            found.append(one)
            parts.append(counted)
        if column.kind == "number":
            at_number += width
        psi = None
        if judged and column.kind != "key":
            psi = _distance(found[0], found[1], parts[0], parts[1], limits.drift.fewest_rows)
        columns.append(ColumnProfile(column.name, column.kind, found[0], found[1], psi))
    return ModelProfile(profiled.model, totals[1], totals[0], days, columns)


def _distance(
    day: Distribution, before: Distribution, of_day: dict[str, int], of_before: dict[str, int], fewest: int
) -> float:
    """Return the PSI of the nulls or that of the values, whichever is larger.

    They are apart, because a change of a column that few rows have would not show beside the nulls.
    """
    nulls = [{"null": one.nulls, "value": one.rows - one.nulls} for one in (before, day)]
    index = population_stability_index(*nulls)
    if min(sum(of_day.values()), sum(of_before.values())) >= fewest:
        index = max(index, population_stability_index(of_before, of_day))
    return index


def replace_figures(one: Distribution, smallest: Any, largest: Any, quantiles: Sequence[Any]) -> Distribution:
    """Return the distribution with the figures of a number."""
    return Distribution(
        *(one.rows, one.nulls, one.distinct),
        smallest=None if smallest is None else float(smallest),
        largest=None if largest is None else float(largest),
        # The estimate of a quantile can leave the range.
        quantiles=[
            None if value is None else min(max(float(value), float(smallest)), float(largest))
            for value in quantiles
        ],
    )


def tenths(counts: Sequence[Any], present: int) -> dict[str, int]:
    """Return the number of values below the smallest of the days before, and between their deciles.

    `counts` are cumulative, or null without a value on the days before. Equal deciles give an empty part.
    """
    ends = [int(count or 0) for count in counts]
    return {
        f"part {at}": upper - lower
        for at, (lower, upper) in enumerate(zip([0, *ends], [*ends, present], strict=True))
    }


def drift_check(found: ModelProfile, limits: Thresholds) -> Check:
    """Judge the column of a model that has drifted most."""
    drift, history = limits.drift, limits.history
    if found.before_days < history.fewest_days:
        reason = f"not enough history: {found.before_days} full days before the newest, {history.fewest_days} needed"
        return skipped(limits, "drift", found.model, reason, found.before_days, history.fewest_days)
    fewest = min(found.rows, found.rows_before)
    judged: Mapping[str, float] = {one.column: one.psi for one in found.columns if one.psi is not None}
    column = max(judged, key=lambda name: judged[name], default="")
    value = judged.get(column, 0.0)
    beyond = ", ".join(f"{name} {psi:.2f}" for name, psi in judged.items() if psi > drift.largest_psi)
    reason = (
        f"No column of {found.model} differs from {THE_DAYS_BEFORE} by more than {drift.largest_psi:g} (PSI)."
    )
    if beyond:
        reason = (
            f"These columns of {found.model} are distributed otherwise than on {THE_DAYS_BEFORE}, by PSI: {beyond}. "
            f"Up to {drift.largest_psi:g} is usual."
        )
    check = judge(
        limits, "drift", found.model, value, fewest, reason, f"only {fewest} rows in one of the periods"
    )
    if check.verdict == "failed" and (drift.failing_psi is None or value <= drift.failing_psi):
        check = replace(check, verdict="warned")
    return replace(check, kind="profile")
