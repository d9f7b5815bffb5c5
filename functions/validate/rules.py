"""All checks of the data: one row per check, with its bound. `python -m docs.data_checks` writes docs/data_checks.md.

The functions in data_checks.py compute values. This table holds what a value must be. Its words are those of the
model's gate (training_jobs/gate/rules.py), so that both reports read alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from functions.validate.senders import FEWEST_GROUPS, middle
from functions.validate.summary import Kind, Verdict
from functions.validate.thresholds import Thresholds

RAW_ROWS, EVENTS, SHOP, REFUSED = "RAW.EVENTS", "STAGING.STG_EVENTS", "shop", "s3 rejected/"
THE_DAYS_BEFORE = "the days before"
ABSOLUTE = "absolute"


@dataclass(frozen=True)
class Check:
    """One result of the gate. `reason` is a sentence for each verdict.

    `slice` is the part of the data, such as a table or a shop. `n` is the number of cases behind `value`, which is None
    where fewer than `minimum_n` leave nothing to measure. `against` is what the value was divided by or compared with:
    the shop's days before, or absolute for the value itself.

    `warned` is a breach that stops nothing, and `overridden` one that a person has accepted for this run. The kind `dbt`
    is an invariant of the tables, which nobody can override; an `expectation` is a dbt test of a column's content.
    """

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


@dataclass(frozen=True)
class Rule:
    """One check. `bound` and `minimum_n` are names of thresholds or numbers; `cases` says what n counts.

    With fewer cases than the minimum, a `required` check fails and any other is skipped. A ratio with an `upper_bound`
    is compared with `bound` below 1, and with `upper_bound` from 1 on. The value `by_groups` is the middle one of several
    groups of senders. A breach of a rule that `warns` does not stop the run.
    """

    meaning: str
    slice: str
    comparator: Literal[">=", "<="]
    bound: str
    minimum_n: str | int
    cases: str
    against: str = ABSOLUTE
    upper_bound: str | None = None
    required: bool = False
    by_groups: bool = True
    warns: bool = False

    def limit_names(self) -> list[str]:
        """Return the names of the thresholds that decide about this check."""
        failing = "drift.failing_psi" if self.bound.startswith("drift.") else None
        names = [self.bound, self.upper_bound, self.minimum_n, failing]
        return [name for name in names if isinstance(name, str)]


def _missing(field: str, cases: str) -> Rule:
    return Rule(
        f"The events of the shop's newest day have `{field}`.",
        *(EVENTS, "<=", f"missing.largest_share.{field}", "missing.fewest_events", cases),
    )


def _lost(field: str, cases: str) -> Rule:
    return Rule(
        f"Events that had `{field}` above 0 on the days before still have it."
        if field != "currency"
        else f"Events that had `{field}` on the days before still have it.",
        *(EVENTS, "<=", f"lost.largest_share.{field}", "lost.fewest_events", cases, THE_DAYS_BEFORE),
    )


RULES: dict[str, Rule] = {
    "freshness": Rule(
        "An event of the shop was loaded lately; the value is in hours.",
        *(SHOP, "<=", "freshness.largest_hours_since_load", 1, "events"),
        required=True,
        by_groups=False,
    ),
    "unloaded files": Rule(
        "No file below raw/ has failed to load for long; the value is in days.",
        *("RAW.LOAD_LOG", "<=", "unloaded.largest_days", 0, "files"),
        by_groups=False,
    ),
    "rejected events": Rule(
        "Few of the events that were received since yesterday were refused.",
        *(REFUSED, "<=", "rejected.largest_share", "rejected.fewest_events", "events"),
    ),
    "unusable rows": Rule(
        "Few of the newly loaded rows lack their id, name, time or client.",
        *(RAW_ROWS, "<=", "unusable.largest_share", "unusable.fewest_rows", "rows"),
    ),
    "repeated rows": Rule(
        "The newly loaded rows are not almost all copies, as from a sender in a loop.",
        *(RAW_ROWS, "<=", "repeated.largest_share", "repeated.fewest_rows", "rows"),
    ),
    "missing items": _missing("items", "events about items"),
    "missing storefront_session_id": _missing("storefront_session_id", "events"),
    "missing device": _missing("device", "events"),
    "lost price": _lost("price", "events about items"),
    "lost value": _lost("value", "purchases"),
    "lost currency": _lost("currency", "purchases"),
    "silence": Rule(
        "A shop that usually sends events has sent some lately; the value is in hours.",
        *(
            SHOP,
            "<=",
            "freshness.largest_hours_since_load",
            "volume.fewest_events_a_day",
            "usual events per day",
        ),
    ),
    "volume": Rule(
        "The newest 24 hours have about as many events as usual.",
        *(SHOP, ">=", "volume.lowest_ratio", "volume.fewest_events_a_day", "usual events per day"),
        *(THE_DAYS_BEFORE, "volume.highest_ratio"),
    ),
    "events per session": Rule(
        "Sessions have about as many events as usual.",
        *(SHOP, ">=", "events_per_session.lowest_ratio", "events_per_session.fewest_sessions", "sessions"),
        *(THE_DAYS_BEFORE, "events_per_session.highest_ratio"),
    ),
    "event mix": Rule(
        "The mix of event kinds is about the usual one (population stability index).",
        *(SHOP, "<=", "event_mix.largest_psi", "event_mix.fewest_events", "events", THE_DAYS_BEFORE),
    ),
    "other currencies": Rule(
        "The back end's orders are in the shop's currency; amounts in others are no revenue.",
        *(
            SHOP,
            "<=",
            "other_currencies.largest_share",
            "other_currencies.fewest_orders",
            "orders of the back end",
        ),
        by_groups=False,
    ),
    "batch age": Rule(
        "The lists for mail were made lately; the value is in hours.",
        *("MARTS.RECOMMENDATIONS_BATCH", "<=", "batch.largest_hours", 1, "batches"),
        by_groups=False,
        warns=True,
    ),
    "batch clients": Rule(
        "Most clients of the days of the batch have a list for mail.",
        *("MARTS.RECOMMENDATIONS_BATCH", ">=", "batch.lowest_ratio", "batch.fewest_clients", "clients"),
        by_groups=False,
        warns=True,
    ),
    "drift": Rule(
        "No column of the newest day is distributed differently; the value is the largest PSI of the model's columns.",
        *("the profiled models", "<=", "drift.largest_psi", "drift.fewest_rows", "rows", THE_DAYS_BEFORE),
        by_groups=False,
        warns=True,
    ),
}


def resolved(limits: Thresholds, name: str | float) -> float:
    """Return a number as it is, and the threshold that a name such as `missing.largest_share.items` stands for."""
    if not isinstance(name, str):
        return name
    found: Any = limits
    for part in name.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    return float(found)


def judge(limits: Thresholds, name: str, over: str, value: float, n: int, reason: str, too_few: str) -> Check:
    """Compare a value with the bound of its rule; `too_few` is the reason where there are too few cases."""
    rule = RULES[name]
    minimum_n = int(resolved(limits, rule.minimum_n))
    comparator, bound = side(limits, rule, value)
    if n < minimum_n:
        verdict: Verdict = "failed" if rule.required else "skipped"
        reason = too_few if rule.required else f"Skipped: {too_few}."
        return Check("data", name, over, rule.against, n, minimum_n, None, bound, comparator, verdict, reason)
    verdict = "passed" if _holds(value, comparator, bound) else "failed"
    return Check("data", name, over, rule.against, n, minimum_n, value, bound, comparator, verdict, reason)


def judge_groups(
    limits: Thresholds, name: str, over: str, values: Sequence[float], n: int, reason: str, too_few: str
) -> Check:
    """Compare the middle value of groups of senders with the bound, so that one client or network decides nothing.

    `reason` may contain `{value}`, the middle value, which is formatted with it.
    """
    rule = RULES[name]
    minimum_n = int(resolved(limits, rule.minimum_n))
    if n < minimum_n:
        return skipped(limits, name, over, too_few, n, minimum_n)
    if len(values) < FEWEST_GROUPS:
        few = f"the events come from too few senders: {len(values)} groups of them, {FEWEST_GROUPS} needed"
        return skipped(limits, name, over, few, n, minimum_n)
    value = middle(values, usual=0.0 if rule.upper_bound is None else 1.0)
    comparator, bound = side(limits, rule, value)
    beyond = sum(not _holds(one, comparator, bound) for one in values)
    reason = (
        f"{reason.format(value=value)} {beyond} of {len(values)} groups of senders are beyond the bound; "
        "more than half fail the check."
    )
    return judge(limits, name, over, value, n, reason, too_few)


def _holds(value: float, comparator: str, bound: float) -> bool:
    return value >= bound if comparator == ">=" else value <= bound


def side(limits: Thresholds, rule: Rule, value: float) -> tuple[str, float]:
    """Return the comparator and the bound for this value: a ratio above 1 is compared with the upper bound."""
    if rule.upper_bound is not None and value >= 1:
        return "<=", resolved(limits, rule.upper_bound)
    return rule.comparator, resolved(limits, rule.bound)


def skipped(limits: Thresholds, name: str, over: str, reason: str, n: int = 0, minimum_n: int = 0) -> Check:
    """Return a check that cannot be made, with the reason."""
    rule = RULES[name]
    bound, why = resolved(limits, rule.bound), f"Skipped: {reason}."
    return Check("data", name, over, rule.against, n, minimum_n, None, bound, rule.comparator, "skipped", why)


def share(part: float, total: float) -> float:
    """Return part of total, and 0 for no cases: the minimum number of cases then decides."""
    return part / total if total else 0.0
