"""Judge the measures of a shop: each check passes, fails or is skipped, with a sentence that gives the reason."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from functions.platform.contract import SHOPPING_EVENTS
from functions.platform.dbt import NodeResult
from functions.validate.currencies import currency_checks
from functions.validate.measures import Measures, Share, ShopDays, Tally
from functions.validate.rules import (
    ABSOLUTE,
    EVENTS,
    RAW_ROWS,
    REFUSED,
    RULES,
    Check,
    judge,
    judge_groups,
    share,
    skipped,
)
from functions.validate.senders import FEWEST_CASES_A_GROUP, Cell, groups, middle, usual_total
from functions.validate.summary import Kind, Verdict
from functions.validate.thresholds import Thresholds

# Names of Great Expectations and dbt-expectations: sql/tests/generic/expectations.sql.
EXPECTATION = "expect_"
# Zero has no logarithm.
LEAST_SHARE = 0.0001
# A field that fewer of the events had is not one that the shop sends.
LEAST_FOUND = 0.2
# The same day of the week.
DAYS_A_WEEK = 7
NAMED_SENDERS = 3

# The checks of a shop's newest day, alone and against its own days before.
NEWEST_DAY_CHECKS = ("missing items", "missing storefront_session_id", "missing device")
VOLUME_CHECK = "volume"
SHOP_CHECKS = ("silence", VOLUME_CHECK, "events per session", "event mix")
LOST_CHECKS = ("lost price", "lost value", "lost currency")


def data_checks(measures: Measures, limits: Thresholds) -> list[Check]:
    """Return every data check, in the order of an event's journey."""
    checks = [_freshness(measures, limits), _unloaded(measures, limits), _rejected(measures, limits)]
    checks += [_unusable(measures, limits), _repeated(measures, limits)]
    checks += _newest_day(measures, limits)
    checks += currency_checks(measures.orders, limits)
    return checks


def dbt_check(result: NodeResult, n: int = 0) -> Check:
    """Return a test of the dbt project as a check: the value is the number of rows that break it. `n` is all rows, if known.

    An expectation has a name of its own, and can only warn.
    """
    over = f"{result.model}.{result.column}" if result.column else result.model
    is_expectation = result.check.startswith(EXPECTATION)
    kind: Kind = "expectation" if is_expectation else "dbt"
    name = result.name if is_expectation else result.check
    if result.status == "warn":
        verdict: Verdict = "warned"
    else:
        verdict = "failed" if result.failed else "passed"
    if verdict == "passed":
        reason = f"Every row of {over} keeps to it."
        if is_expectation:
            reason = f"Enough rows of {over} keep to {result.check}."
        return Check(kind, name, over, ABSOLUTE, 0, 0, 0, 0, "==", verdict, reason)
    if result.status in ("fail", "warn"):
        rows = f"{result.failures} of {n} rows" if n else f"{result.failures} rows"
        reason = f"{rows} of {over} break the test {result.check} ({result.name})."
    else:
        # A test that could not run says nothing about the data, so nobody can accept its result.
        kind = "dbt"
        reason = f"The test {result.name} on {over} could not run: {result.message[:300]}"
    return Check(kind, name, over, ABSOLUTE, n, 0, result.failures, 0, "==", verdict, reason)


