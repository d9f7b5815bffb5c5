"""All checks of the data: one row per check, with its bound. `python -m docs.data_checks` writes docs/data_checks.md.

The functions in data_checks.py compute values. This table holds what a value must be. Its words are those of the
model's gate (training_jobs/gate/rules.py), so that both reports read alike.
"""

from dataclasses import dataclass
from typing import Any, Literal

from functions.validate.thresholds import Thresholds

Verdict = Literal["passed", "failed", "skipped"]
RAW_ROWS, EVENTS, SHOP = "RAW.EVENTS", "STAGING.STG_EVENTS", "shop"
THE_DAYS_BEFORE = "the days before"
ABSOLUTE = "absolute"


@dataclass(frozen=True)
class Check:
    """One result of the gate. `reason` is a sentence for each verdict.

    `slice` is the part of the data, such as a table or a shop. `n` is the number of cases behind `value`, which is None
    where fewer than `minimum_n` leave nothing to measure. `against` is what the value was divided by or compared with:
    the shop's days before, or absolute for the value itself.
    """

    kind: Literal["dbt", "data"]
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
    is compared with `bound` below 1, and with `upper_bound` from 1 on.
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


def _missing(field: str, cases: str) -> Rule:
    return Rule(
        f"The events of the shops' newest days have `{field}`.",
        *(EVENTS, "<=", f"missing.largest_share.{field}", "missing.fewest_events", cases),
    )


RULES: dict[str, Rule] = {
    "freshness": Rule(
        "The newest event was loaded lately; the value is in hours.",
        *(RAW_ROWS, "<=", "freshness.largest_hours_since_load", 1, "rows"),
        required=True,
    ),
    "unloaded files": Rule(
        "No file below raw/ has failed to load for long; the value is in days.",
        *("RAW.LOAD_LOG", "<=", "unloaded.largest_days", 0, "files"),
    ),
    "rejected events": Rule(
        "Few of the bytes that were received since yesterday were refused.",
        *("s3 rejected/", "<=", "rejected.largest_share", "rejected.fewest_bytes", "bytes"),
    ),
    "unusable rows": Rule(
        "Few of the newly loaded rows lack their id, name, time, client or shop.",
        *(RAW_ROWS, "<=", "unusable.largest_share", "unusable.fewest_rows", "rows"),
    ),
    "repeated rows": Rule(
        "The newly loaded rows are not almost all copies, as from a sender in a loop.",
        *(RAW_ROWS, "<=", "repeated.largest_share", "repeated.fewest_rows", "rows"),
    ),
    "missing items": _missing("items", "events about items"),
    "missing storefront_session_id": _missing("storefront_session_id", "events"),
    "missing device": _missing("device", "events"),
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
    holds = value >= bound if comparator == ">=" else value <= bound
    verdict = "passed" if holds else "failed"
    return Check("data", name, over, rule.against, n, minimum_n, value, bound, comparator, verdict, reason)


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
