"""Judge the measures: each check passes, fails or is skipped, with a sentence that gives the reason."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from functions.platform.contract import SHOPPING_EVENTS
from functions.platform.dbt import NodeResult
from functions.validate.measures import Measures, ShopDays
from functions.validate.thresholds import Band, EventMix, EventsPerSession, Thresholds, Volume

Status = Literal["passed", "failed", "skipped"]
LEAST_SHARE = 0.0001  # replaces a share of zero, which has no logarithm


@dataclass(frozen=True)
class Check:
    """One result of the gate."""

    kind: Literal["dbt", "data"]
    name: str
    subject: str
    status: Status
    value: float | None
    threshold: str
    sentence: str


def data_checks(measures: Measures, limits: Thresholds) -> list[Check]:
    """Return every data check, in the order of an event's journey."""
    checks = [_freshness(measures, limits), _rejected(measures, limits)]
    checks += [_unusable(measures, limits), _repeated(measures, limits)]
    checks += _missing(measures, limits)
    for shop in measures.shops:
        checks += _shop(shop, measures.now, limits)
    return checks


def dbt_check(result: NodeResult) -> Check:
    """Return a test of the dbt project as a check."""
    subject = f"{result.model}.{result.column}" if result.column else result.model
    if not result.failed:
        return Check(
            "dbt", result.check, subject, "passed", 0, "0 rows", f"Every row of {subject} keeps to it."
        )
    if result.status == "fail":
        sentence = f"{result.failures} rows of {subject} break the test {result.check} ({result.name})."
    else:
        sentence = f"The test {result.name} on {subject} could not run: {result.message[:300]}"
    return Check("dbt", result.check, subject, "failed", result.failures, "0 rows", sentence)


def population_stability_index(before: dict[str, int], now: dict[str, int]) -> float:
    """Return the distance of two distributions: below .1 they are alike, above .25 different."""
    total_before, total_now = sum(before.values()), sum(now.values())
    index = 0.0
    for name in before.keys() | now.keys():
        share_before = max(before.get(name, 0) / total_before, LEAST_SHARE)
        share_now = max(now.get(name, 0) / total_now, LEAST_SHARE)
        index += (share_now - share_before) * math.log(share_now / share_before)
    return index


def _freshness(measures: Measures, limits: Thresholds) -> Check:
    limit_h = limits.freshness.largest_hours_since_load
    name, subject, threshold = "freshness", "RAW.EVENTS", f"at most {limit_h:g} h"
    if measures.last_loaded_at is None:
        sentence = "RAW.EVENTS is empty: send events, wait for Firehose to deliver them, and load again."
        return Check("data", name, subject, "failed", None, threshold, sentence)
    hours = (measures.now - measures.last_loaded_at) / timedelta(hours=1)
    sentence = f"The newest event was loaded {hours:.1f} hours ago; {limit_h:g} are allowed."
    return _at_most(name, subject, hours, limit_h, threshold, sentence)


def _rejected(measures: Measures, limits: Thresholds) -> Check:
    limit = limits.rejected
    total_bytes = measures.rejected_bytes + measures.raw_bytes
    name, subject = "rejected events", "s3 rejected/"
    threshold = f"at most {limit.largest_share:.0%} of bytes"
    if total_bytes < limit.fewest_bytes:
        return _skipped(name, subject, threshold, "too little was received since yesterday to judge refusals")
    share = measures.rejected_bytes / total_bytes
    sentence = (
        f"{share:.1%} of the bytes received since yesterday were refused; {limit.largest_share:.0%} is allowed. "
        "The reasons are in rejected/."
    )
    return _at_most(name, subject, share, limit.largest_share, threshold, sentence)


def _unusable(measures: Measures, limits: Thresholds) -> Check:
    limit = limits.unusable
    name, subject, threshold = "unusable rows", "RAW.EVENTS", f"at most {limit.largest_share:.0%}"
    if measures.recent_raw_rows < limit.fewest_rows:
        return _skipped(name, subject, threshold, f"fewer than {limit.fewest_rows} rows were loaded lately")
    share = measures.recent_unusable_rows / measures.recent_raw_rows
    sentence = (
        f"{share:.1%} of the {measures.recent_raw_rows} rows loaded in {limits.history.judged_days} days lack "
        f"their id, name, time, client or shop; {limit.largest_share:.0%} is allowed."
    )
    return _at_most(name, subject, share, limit.largest_share, threshold, sentence)


def _repeated(measures: Measures, limits: Thresholds) -> Check:
    """Judge the share of copies. Copies change no table, but almost nothing else means a sender in a loop."""
    limit = limits.repeated
    name, subject, threshold = "repeated rows", "RAW.EVENTS", f"at most {limit.largest_share:.0%}"
    usable = measures.recent_raw_rows - measures.recent_unusable_rows
    if usable < limit.fewest_rows:
        return _skipped(name, subject, threshold, f"fewer than {limit.fewest_rows} rows were loaded lately")
    share = max(0.0, 1 - measures.recent_staged_rows / usable)
    sentence = (
        f"{share:.1%} of the {usable} rows loaded in {limits.history.judged_days} days were copies of an event; "
        f"{limit.largest_share:.0%} is allowed."
    )
    return _at_most(name, subject, share, limit.largest_share, threshold, sentence)


def _missing(measures: Measures, limits: Thresholds) -> Iterator[Check]:
    for field, largest in limits.missing.largest_share.items():
        without, total = measures.missing[field]
        name, subject, threshold = f"missing {field}", "STAGING.STG_EVENTS", f"at most {largest:.0%}"
        if total < limits.missing.fewest_events:
            yield _skipped(
                name, subject, threshold, f"only {total} events of the shops' newest days should have {field}"
            )
            continue
        share = without / total
        sentence = f"{share:.1%} of {total} events of the shops' newest days have no {field}; {largest:.0%} is allowed."
        yield _at_most(name, subject, share, largest, threshold, sentence)


