"""Experiments in the warehouse: exposures, outcomes and intervals, incrementally and from scratch, against a reference."""

import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from deploy.experiments.report import newest_results, render
from functions.load.load import load
from functions.platform import warehouse
from functions.recommend.experiments import bucket
from functions.transform.transform import transform
from sql.setup.apply import role_prefix
from testing.experiment_statistics import LEAST_OUTCOMES, difference, sample_ratio_p_values
from testing.warehouse_stack import Stack, connected, tables_as_text
from tests.integration.warehouse.events import DAY_MS, MIDNIGHT_MS, MINUTE_MS, deliver, raw_event

TABLES = {
    "exposures": "select * exclude (STAGED_AT) from MARTS.EXPERIMENT_EXPOSURES order by EXPOSURE_KEY",
    "days": "select * exclude (STAGED_AT) from INTERMEDIATE.INT_EXPERIMENT_DAYS order by EXPERIMENT_DAY_KEY",
    "results": "select * from MARTS.EXPERIMENT_RESULTS order by SHOP_ID, EXPERIMENT, DAY, ARM",
}
SEED = "seed-1"
DAYS, VISITORS_A_DAY = 10, 120
FIRST_DAY = datetime.fromtimestamp(MIDNIGHT_MS / 1000, UTC).date()


def exposure(
    event_id: str, client: str, at_ms: int, arm: str, experiment: str = "spring", verdict: str = "valid",
    slots: int = 10, variant: str = "all-traffic", bot: bool = False, share: int = 5_000,
) -> dict[str, Any]:  # fmt: skip
    """Return an exposure as the collector stores it."""
    event = raw_event(event_id, "recommendation_exposure", client=client, at_ms=at_ms, bot=bot)
    arms = [{"experiment": experiment, "arm": arm, "share": share, "control": "A"}]
    answer = {
        "recommendation_id": f"r-{event_id}", "model_version": "m1", "variant": variant, "issued_at_ms": at_ms,
        "slots": slots, "experiments": arms,
    }  # fmt: skip
    event["server"]["receipts"] = [{"verdict": verdict, **answer, "items": []}]
    return event


def arm_of(client: str) -> str:
    return "A" if bucket(SEED, "spring", client) < 5_000 else "B"


def history() -> tuple[list[list[dict[str, Any]]], dict[str, tuple[int, str, float]]]:
    """Return the events of each day, and each visitor's first day, arm and net revenue within seven days."""
    draw = random.Random(3)
    days: list[list[dict[str, Any]]] = [[] for _ in range(DAYS + 1)]
    visitors = {}
    for day in range(DAYS):
        for number in range(VISITORS_A_DAY):
            client, at_ms = f"c{day}-{number}", MIDNIGHT_MS + day * DAY_MS + (60 + number) * MINUTE_MS
            arm, revenue = arm_of(client), 0.0
            days[day].append(exposure(f"x-{client}", client, at_ms, arm, slots=0 if arm == "B" else 10))
            days[day].append(raw_event(f"v-{client}", client=client, at_ms=at_ms + MINUTE_MS, items=["i1"]))
            if draw.random() < 0.3:
                days[day].append(
                    raw_event(f"k-{client}", "recommendation_click", client=client, at_ms=at_ms + 2 * MINUTE_MS, items=["i1"])
                )  # fmt: skip
            # Some buy at once, some after two days, and some after eight days, which is too late to count.
            if draw.random() < 0.4:
                later = draw.choice([0, 0, 2, 8])
                value = float(draw.randrange(10, 100))
                bought = raw_event(
                    f"o-{client}", "purchase", client=client, at_ms=at_ms + 3 * MINUTE_MS + later * DAY_MS,
                    items=["i1"], transaction_id=f"t-{client}", value=value, currency="EUR",
                )  # fmt: skip
                if day + later <= DAYS:
                    days[day + later].append(bought)
                    revenue = 0.0 if later == 8 else value
            visitors[client] = (day, arm, revenue)
    return days, visitors


