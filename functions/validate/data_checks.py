"""Judge the measures: each check passes, fails or is skipped, with a sentence that gives the reason."""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

from functions.platform.contract import SHOPPING_EVENTS
from functions.platform.dbt import NodeResult
from functions.validate.currencies import currency_checks
from functions.validate.measures import Measures, ShopDays
from functions.validate.rules import ABSOLUTE, EVENTS, RAW_ROWS, RULES, Check, judge, share, skipped
from functions.validate.thresholds import Thresholds

# Zero has no logarithm.
LEAST_SHARE = 0.0001

# The checks that compare a shop with its own days before, and its silence, which its own days cannot show.
SHOP_CHECKS = ("silence", "volume", "events per session", "event mix")


def data_checks(measures: Measures, limits: Thresholds) -> list[Check]:
    """Return every data check, in the order of an event's journey."""
    checks = [_freshness(measures, limits), _unloaded(measures, limits), _rejected(measures, limits)]
    checks += [_unusable(measures, limits), _repeated(measures, limits)]
    checks += _missing(measures, limits)
    for shop in measures.shops:
        checks += _shop(shop, measures.now, limits)
    checks += currency_checks(measures.orders, limits)
    return checks


def dbt_check(result: NodeResult) -> Check:
    """Return a test of the dbt project as a check: the value is the number of rows that break it."""
    over = f"{result.model}.{result.column}" if result.column else result.model
    if not result.failed:
        reason = f"Every row of {over} keeps to it."
        return Check("dbt", result.check, over, ABSOLUTE, 0, 0, 0, 0, "==", "passed", reason)
    if result.status == "fail":
        reason = f"{result.failures} rows of {over} break the test {result.check} ({result.name})."
    else:
        reason = f"The test {result.name} on {over} could not run: {result.message[:300]}"
    return Check("dbt", result.check, over, ABSOLUTE, 0, 0, result.failures, 0, "==", "failed", reason)


def population_stability_index(before: dict[str, int], now: dict[str, int]) -> float:
    """Return the distance of two distributions: below .1 they are alike, above .25 different."""
    total_before, total_now = sum(before.values()), sum(now.values())
    index = 0.0
    for name in before.keys() | now.keys():
        share_before = max(share(before.get(name, 0), total_before), LEAST_SHARE)
        share_now = max(share(now.get(name, 0), total_now), LEAST_SHARE)
        index += (share_now - share_before) * math.log(share_now / share_before)
    return index


def _freshness(measures: Measures, limits: Thresholds) -> Check:
    limit_h = limits.freshness.largest_hours_since_load
    loaded_at = measures.last_loaded_at
    hours = (measures.now - loaded_at) / timedelta(hours=1) if loaded_at else math.inf
    reason = f"The newest event was loaded {hours:.1f} hours ago; {limit_h:g} are allowed."
    empty = "RAW.EVENTS is empty: send events, wait for Firehose to deliver them, and load again."
    return judge(limits, "freshness", RAW_ROWS, hours, measures.raw_rows if loaded_at else 0, reason, empty)


def _unloaded(measures: Measures, limits: Thresholds) -> Check:
    """Judge files that fail again and again. Snowflake skips a file that is older than 64 days without a word."""
    files, name = measures.unloaded_files, "unloaded files"
    if not files:
        return judge(limits, name, RULES[name].slice, 0, 0, "No file fails to load.", "")
    file, failed_at = files[0]
    days = (measures.now - failed_at) / timedelta(days=1)
    reason = (
        f"{len(files)} files fail to load, the first for {days:.0f} days: {file}. "
        f"{limits.unloaded.largest_days} days are allowed. Repair or delete it (docs/operations.md)."
    )
    return judge(limits, name, RULES[name].slice, days, len(files), reason, "")


def _rejected(measures: Measures, limits: Thresholds) -> Check:
    total_bytes = measures.rejected_bytes + measures.raw_bytes
    refused = share(measures.rejected_bytes, total_bytes)
    reason = (
        f"{refused:.1%} of the bytes received since yesterday were refused; {limits.rejected.largest_share:.0%} is "
        "allowed. The reasons are in rejected/."
    )
    too_few = "too little was received since yesterday to judge refusals"
    name = "rejected events"
    return judge(limits, name, RULES[name].slice, refused, total_bytes, reason, too_few)


def _unusable(measures: Measures, limits: Thresholds) -> Check:
    limit, rows = limits.unusable, measures.recent_raw_rows
    unusable = share(measures.recent_unusable_rows, rows)
    reason = (
        f"{unusable:.1%} of the {rows} rows loaded in {limits.history.judged_days} days lack "
        f"their id, name, time, client or shop; {limit.largest_share:.0%} is allowed."
    )
    too_few = f"fewer than {limit.fewest_rows} rows were loaded lately"
    return judge(limits, "unusable rows", RAW_ROWS, unusable, rows, reason, too_few)