def population_stability_index(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    """Return the distance of two distributions: below .1 they are alike, above .25 different."""
    total_before, total_now = sum(before.values()), sum(now.values())
    index = 0.0
    for name in before.keys() | now.keys():
        share_before = max(share(before.get(name, 0), total_before), LEAST_SHARE)
        share_now = max(share(now.get(name, 0), total_now), LEAST_SHARE)
        index += (share_now - share_before) * math.log(share_now / share_before)
    return index


def _over(measures: Measures) -> str:
    return f"shop {measures.shop_id}"


def _freshness(measures: Measures, limits: Thresholds) -> Check:
    limit_h, shop = limits.freshness.largest_hours_since_load, measures.shop
    hours = (measures.now - shop.last_loaded_at) / timedelta(hours=1) if shop else math.inf
    reason = (
        f"The newest events of several clients were loaded {hours:.1f} hours ago; {limit_h:g} are allowed."
    )
    empty = (
        f"The tables have no event of shop {measures.shop_id}: send events, wait for Firehose to deliver them, "
        "and run the pipeline again."
    )
    return judge(limits, "freshness", _over(measures), hours, measures.events if shop else 0, reason, empty)


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
    refusals, limit = measures.refusals, limits.rejected
    received = round(sum(cases.whole for cases in measures.refused.values()))
    most = "; ".join(
        f"network {sender.network} {sender.reason} {events}"
        for sender, events in refusals.most(NAMED_SENDERS)
    )
    about = "About " if refusals.is_sample else ""
    reason = (
        f"{about}{refusals.total} of {received} events received since yesterday were refused{_most(most)}. "
        f"The middle share of a group is {{value:.1%}}; {limit.largest_share:.0%} is allowed. "
        "The lines are in rejected/."
    )
    return _share_check(limits, "rejected events", REFUSED, measures.refused, reason, "events were received")


def _most(most: str) -> str:
    # Braces would be formatted. A network and a reason have none, but both come from a file.
    return f" (most: {most})".replace("{", "(").replace("}", ")") if most else ""


def _unusable(measures: Measures, limits: Thresholds) -> Check:
    limit, days = limits.unusable, limits.history.judged_days
    unusable = sum(cases.part for cases in measures.unusable.values())
    rows = sum(cases.whole for cases in measures.unusable.values())
    reason = (
        f"{unusable:.0f} of {rows:.0f} rows loaded in {days} days lack their id, name, time or client. "
        f"The middle share of a group is {{value:.1%}}; {limit.largest_share:.0%} is allowed."
    )
    return _share_check(limits, "unusable rows", RAW_ROWS, measures.unusable, reason, "rows were loaded")


def _repeated(measures: Measures, limits: Thresholds) -> Check:
    """Judge the share of copies. Copies change no table, but almost nothing else means a fault of the senders."""
    limit, days = limits.repeated, limits.history.judged_days
    copies = sum(cases.part for cases in measures.copies.values())
    rows = sum(cases.whole for cases in measures.copies.values())
    reason = (
        f"{copies:.0f} of {rows:.0f} rows loaded in {days} days were copies of an event. "
        f"The middle share of a group is {{value:.1%}}; {limit.largest_share:.0%} is allowed."
    )
    return _share_check(limits, "repeated rows", RAW_ROWS, measures.copies, reason, "rows were loaded")


def _share_check(
    limits: Thresholds, name: str, over: str, cells: Mapping[Cell, Share], reason: str, cases: str
) -> Check:
    """Judge the share of each group of senders."""
    total = round(sum(of_cell.whole for of_cell in cells.values()))
    values = [
        share(sum(cells[at].part for at in group), sum(cells[at].whole for at in group))
        for group in groups({at: of_cell.whole for at, of_cell in cells.items()})
    ]
    return judge_groups(limits, name, over, values, total, reason, f"only {total} {cases} lately")


def _newest_day(measures: Measures, limits: Thresholds) -> Iterator[Check]:
    """Judge a shop's newest day, alone and against the days before, and judge its silence."""
    history, over, shop = limits.history, _over(measures), measures.shop
    if shop is None or measures.now - shop.last_loaded_at > timedelta(days=history.judged_days):
        reason = f"none of its events was loaded in {history.judged_days} days"
        for name in (*NEWEST_DAY_CHECKS, *LOST_CHECKS, *SHOP_CHECKS):
            slice_ = over if name in SHOP_CHECKS else EVENTS
            yield skipped(limits, name, slice_, reason)
        return
    yield from _missing(shop, limits)
    days = range(1, min(history.trailing_days, shop.full_days - 1) + 1)
    if len(days) < history.fewest_days:
        reason = f"not enough history: {len(days)} full days before the newest, {history.fewest_days} needed"
        for name in (*LOST_CHECKS, *SHOP_CHECKS):
            slice_ = over if name in SHOP_CHECKS else EVENTS
            yield skipped(limits, name, slice_, reason, len(days), history.fewest_days)
        return
    yield from _lost(shop, days, limits)
    yield _silence(shop, over, days, measures.now, limits)
    yield _volume(shop, measures.shop_id, days, limits)
    yield _events_per_session(shop, over, days, limits)
    yield _event_mix(shop, over, days, limits)


def _tally(shop: ShopDays, cells: Iterable[Cell], days: Iterable[int]) -> Tally:
    """Return the counts of these cells on these days."""
    total = Tally()
    for at in cells:
        for day in days:
            if day in shop.cells[at]:
                total.add(shop.cells[at][day])
    return total


def _missing(shop: ShopDays, limits: Thresholds) -> Iterator[Check]:
    newest = {at: _tally(shop, [at], [0]) for at in shop.cells}
    for field, largest in limits.missing.largest_share.items():
        cells = {
            at: Share(tally.expected[field] - tally.found[field], tally.expected[field])
            for at, tally in newest.items()
        }
        without = sum(cases.part for cases in cells.values())
        total = sum(cases.whole for cases in cells.values())
        reason = (
            f"{share(without, total):.1%} of {total} events of the newest day have no {field}. "
            f"The middle share of a group is {{value:.1%}}; {largest:.0%} is allowed."
        )
        cases = f"events of the newest day should have {field}"
        yield _share_check(limits, f"missing {field}", EVENTS, cells, reason, cases)


def _lost(shop: ShopDays, days: range, limits: Thresholds) -> Iterator[Check]:
    for field, largest in limits.lost.largest_share.items():
        values, total = [], _tally(shop, shop.cells, [0]).expected[field]
        for group in groups({at: _tally(shop, [at], [0]).expected[field] for at in shop.cells}):
            before, now = _tally(shop, group, days), _tally(shop, group, [0])
            had = share(before.found[field], before.expected[field])
            if before.expected[field] >= FEWEST_CASES_A_GROUP and had >= LEAST_FOUND:
                values.append(max(0.0, 1 - share(now.found[field], now.expected[field]) / had))
        reason = (
            f"Of {total} events that should have it, the middle group has lost {{value:.0%}} of its {field}, compared "
            f"with the days before; {largest:.0%} is allowed. Look at the shop's last release."
        )
        name = f"lost {field}"
        if not values:
            yield skipped(limits, name, EVENTS, f"the events had no {field} on the days before", total)
        else:
            too_few = f"only {total} events of the newest day should have {field}"
            yield judge_groups(limits, name, EVENTS, values, total, reason, too_few)


def _by_volume(shop: ShopDays, days: range) -> list[tuple[frozenset[Cell], float]]:
    """Return the groups of senders that usually send, with their usual number of events per day.

    Usual is the median, so a group that sent much on a few days only has none.
    """
    found = groups({at: _tally(shop, [at], days).events / len(days) for at in shop.cells})
    usual = [(group, _median([_tally(shop, group, [day]).events for day in days])) for group in found]
    return [(group, events) for group, events in usual if events >= FEWEST_CASES_A_GROUP]


def _median(values: Sequence[int]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _silence(shop: ShopDays, over: str, days: range, now: datetime, limits: Thresholds) -> Check:
    """Judge the time since the shop's newest load. The shop's days end at its newest event and cannot show silence."""
    limit_h = limits.freshness.largest_hours_since_load
    found = _by_volume(shop, days)
    usual = [events for _, events in found]
    if now - shop.newest_at > timedelta(days=limits.history.trailing_days):
        return skipped(limits, "silence", over, "its newest event is years or weeks old, as in a data set")
    loaded = [max(shop.loaded_at[at] for at in group) for group, _ in found]
    hours = [(now - loaded_at) / timedelta(hours=1) for loaded_at in loaded]
    reason = (
        f"The newest event of {over}, which usually sends {sum(usual):.0f} per day, was loaded {{value:.1f}} hours "
        f"ago; {limit_h:g} are allowed."
    )
    return _judge_usual(limits, "silence", over, hours, usual, reason)


def _judge_usual(
    limits: Thresholds, name: str, over: str, values: Sequence[float], usual: Sequence[float], reason: str
) -> Check:
    """Judge groups that usually send. With a largest group like the others, the shop must still send enough."""
    least = limits.volume.fewest_events_a_day
    too_few = f"{sum(usual):.0f} events a day of several groups of senders are too few to judge"
    if sum(usual) >= least > usual_total(usual):
        return skipped(limits, name, over, too_few, int(usual_total(usual)), least)
    return judge_groups(limits, name, over, values, int(sum(usual)), reason, too_few)


def _volume(shop: ShopDays, shop_id: str, days: range, limits: Thresholds) -> Check:
    """Compare the newest day with the median of the days before, and with the same day of the week before.

    The nearer of both counts: many shops sell half as much on Sundays.
    """
    limit, over = limits.volume, f"shop {shop_id}"
    found = _by_volume(shop, days)
    usual = [events for _, events in found]
    now = [_tally(shop, group, [0]).events for group, _ in found]
    ratios = [share(events, before) for events, before in zip(now, usual, strict=True)]
    if DAYS_A_WEEK in days:
        week_before = [_tally(shop, group, [DAYS_A_WEEK]).events for group, _ in found]
        if found and min(week_before) >= FEWEST_CASES_A_GROUP:
            against_week = [share(events, before) for events, before in zip(now, week_before, strict=True)]
            ratios = min(ratios, against_week, key=lambda values: abs(middle(values, usual=1.0) - 1))
    sent = _tally(shop, shop.cells, [0]).events
    reason = (
        f"Shop {shop_id} sent {sent} events in its newest 24 hours; its usual senders send {sum(usual):.0f}. The "
        f"middle group sent {{value:.2f}} times its usual; {limit.lowest_ratio} to {limit.highest_ratio} times is "
        "allowed."
    )
    return _judge_usual(limits, VOLUME_CHECK, over, ratios, usual, reason)


def _events_per_session(shop: ShopDays, over: str, days: range, limits: Thresholds) -> Check:
    limit, values = limits.events_per_session, []
    for group in groups({at: _tally(shop, [at], [0]).sessions for at in shop.cells}):
        before, now = _tally(shop, group, days), _tally(shop, group, [0])
        if before.sessions >= FEWEST_CASES_A_GROUP:
            usual = share(before.events, before.sessions)
            values.append(share(share(now.events, now.sessions), usual))
    before, now = _tally(shop, shop.cells, days), _tally(shop, shop.cells, [0])
    reason = (
        f"Sessions of {over} have {share(now.events, now.sessions):.1f} events, usually "
        f"{share(before.events, before.sessions):.1f}. The middle group has {{value:.2f}} times as many as usual; "
        f"{limit.lowest_ratio} to {limit.highest_ratio} times is allowed."
    )
    too_few = f"{now.sessions} sessions are too few to judge"
    sessions = min(before.sessions, now.sessions)
    return judge_groups(limits, "events per session", over, values, sessions, reason, too_few)


def _event_mix(shop: ShopDays, over: str, days: range, limits: Thresholds) -> Check:
    values, judged = [], 0
    for group in groups({at: _tally(shop, [at], [0]).events for at in shop.cells}):
        before = {
            name: events
            for name, events in _tally(shop, group, days).names.items()
            if name in SHOPPING_EVENTS
        }
        # An event kind that a shop has just begun to send is no fault.
        now = {name: events for name, events in _tally(shop, group, [0]).names.items() if name in before}
        if sum(before.values()) >= FEWEST_CASES_A_GROUP:
            values.append(population_stability_index(before, now))
            judged += min(sum(before.values()), sum(now.values()))
    reason = (
        f"The mix of events of the middle group of {over} differs by {{value:.2f}} (PSI) from that of the days before; "
        f"{limits.event_mix.largest_psi} is allowed."
    )
    too_few = f"{judged} events are too few to compare"
    return judge_groups(limits, "event mix", over, values, judged, reason, too_few)
