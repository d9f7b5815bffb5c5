"""The results of experiments as text, from MARTS.EXPERIMENT_RESULTS."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from itertools import groupby
from typing import Any, NamedTuple

from functions.platform import warehouse
from functions.recommend.experiments import HOLDOUT_ARM, SHOWN_ARM, Shop

MISMATCH, MORE, LESS, UNDECIDED = "sample ratio mismatch", "earns more", "earns less", "no decision yet"
RESULTS = """
    select
        SHOP_ID, EXPERIMENT, ARM, DAY, IS_CONTROL, SHARE, VISITORS, CLICK_RATE, CART_RATE, ORDER_RATE, REVENUE_PER_VISITOR,
        REVENUE_DIFFERENCE, REVENUE_DIFFERENCE_LOW, REVENUE_DIFFERENCE_HIGH,
        CLICK_LIFT, CLICK_LIFT_LOW, CLICK_LIFT_HIGH, CART_LIFT, CART_LIFT_LOW, CART_LIFT_HIGH,
        ORDER_LIFT, ORDER_LIFT_LOW, ORDER_LIFT_HIGH, REVENUE_LIFT, REVENUE_LIFT_LOW, REVENUE_LIFT_HIGH,
        SAMPLE_RATIO_P_VALUE, FALLBACK_SHARE, EMPTY_SHARE, VERDICT, IS_COMPLETE
    from MARTS.EXPERIMENT_RESULTS
    where SHOP_ID = %s or %s is null
    order by SHOP_ID, EXPERIMENT, IS_CONTROL desc, ARM, DAY
"""


class Lift(NamedTuple):
    """A relative difference to the control, and its interval; None where it is not known."""

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """Return it in percent."""
        if self.value is None:
            return "-"
        if self.low is None or self.high is None:
            return f"{self.value:+.1%} (too few for an interval)"
        return f"{self.value:+.1%} ({self.low:+.1%} to {self.high:+.1%})"


class ArmResult(NamedTuple):
    """The newest figures of one arm."""

    shop_id: str
    experiment: str
    arm: str
    day: date
    is_control: bool
    share: float
    visitors: int
    rates: tuple[float | None, float | None, float | None]
    revenue_per_visitor: float | None
    difference: tuple[float | None, float | None, float | None]
    lifts: dict[str, Lift]
    p_value: float
    fallback_share: float | None
    empty_share: float | None
    verdict: str
    decision: str | None
    complete_until: date | None
    first_day: date


def newest_results(connection: Any, shop: str | None) -> list[ArmResult]:
    """Return the newest figures of every arm, of one shop or of all."""
    rows = warehouse.rows(connection, RESULTS, (shop, shop))
    return [_result(list(days)) for _, days in groupby(rows, lambda row: row[:3])]


def _result(days: list[tuple[Any, ...]]) -> ArmResult:
    """Return the newest figures of the rows of one arm, sorted by day, with the verdict of its last complete row."""
    row = days[-1]
    lifts = {
        name: Lift(*row[at : at + 3])
        for name, at in (("clicks", 14), ("carts", 17), ("orders", 20), ("revenue", 23))
    }
    complete = [(one[29], one[3]) for one in days if one[30]]
    decision, complete_until = complete[-1] if complete else (None, None)
    return ArmResult._make(
        [
            *row[:7],
            tuple(row[7:10]),
            row[10],
            tuple(row[11:14]),
            lifts,
            *row[26:30],
            decision,
            complete_until,
            days[0][3],
        ]
    )


def render(results: Iterable[ArmResult], shops: Mapping[str, Shop]) -> str:
    """Return the report.

    Args:
        results: the arms, sorted by shop and experiment.
        shops: the files of experiments, which say what answers an arm.
    """
    parts = [
        "\n".join(_experiment(shop_id, name, list(arms), shops.get(shop_id, Shop())))
        for (shop_id, name), arms in groupby(results, lambda one: (one.shop_id, one.experiment))
    ]
    return "\n\n".join(parts)


def _experiment(shop_id: str, name: str, arms: list[ArmResult], shop: Shop) -> Iterator[str]:
    answers = _answers(shop, name)
    yield f"{shop_id}: {name}, clients first exposed from {arms[0].first_day} to {arms[0].day}"
    if not answers:
        yield f"  experiments/{shop_id}.toml no longer has it"
    elif len(set(answers.values())) == 1:
        yield "  an A/A test: all arms have the same answers, so a difference is a defect or chance"
    yield (
        f"  {'arm':<10} {'answers':<8} {'share':>7} {'visitors':>9} {'click':>7} {'cart':>7} {'order':>7} "
        f"{'per visitor':>12} {'fallback':>9} {'empty':>7}"
    )
    for one in arms:
        rates = " ".join(f"{_percent(rate):>7}" for rate in one.rates)
        yield (
            f"  {one.arm:<10} {answers.get(one.arm, '?'):<8} {one.share:>7.2%} {one.visitors:>9,} {rates} "
            f"{_amount(one.revenue_per_visitor):>12} {_percent(one.fallback_share):>9} {_percent(one.empty_share):>7}"
        )
    mismatch = any(one.verdict == MISMATCH for one in arms)
    p_value = arms[0].p_value
    yield f"  sample ratio: {'not as configured' if mismatch else 'as configured'} (p = {p_value:.3g})"
    for one in arms:
        if not one.is_control:
            yield f"  {one.arm} against {_control(arms)}: {_difference(one)}"
            yield "    lift: " + ", ".join(f"{metric} {lift}" for metric, lift in one.lifts.items())
            yield f"    verdict: {_verdict(one, mismatch)}"


def _answers(shop: Shop, name: str) -> dict[str, str]:
    if shop.holdout and shop.holdout.name == name:
        return {HOLDOUT_ARM: "none", SHOWN_ARM: "carousel"}
    return {
        arm.name: arm.answers
        for experiment in shop.experiments
        if experiment.name == name
        for arm in experiment.arms
    }


def _control(arms: list[ArmResult]) -> str:
    return next((one.arm for one in arms if one.is_control), "the control, which nobody was exposed to yet")


def _difference(one: ArmResult) -> str:
    value, low, high = one.difference
    if value is None:
        return "no revenue to compare yet"
    if low is None or high is None:
        return f"{value:+,.2f} revenue per visitor; an interval needs 100 buyers in each arm"
    return f"{value:+,.2f} revenue per visitor, interval {low:+,.2f} to {high:+,.2f}"


def _verdict(one: ArmResult, mismatch: bool) -> str:
    if mismatch:
        return "stop: sample ratio mismatch. Find out which clients are missing before you believe any figure"
    if one.decision in (MORE, LESS):
        return f"{one.arm} {one.decision}, by clients first exposed until {one.complete_until}"
    if one.complete_until is None:
        return "no decision yet: the days of the first clients are not over"
    return f"no decision yet: the interval of clients first exposed until {one.complete_until} contains 0 or is not known"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _amount(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