def _shop(shop: ShopDays, now: datetime, limits: Thresholds) -> Iterator[Check]:
    """Compare a shop's newest day with the days before, and judge its silence."""
    history = limits.history
    days = range(1, min(history.trailing_days, shop.full_days - 1) + 1)
    reason = None
    if now - shop.last_loaded_at > timedelta(days=history.judged_days):
        reason = f"none of its events was loaded in {history.judged_days} days"
    elif len(days) < history.fewest_days:
        reason = f"not enough history: {len(days)} full days before the newest, {history.fewest_days} needed"
    if reason:
        for name in ("silence", "volume", "events per session", "event mix"):
            yield _skipped(name, f"shop {shop.shop_id}", "compared with the days before", reason)
        return
    yield _silence(shop, days, now, limits)
    yield _volume(shop, days, limits.volume)
    yield _events_per_session(shop, days, limits.events_per_session)
    yield _event_mix(shop, days, limits.event_mix)


def _silence(shop: ShopDays, days: range, now: datetime, limits: Thresholds) -> Check:
    """Judge the time since the shop's newest load. The shop's days end at its newest event and cannot show silence."""
    limit_h = limits.freshness.largest_hours_since_load
    name, subject, threshold = "silence", f"shop {shop.shop_id}", f"at most {limit_h:g} h"
    usual = _usual(shop, days)
    if usual < limits.volume.fewest_events_a_day:
        return _skipped(name, subject, threshold, f"{usual:.0f} events a day are too few to judge")
    if now - shop.newest_at > timedelta(days=limits.history.trailing_days):
        return _skipped(name, subject, threshold, "its newest event is years or weeks old, as in a data set")
    hours = (now - shop.last_loaded_at) / timedelta(hours=1)
    sentence = (
        f"The newest event of shop {shop.shop_id}, which usually sends {usual:.0f} per day, was loaded {hours:.1f} hours "
        f"ago; {limit_h:g} are allowed."
    )
    return _at_most(name, subject, hours, limit_h, threshold, sentence)


def _usual(shop: ShopDays, days: range) -> float:
    """Return the mean number of events per day."""
    return sum(shop.events.get(day, 0) for day in days) / len(days)


def _volume(shop: ShopDays, days: range, limit: Volume) -> Check:
    name, subject = "volume", f"shop {shop.shop_id}"
    usual = _usual(shop, days)
    threshold = _between(limit)
    if usual < limit.fewest_events_a_day:
        return _skipped(name, subject, threshold, f"{usual:.0f} events a day are too few to judge")
    ratio = shop.events.get(0, 0) / usual
    sentence = (
        f"Shop {shop.shop_id} sent {shop.events.get(0, 0)} events in its newest 24 hours, {ratio:.2f} times its usual "
        f"{usual:.0f}; {threshold} is allowed."
    )
    return _within(name, subject, ratio, limit, sentence)


def _events_per_session(shop: ShopDays, days: range, limit: EventsPerSession) -> Check:
    name, subject = "events per session", f"shop {shop.shop_id}"
    sessions_before = sum(shop.sessions.get(day, 0) for day in days)
    sessions_now = shop.sessions.get(0, 0)
    if min(sessions_before, sessions_now) < limit.fewest_sessions:
        return _skipped(name, subject, _between(limit), f"{sessions_now} sessions are too few to judge")
    before = sum(shop.events.get(day, 0) for day in days) / sessions_before
    now = shop.events.get(0, 0) / sessions_now
    sentence = (
        f"Sessions of shop {shop.shop_id} have {now:.1f} events, {now / before:.2f} times the usual {before:.1f}; "
        f"{_between(limit)} is allowed."
    )
    return _within(name, subject, now / before, limit, sentence)


def _event_mix(shop: ShopDays, days: range, limit: EventMix) -> Check:
    name, subject, threshold = "event mix", f"shop {shop.shop_id}", f"PSI at most {limit.largest_psi}"
    before: dict[str, int] = {}
    for day in days:
        for event_name, events in shop.names.get(day, {}).items():
            if event_name in SHOPPING_EVENTS:
                before[event_name] = before.get(event_name, 0) + events
    # An event kind that a shop has just begun to send is no fault.
    now = {event: count for event, count in shop.names.get(0, {}).items() if event in before}
    if min(sum(before.values()), sum(now.values())) < limit.fewest_events:
        return _skipped(name, subject, threshold, f"{sum(now.values())} events are too few to compare")
    index = population_stability_index(before, now)
    sentence = (
        f"The mix of events of shop {shop.shop_id} differs by {index:.2f} (PSI) from that of the days before; "
        f"{limit.largest_psi} is allowed."
    )
    return _at_most(name, subject, index, limit.largest_psi, threshold, sentence)


def _at_most(name: str, subject: str, value: float, largest: float, threshold: str, sentence: str) -> Check:
    status: Status = "passed" if value <= largest else "failed"
    return Check("data", name, subject, status, value, threshold, sentence)


def _within(name: str, subject: str, ratio: float, band: Band, sentence: str) -> Check:
    status: Status = "passed" if band.lowest_ratio <= ratio <= band.highest_ratio else "failed"
    return Check("data", name, subject, status, ratio, _between(band), sentence)


def _between(band: Band) -> str:
    return f"{band.lowest_ratio} to {band.highest_ratio} times"


def _skipped(name: str, subject: str, threshold: str, reason: str) -> Check:
    return Check("data", name, subject, "skipped", None, threshold, f"Skipped: {reason}.")