def joined(days: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [event for day in days for event in day]


def run(stack: Stack, name: str, events: list[dict[str, Any]], full_refresh: bool = False) -> dict[str, Any]:
    deliver(stack.s3, stack.settings.events_bucket, name, events)
    with connected(stack) as connection:
        load({"run_id": name}, stack.settings, connection)
    transform({"run_id": name, "full_refresh": full_refresh}, stack.settings, stack.credentials)
    return tables_as_text(stack, TABLES)


def rows(stack: Stack, query: str) -> list[tuple[Any, ...]]:
    with connected(stack) as connection:
        return warehouse.rows(connection, query)


@pytest.fixture(scope="module")
def played(new_stack: Any) -> tuple[Stack, dict[str, Any], dict[str, tuple[int, str, float]]]:
    """Deliver ten days in two nights: with a late exposure, a refund, repeats, bots and forged exposures."""
    stack: Stack = new_stack("experiments")
    days, visitors = history()
    at_ms = MIDNIGHT_MS + 60 * MINUTE_MS
    # A client that was exposed on day 0 is first seen on day 4. Its earlier exposure arrives on the last night.
    moved = "c4-0"
    early = exposure("x-early", moved, at_ms, arm_of(moved))
    visitors[moved] = (0, visitors[moved][1], visitors[moved][2])
    # Later exposures in another arm, by a bot, and with receipts that are not valid, change nothing.
    noise = [
        exposure("x-again", "c1-1", at_ms + 5 * DAY_MS, "B" if arm_of("c1-1") == "A" else "A"),
        exposure("x-bot", "bot", at_ms, "B", bot=True),
        exposure("x-foreign", "stranger", at_ms, "B", verdict="foreign"),
    ]
    # All of an order of the first day is returned on the last.
    client = next(
        name for name, (day, _, revenue) in visitors.items() if day == 0 and revenue and name != moved
    )
    refund = raw_event(
        "refund",
        "refund",
        client=client,
        at_ms=MIDNIGHT_MS + 9 * DAY_MS,
        transaction_id=f"t-{client}",
        currency="EUR",
    )
    visitors[client] = (*visitors[client][:2], 0.0)
    # Of another experiment, three in four visitors are in one arm of two equal ones.
    skewed = [
        exposure(f"s-{n}", f"c{n % DAYS}-{n // DAYS}", at_ms + n % DAYS * DAY_MS + MINUTE_MS, "A" if n % 4 else "B", "skewed")
        for n in range(300)
    ]  # fmt: skip
    run(stack, "n1", [*joined(days[:7]), *skewed[:100]])
    found = run(stack, "n2", [*joined(days[7:]), *days[0], *days[6], early, *noise, refund, *skewed[100:]])
    return stack, found, visitors


Played = tuple[Stack, dict[str, Any], dict[str, tuple[int, str, float]]]


def test_late_and_repeated_exposures_give_the_tables_of_a_full_refresh(played: Played) -> None:
    stack, found, visitors = played
    assert len(found["exposures"]) == len(visitors) + 300
    assert found == run(stack, "full", [], full_refresh=True)


def test_the_results_are_those_of_the_reference(played: Played) -> None:
    stack, _, visitors = played
    found = rows(
        stack,
        """
        select DAY, ARM, VISITORS, REVENUE, REVENUE_DIFFERENCE, REVENUE_DIFFERENCE_LOW, REVENUE_DIFFERENCE_HIGH, IS_COMPLETE,
            SAMPLE_RATIO_P_VALUE, REVENUE_LIFT, EMPTY_SHARE
        from MARTS.EXPERIMENT_RESULTS where EXPERIMENT = 'spring' order by DAY, ARM
        """,
    )
    assert len(found) == 2 * DAYS
    by_day: dict[tuple[int, str], list[float]] = defaultdict(list)
    for day, arm, revenue in visitors.values():
        by_day[day, arm].append(revenue)
    outcomes: dict[str, list[float]] = {"A": [], "B": []}
    counts = []
    for day in range(DAYS):
        for arm in "AB":
            outcomes[arm] += by_day[day, arm]
        counts.append([len(outcomes["A"]), len(outcomes["B"])])
        a, b = ((len(of), sum(of), sum(x * x for x in of)) for of in (outcomes["A"], outcomes["B"]))
        of_a, of_b = found[2 * day : 2 * day + 2]
        assert [row[0] for row in (of_a, of_b)] == [FIRST_DAY + timedelta(days=day)] * 2
        assert (of_a[2], of_b[2]) == (a[0], b[0])
        assert (of_a[3], of_b[3]) == pytest.approx((a[1], b[1]))
        middle, half = difference(a, b)
        assert of_b[4] == pytest.approx(float(middle))
        assert of_b[9] == pytest.approx(float(middle) / (a[1] / a[0]))
        if min(sum(x > 0 for x in outcomes[arm]) for arm in "AB") >= LEAST_OUTCOMES:
            assert of_b[5:7] == pytest.approx((float(middle - half), float(middle + half)))
        else:
            assert of_b[5] is None
        p_value = sample_ratio_p_values(np.array(counts), np.array([0.5, 0.5]))[-1]
        assert of_b[8] == pytest.approx(float(p_value), rel=1e-6)
        assert of_b[7] is (day + 7 <= DAYS)
        assert of_a[4:7] == (None, None, None)
        assert (of_a[10], of_b[10]) == (0.0, 1.0)
    assert of_b[5] is not None


def test_a_planted_sample_ratio_mismatch_is_found_and_a_right_ratio_is_not(played: Played) -> None:
    verdicts = rows(
        played[0],
        "select EXPERIMENT, VERDICT, min(SAMPLE_RATIO_P_VALUE) from MARTS.EXPERIMENT_RESULTS group by 1, 2 order by 1, 2",
    )
    of_skewed = {verdict for experiment, verdict, _ in verdicts if experiment == "skewed"}
    assert "sample ratio mismatch" in of_skewed
    assert {verdict for experiment, verdict, _ in verdicts if experiment == "spring"} == {
        "control",
        "no decision yet",
    }


def test_the_report_is_read_by_the_role_of_analysts(played: Played) -> None:
    stack = played[0]
    role, readers = f"{role_prefix(stack.settings.stage)}_READER", f"{stack.credentials.warehouse}_READERS"
    reader = replace(stack.credentials, role=role, warehouse=readers)
    with warehouse.connect(reader) as connection:
        results = newest_results(connection, "demo")
        assert newest_results(connection, "nobody") == []
    assert [(one.experiment, one.arm) for one in results] == [
        ("skewed", "A"), ("skewed", "B"), ("spring", "A"), ("spring", "B"),
    ]  # fmt: skip
    found = render(results, {})
    assert "stop: sample ratio mismatch" in found
    assert (
        f"no decision yet: the interval of clients first exposed until {FIRST_DAY + timedelta(days=3)}"
        in found
    )


def test_anybody_can_recompute_the_arms_in_sql(played: Played) -> None:
    """The statement of docs/ab_tests.md."""
    computed = rows(
        played[0],
        f"""
        select CLIENT_ID, mod(to_number(left(sha2('{SEED}:spring:' || CLIENT_ID), 16), 'XXXXXXXXXXXXXXXX'), 10000), ARM
        from MARTS.EXPERIMENT_EXPOSURES where EXPERIMENT = 'spring'
        """,
    )
    assert len(computed) == DAYS * VISITORS_A_DAY
    for client, number, arm in computed:
        assert int(number) == bucket(SEED, "spring", client)
        assert arm == ("A" if number < 5_000 else "B")