def _repeated(measures: Measures, limits: Thresholds) -> Check:
    """Judge the share of copies. Copies change no table, but almost nothing else means a sender in a loop."""
    limit = limits.repeated
    usable = measures.recent_raw_rows - measures.recent_unusable_rows
    copies = max(0.0, share(usable - measures.recent_staged_rows, usable))
    reason = (
        f"{copies:.1%} of the {usable} rows loaded in {limits.history.judged_days} days were copies of an event; "
        f"{limit.largest_share:.0%} is allowed."
    )
    too_few = f"fewer than {limit.fewest_rows} rows were loaded lately"
    return judge(limits, "repeated rows", RAW_ROWS, copies, usable, reason, too_few)


def _missing(measures: Measures, limits: Thresholds) -> Iterator[Check]:
    for field, largest in limits.missing.largest_share.items():
        without, total = measures.missing[field]
        missing = share(without, total)
        reason = f"{missing:.1%} of {total} events of the shops' newest days have no {field}; {largest:.0%} is allowed."
        too_few = f"only {total} events of the shops' newest days should have {field}"
        yield judge(limits, f"missing {field}", EVENTS, missing, total, reason, too_few)


def _shop(shop: ShopDays, now: datetime, limits: Thresholds) -> Iterator[Check]:
    """Compare a shop's newest day with the days before, and judge its silence."""
    history, over = limits.history, f"shop {shop.shop_id}"
    days = range(1, min(history.trailing_days, shop.full_days - 1) + 1)
    if now - shop.last_loaded_at > timedelta(days=history.judged_days):
        reason = f"none of its events was loaded in {history.judged_days} days"
        yield from (skipped(limits, name, over, reason) for name in SHOP_CHECKS)
    elif len(days) < history.fewest_days:
        reason = f"not enough history: {len(days)} full days before the newest, {history.fewest_days} needed"
        for name in SHOP_CHECKS:
            yield skipped(limits, name, over, reason, len(days), history.fewest_days)
    else:
        yield _silence(shop, over, days, now, limits)
        yield _volume(shop, over, days, limits)
        yield _events_per_session(shop, over, days, limits)
        yield _event_mix(shop, over, days, limits)


def _silence(shop: ShopDays, over: str, days: range, now: datetime, limits: Thresholds) -> Check:
    """Judge the time since the shop's newest load. The shop's days end at its newest event and cannot show silence."""
    limit_h = limits.freshness.largest_hours_since_load
    usual = _usual(shop, days)
    if now - shop.newest_at > timedelta(days=limits.history.trailing_days):
        return skipped(limits, "silence", over, "its newest event is years or weeks old, as in a data set")
    hours = (now - shop.last_loaded_at) / timedelta(hours=1)
    reason = (
        f"The newest event of {over}, which usually sends {usual:.0f} per day, was loaded {hours:.1f} hours "
        f"ago; {limit_h:g} are allowed."
    )
    return judge(limits, "silence", over, hours, int(usual), reason, _too_few_events(usual))


def _usual(shop: ShopDays, days: range) -> float:
    """Return the mean number of events per day."""
    return sum(shop.events.get(day, 0) for day in days) / len(days)


def _too_few_events(usual: float) -> str:
    return f"{usual:.0f} events a day are too few to judge"


def _volume(shop: ShopDays, over: str, days: range, limits: Thresholds) -> Check:
    limit, events, usual = limits.volume, shop.events.get(0, 0), _usual(shop, days)
    ratio = share(events, usual)
    reason = (
        f"Shop {shop.shop_id} sent {events} events in its newest 24 hours, {ratio:.2f} times its usual "
        f"{usual:.0f}; {limit.lowest_ratio} to {limit.highest_ratio} times is allowed."
    )
    return judge(limits, "volume", over, ratio, int(usual), reason, _too_few_events(usual))


def _events_per_session(shop: ShopDays, over: str, days: range, limits: Thresholds) -> Check:
    limit = limits.events_per_session
    sessions_before = sum(shop.sessions.get(day, 0) for day in days)
    sessions_now = shop.sessions.get(0, 0)
    before = share(sum(shop.events.get(day, 0) for day in days), sessions_before)
    now = share(shop.events.get(0, 0), sessions_now)
    ratio = share(now, before)
    reason = (
        f"Sessions of {over} have {now:.1f} events, {ratio:.2f} times the usual {before:.1f}; "
        f"{limit.lowest_ratio} to {limit.highest_ratio} times is allowed."
    )
    too_few = f"{sessions_now} sessions are too few to judge"
    return judge(
        limits, "events per session", over, ratio, min(sessions_before, sessions_now), reason, too_few
    )


def _event_mix(shop: ShopDays, over: str, days: range, limits: Thresholds) -> Check:
    before: dict[str, int] = {}
    for day in days:
        for event_name, events in shop.names.get(day, {}).items():
            if event_name in SHOPPING_EVENTS:
                before[event_name] = before.get(event_name, 0) + events
    # An event kind that a shop has just begun to send is no fault.
    now = {event: count for event, count in shop.names.get(0, {}).items() if event in before}
    index = population_stability_index(before, now)
    reason = (
        f"The mix of events of {over} differs by {index:.2f} (PSI) from that of the days before; "
        f"{limits.event_mix.largest_psi} is allowed."
    )
    total = sum(now.values())
    too_few = f"{total} events are too few to compare"
    return judge(limits, "event mix", over, index, min(sum(before.values()), total), reason, too_few)
